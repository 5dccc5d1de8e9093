"""Structural similarity, SSIM: Wang, Bovik, Sheikh and Simoncelli 2004."""

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.metrics.gray_levels import Images, Stack, check_size, quantize

_SMALLEST = 11  # side of the Gaussian window: 3.5 times sigma 1.5 to either side


def ssim(sources: Images, fused: NDArray[Any], *, data_range: float | None = None) -> float:
    """Measure the structural similarity of the fused image to the sources, mean over the sources.

    Parameters
    ----------
    sources, fused, data_range
        As for :func:`.evaluate`.

    Returns
    -------
    float
        -1 to 1, higher is better.

    Raises
    ------
    ValueError
        As for :func:`.evaluate`.

    Notes
    -----
    Symmetric in the sources, and between source and fused image. It is
    :func:`skimage.metrics.structural_similarity` in the setting of [1]_: Gaussian window of
    sigma 1.5, population covariance.

    References
    ----------
    .. [1] Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli, "Image quality assessment: from
       error visibility to structural similarity", IEEE Transactions on Image Processing 13(4),
       2004. :doi:`10.1109/TIP.2003.819861`
    """
    return score(quantize(sources, fused, data_range))


def score(stack: Stack) -> float:
    """Return :func:`ssim` of a stack from :func:`.quantize`."""
    # Imported here because it takes longer than all of this package, and the command line lists
    # the metrics in its help.
    from skimage.metrics import structural_similarity

    check_size(stack.shape, _SMALLEST)
    *sources, fused = stack
    wang = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    compare: Any = partial(structural_similarity, data_range=255.0, **wang)
    return float(np.mean([compare(source, fused) for source in sources]))
