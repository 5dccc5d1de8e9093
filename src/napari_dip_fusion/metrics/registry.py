"""The list of metrics with their variants, and the function that scores a fused image with some."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from numpy.typing import NDArray

from napari_dip_fusion.metrics import (
    cui_2015,
    cvejic_2005,
    cvejic_2006,
    eskicioglu_1995,
    hossny_2008,
    pearson_1894,
    petrovic_2000,
    piella_2003,
    qu_2002,
    shannon_1948,
    sheikh_2006,
    wang_2004,
)
from napari_dip_fusion.metrics.gray_levels import Images, Stack, quantize


@dataclass(frozen=True)
class Metric:
    """A metric, or a variant of one, as the widget and the command line list it."""

    name: str
    """Key in :data:`METRICS`."""
    label: str
    """Short name, for column headings."""
    description: str
    """One sentence for a tooltip."""
    score: Callable[[Stack], float]
    """Function of the gray levels that :func:`.quantize` makes of sources and fused image."""
    higher_is_better: bool = True
    """Direction."""


def evaluate(
    sources: Images,
    fused: NDArray[Any],
    *,
    data_range: float | None = None,
    which: Sequence[str] | None = None,
) -> dict[str, float]:
    """Score a fused image with several metrics.

    Parameters
    ----------
    sources : sequence of K ndarrays of shape (M, N), or ndarray of shape (K, M, N)
        K >= 2 gray images of any real dtype.
    fused : ndarray of shape (M, N)
        The fused image.
    data_range : float, optional
        The value of white; black is 0, and values outside are clipped, as saving the picture
        would. By default 255 for uint8, the largest value of other unsigned dtypes, and 1.0 for
        floats in [0, 1]; for anything else it has to be given.
    which : sequence of str or "all", optional
        Names out of :data:`METRICS`. By default :data:`DEFAULT_METRICS`.

    Returns
    -------
    dict of str to float
        Value by name, in the order asked for.

    Raises
    ------
    ValueError
        For an unknown name, images that do not fit together, values that are not finite, a data
        range that cannot be told, or images smaller than a metric's window.

    Notes
    -----
    Gray levels are rounded to 2**-15, the precision of float32, so that 8-bit pictures score the
    same whether they come as 0..255 or as 0..1. Other floats' scores move by about 1e-9. The
    images are checked and rounded once, however many metrics are asked for.

    Examples
    --------
    >>> import numpy as np
    >>> near, far = np.random.default_rng(0).random((2, 64, 64))
    >>> scores = evaluate([near, far], np.maximum(near, far))
    >>> {name: round(score, 2) for name, score in scores.items()}
    {'petrovic': 0.3, 'mutual_information': 5.35, 'piella': 0.52, 'cvejic': 0.59}
    """
    names = _select_names(which)
    stack = quantize(sources, fused, data_range)
    return {name: METRICS[name].score(stack) for name in names}


def _select_names(which: Sequence[str] | None) -> Sequence[str]:
    if which is None or which == "all":
        return DEFAULT_METRICS if which is None else tuple(METRICS)
    names = (which,) if isinstance(which, str) else tuple(which)
    for name in names:
        if name not in METRICS:
            raise ValueError(f"unknown metric {name!r}; choose from {', '.join(METRICS)}")
    return names


# Their order is that of columns in tables.
DEFAULT_METRICS = ("petrovic", "mutual_information", "piella", "cvejic")
"""The four metrics of the tables of Ma et al. 2022, with Shannon's mutual information."""

# Variants have names of their own because published tables mix them: a figure has to say which
# one it is. A description says what the values mean, since it is all that a tooltip shows.
_REGISTERED = (
    Metric(
        "petrovic",
        "Pe (Q^AB/F)",
        "How well edges of the sources survive, 0 to 1; higher is better.",
        partial(petrovic_2000.score, variant="laboratory"),
    ),
    Metric(
        "mutual_information",
        "MI (bits)",
        "Shannon information shared with a source, in bits, mean over them; higher is better.",
        partial(qu_2002.score, variant="mean"),
    ),
    Metric(
        "piella",
        "Q (Piella)",
        "Local likeness to the more detailed source, also of edges, up to 1; higher is better.",
        partial(piella_2003.score, edge_exponent=piella_2003.EDGE_EXPONENT, saliency=True),
    ),
    Metric(
        "cvejic",
        "Cv (Cvejic)",
        "Local likeness to the source that the fused image follows, up to 1; higher is better.",
        cvejic_2005.score,
    ),
    Metric(
        "petrovic_textbook",
        "Qabf (textbook)",
        "Pe with the constants of 2000, where a perfect copy scores 0.975; higher is better.",
        partial(petrovic_2000.score, variant="textbook"),
    ),
    Metric(
        "mutual_information_sum",
        "MI (sum, bits)",
        "Shannon information shared with the sources, in bits, their sum; higher is better.",
        partial(qu_2002.score, variant="sum"),
    ),
    Metric(
        "mutual_information_natural",
        "MI (nats)",
        "Shannon information shared with a source, in nats, mean over them; higher is better.",
        partial(qu_2002.score, variant="natural"),
    ),
    Metric(
        "mutual_information_renyi",
        "MI (Renyi 1/2)",
        "Renyi mutual information, the MI of the Deep Image Prior paper; higher is better.",
        cvejic_2006.score,
    ),
    Metric(
        "normalized_mutual_information",
        "Q_MI (Hossny)",
        "Shared information relative to the entropies, summed over sources; higher is better.",
        hossny_2008.score,
    ),
    Metric(
        "piella_no_edge",
        "Q_W (Piella)",
        "Piella's index on the images alone, without their edges; higher is better.",
        partial(piella_2003.score, edge_exponent=0.0, saliency=True),
    ),
    Metric(
        "piella_plain",
        "Q (Piella, plain)",
        "Piella's index without edges and with equal weight for all windows; higher is better.",
        partial(piella_2003.score, edge_exponent=0.0, saliency=False),
    ),
    Metric(
        "ssim",
        "SSIM",
        "Structural similarity to a source, mean over them, up to 1; higher is better.",
        wang_2004.score,
    ),
    Metric(
        "vif",
        "VIF",
        "Visual information kept of a source, mean over them, 1 for a copy; higher is better.",
        sheikh_2006.score,
    ),
    Metric(
        "entropy",
        "H (bits)",
        "Spread of the fused gray levels, in bits; higher is better, but noise raises it too.",
        shannon_1948.score,
    ),
    Metric(
        "standard_deviation",
        "SD (levels)",
        "Contrast of the fused image, in levels 0..255; higher is better, but noise raises it too.",
        pearson_1894.score,
    ),
    Metric(
        "average_gradient",
        "AG (levels)",
        "Mean step between pixels, in levels 0..255; higher is better, but noise raises it too.",
        cui_2015.score,
    ),
    Metric(
        "spatial_frequency",
        "SF (levels)",
        "RMS step between pixels, in levels 0..255; higher is better, but noise raises it too.",
        eskicioglu_1995.score,
    ),
)

METRICS = {metric.name: metric for metric in _REGISTERED}
"""Every metric and variant by name; those of :data:`DEFAULT_METRICS` come first."""
