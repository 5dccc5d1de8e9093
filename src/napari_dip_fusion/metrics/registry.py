"""The list of metrics with their variants, and the functions that score images with some."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from napari_dip_fusion.interruption import advance, checkpoint
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
from napari_dip_fusion.metrics.gray_levels import GrayImages, Image, Images, Stack
from napari_dip_fusion.metrics.plane_scores import PlaneScores, average_planes


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
    fused: Image,
    *,
    data_range: float | None = None,
    which: Sequence[str] | None = None,
) -> dict[str, float]:
    """Score a fused image with several metrics.

    Parameters
    ----------
    sources : sequence of K images of shape (..., M, N), or ndarray of shape (K, ..., M, N)
        K >= 2 gray images on one grid, arrays of any real dtype or :class:`~.Source` objects:
        planes, volumes or series.
    fused : ndarray of shape (..., M, N), or Source
        The fused image.
    data_range : float, optional
        The value of white; black is 0, and values outside are clipped, as saving the picture
        would. By default 255 for uint8, the largest value of other unsigned dtypes, and 1.0 for
        floats in [0, 1]; for anything else it has to be given. It holds for all planes.
    which : sequence of str or "all", optional
        Names out of :data:`METRICS`. By default :data:`DEFAULT_METRICS`.

    Returns
    -------
    dict of str to float
        Value by name, in the order asked for; of volumes and series the mean over their planes,
        as :func:`.evaluate_planes` scores them.

    Raises
    ------
    ValueError
        For an unknown name, images that do not fit together, values that are not finite, a data
        range that cannot be told, or images smaller than a metric's window.

    Notes
    -----
    Gray levels are rounded to 2**-15, the precision of float32, so that 8-bit pictures score the
    same whether they come as 0..255 or as 0..1. Other floats' scores move by about 1e-9. The
    images are checked once, and each plane is rounded once, however many metrics are asked for.

    Examples
    --------
    >>> import numpy as np
    >>> near, far = np.random.default_rng(0).random((2, 64, 64))
    >>> scores = evaluate([near, far], np.maximum(near, far))
    >>> {name: round(score, 2) for name, score in scores.items()}
    {'petrovic': 0.3, 'mutual_information': 5.35, 'piella': 0.52, 'cvejic': 0.59}
    """
    return average_planes(evaluate_planes(sources, fused, data_range=data_range, which=which))


def evaluate_planes(
    sources: Images,
    fused: Image,
    *,
    data_range: float | None = None,
    which: Sequence[str] | None = None,
) -> PlaneScores:
    """Score every plane of a fused volume or series with several metrics.

    Parameters
    ----------
    sources, fused, data_range, which
        As for :func:`evaluate`.

    Returns
    -------
    dict of str to ndarray of the shape of the axes before rows and columns, float64
        Values by name, in the order asked for: of shape (Z,) for a volume (Z, M, N), (T, Z) for
        a series of volumes, () for a plane. NaN on planes where a metric can say nothing, which
        are those on which every source is constant.

    Raises
    ------
    ValueError
        As for :func:`evaluate`.

    Notes
    -----
    The metrics are defined for planes, and so a volume is scored plane by plane, with one value
    of white for all. Where every source is constant on every plane, no plane is left out: such
    a stack has the scores of its planes, as a single plane has them.

    Examples
    --------
    >>> import numpy as np
    >>> near, far = np.random.default_rng(0).random((2, 3, 64, 64))
    >>> near[0] = far[0] = 0
    >>> planes = evaluate_planes([near, far], np.maximum(near, far), which=["petrovic"])
    >>> planes["petrovic"].round(1)
    array([nan, 0.3, 0.3])
    """
    names = _select_names(which)
    gray = GrayImages.check(sources, fused, data_range)
    scores = {name: np.empty(gray.stack_shape) for name in names}
    empty = np.empty(gray.stack_shape, dtype=bool)
    # On one thread: the temporaries of a plane are small, and two threads that pass Python's lock
    # between their many calls of NumPy take twice as long.
    for index in np.ndindex(gray.stack_shape):
        checkpoint()
        stack = gray.quantize(index)
        empty[index] = all(source.min() == source.max() for source in stack[:-1])
        for name in names:
            scores[name][index] = METRICS[name].score(stack)
        advance(1)
    if not empty.all():
        for values in scores.values():
            values[empty] = np.nan
    return scores


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
