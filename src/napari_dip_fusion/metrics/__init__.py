"""Objective fusion quality: how much of the sources a fused image keeps.

Owns the metrics, their named variants in :data:`METRICS`, and :func:`evaluate`. Every metric is
``metric(sources, fused, *, data_range=None)``, needs no reference image, takes any number of grey
sources, and brings them to grey levels 0..255 first: how a picture is stored changes nothing.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Images: TypeAlias = Sequence[NDArray[Any]] | NDArray[Any]
Stack: TypeAlias = NDArray[np.float64]  # the sources' planes, then the fused image's

_LEVELS = 256  # grey levels, and bins of every histogram
_QUANTUM = 2.0**-15  # in grey levels; about the spacing of float32 near white
_EPSILON = float(np.finfo(np.float64).eps)  # as in the published code
_TILE = (64, 256)  # pixels worked on at a time, so that temporaries stay in the cache
_WINDOW = 8  # side of Piella's windows; _window_total is made for it
_BLOCK = 4  # side of Cvejic's blocks; _block_total is made for it


@dataclass(frozen=True)
class Metric:
    """A metric, or a variant of one, as the widget and the command line list it."""

    name: str
    """Key in :data:`METRICS`."""
    label: str
    """Short name, for column headings."""
    description: str
    """One sentence for a tooltip."""
    function: Callable[..., float]
    """Called as ``function(sources, fused, data_range=...)``."""
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
        K >= 2 grey images of any real dtype.
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
    Grey levels are rounded to 2**-15, the precision of float32, so that 8-bit pictures score the
    same whether they come as 0..255 or as 0..1. Other floats' scores move by about 1e-9.

    Examples
    --------
    >>> import numpy as np
    >>> near, far = np.random.default_rng(0).random((2, 64, 64))
    >>> scores = evaluate([near, far], np.maximum(near, far))
    >>> {name: round(score, 2) for name, score in scores.items()}
    {'petrovic': 0.3, 'mutual_information': 5.35, 'piella': 0.52, 'cvejic': 0.59}
    """
    names = _chosen(which)
    return {name: METRICS[name].function(sources, fused, data_range=data_range) for name in names}


def _chosen(which: Sequence[str] | None) -> Sequence[str]:
    if which is None or which == "all":
        return DEFAULT_METRICS if which is None else tuple(METRICS)
    names = (which,) if isinstance(which, str) else tuple(which)
    for name in names:
        if name not in METRICS:
            raise ValueError(f"unknown metric {name!r}; choose from {', '.join(METRICS)}")
    return names


def petrovic(
    sources: Images,
    fused: NDArray[Any],
    *,
    data_range: float | None = None,
    variant: Literal["laboratory", "textbook"] = "laboratory",
) -> float:
    r"""Edge preservation of Xydeas and Petrovic, Pe or :math:`Q^{AB/F}`.

    .. math:: Pe = \frac{\sum_s \sum_x Q_s(x) g_s(x)}{\sum_s \sum_x g_s(x)}

    where :math:`g_s` is the Sobel gradient magnitude of source s and :math:`Q_s` compares its
    strength and direction with the fused image's, each through a sigmoid.

    Parameters
    ----------
    sources, fused, data_range
        As for :func:`evaluate`.
    variant : {"laboratory", "textbook"}
        ``"laboratory"``: geometric mean of the sigmoids, scaled so that a perfect copy scores 1.
        ``"textbook"``: their product with the constants of [1]_, often reported as "Qabf"; a
        perfect copy scores 0.9748.

    Returns
    -------
    float
        0 to 1, higher is better. All-black sources give 1 for a black fused image, else 0.

    Notes
    -----
    Symmetric in the sources, but not between sources and fused image. Black is assumed outside
    the image. ``"laboratory"`` agrees with the MATLAB code published by the laboratory of
    Ma et al., *Unsupervised Image Fusion Using Deep Image Priors*.

    References
    ----------
    .. [1] C. S. Xydeas, V. Petrovic, "Objective image fusion performance measure", Electronics
       Letters 36(4), 2000. :doi:`10.1049/el:20000267`
    """
    sigmoids: _Sigmoids = _option(variant, _SIGMOIDS)
    padded = np.pad(_grey_levels(sources, fused, data_range, 3), ((0, 0), (1, 1), (1, 1)))
    preserved = total = total_fused = 0.0
    for tile in _tiles(padded, overlap=2):
        along_rows, along_columns = _sobel(tile)
        strength = _magnitude(along_rows, along_columns)
        along_rows += _EPSILON
        along_columns /= along_rows
        angle = np.arctan(along_columns, out=along_columns)
        preserved += float(np.vdot(_edge_preservation(strength, angle, sigmoids), strength[:-1]))
        total += float(strength[:-1].sum())
        total_fused += float(strength[-1].sum())
    return preserved / total if total > 0 else float(total_fused == 0)


def mutual_information(
    sources: Images,
    fused: NDArray[Any],
    *,
    data_range: float | None = None,
    variant: Literal["mean", "sum", "natural"] = "mean",
) -> float:
    r"""Shannon mutual information between the sources and the fused image.

    .. math:: I(S; F) = \sum_{i,j} p_{SF}(i, j) \log_2 \frac{p_{SF}(i, j)}{p_S(i)\, p_F(j)}

    from the joint histogram with one bin per grey level 0..255.

    Parameters
    ----------
    sources, fused, data_range
        As for :func:`evaluate`.
    variant : {"mean", "sum", "natural"}
        ``"mean"``: bits, mean over the sources. ``"sum"``: bits, sum over the sources, as in [1]_
        and most tables. ``"natural"``: nats, mean over the sources.

    Returns
    -------
    float
        0 to 8 bits for the mean, higher is better.

    Notes
    -----
    Symmetric in the sources, and between source and fused image. In nats, each source's term
    agrees with ``sklearn.metrics.mutual_info_score``.

    References
    ----------
    .. [1] G. Qu, D. Zhang, P. Yan, "Information measure for performance of image fusion",
       Electronics Letters 38(7), 2002. :doi:`10.1049/el:20020212`
    """
    scales = {"mean": 1.0, "sum": float(len(sources)), "natural": float(np.log(2))}
    scale: float = _option(variant, scales)
    joints = _joint_probabilities(_grey_levels(sources, fused, data_range))
    return scale * float(np.mean([_information(joint, _shannon) for joint in joints]))


def mutual_information_renyi(
    sources: Images, fused: NDArray[Any], *, data_range: float | None = None
) -> float:
    r"""Renyi mutual information of order 1/2, in bits, mean over the sources.

    .. math:: I = H(S) + H(F) - H(S, F), \qquad H(p) = 2 \log_2 \sum_i \sqrt{p_i}

    Parameters
    ----------
    sources, fused, data_range
        As for :func:`evaluate`; the histograms have 256 equal bins over the data range.

    Returns
    -------
    float
        Higher is better; below 0 is possible.

    Notes
    -----
    Symmetric in the sources, and between source and fused image. This is the "MI" in Table 1 of
    Ma et al., *Unsupervised Image Fusion Using Deep Image Priors*, and agrees with the MATLAB
    code published by their laboratory.

    References
    ----------
    .. [1] N. Cvejic, C. N. Canagarajah, D. R. Bull, "Image fusion metric based on mutual
       information and Tsallis entropy", Electronics Letters 42(11), 2006, has the same
       construction with another generalized entropy. :doi:`10.1049/el:20060693`
    """
    joints = _joint_probabilities(_grey_levels(sources, fused, data_range))
    return float(np.mean([_information(joint, _renyi) for joint in joints]))


def normalized_mutual_information(
    sources: Images, fused: NDArray[Any], *, data_range: float | None = None
) -> float:
    r"""Hossny's normalized mutual information.

    .. math:: Q_{MI} = 2 \sum_s \frac{I(S_s; F)}{H(S_s) + H(F)}

    Parameters
    ----------
    sources, fused, data_range
        As for :func:`evaluate`.

    Returns
    -------
    float
        0 to K, higher is better. A pair of images of one grey level each counts 0.

    Notes
    -----
    Symmetric in the sources. [1]_ defines it for K = 2; here the sum runs over all K sources.

    References
    ----------
    .. [1] M. Hossny, S. Nahavandi, D. Creighton, "Comments on 'Information measure for
       performance of image fusion'", Electronics Letters 44(18), 2008.
       :doi:`10.1049/el:20081754`
    """
    total = 0.0
    for joint in _joint_probabilities(_grey_levels(sources, fused, data_range)):
        entropies = _shannon(joint.sum(axis=1)) + _shannon(joint.sum(axis=0))
        total += 2 * _information(joint, _shannon) / entropies if entropies > 0 else 0.0
    return total


def piella(
    sources: Images,
    fused: NDArray[Any],
    *,
    data_range: float | None = None,
    edge_exponent: float = 0.2,
    saliency: bool = True,
) -> float:
    r"""Fusion quality index of Piella and Heijmans.

    .. math:: Q_W = \sum_w c(w) \sum_s \lambda_s(w) \, Q_0(s, f | w), \qquad
              Q = Q_W^{1 - \alpha} \, Q_{W, edges}^{\alpha}

    over all 8x8 windows w inside the image: :math:`Q_0` is the universal quality index,
    :math:`\lambda_s` the share of source s in the sources' variance, and :math:`c` the window's
    saliency, the largest of these variances, scaled to sum 1.

    Parameters
    ----------
    sources, fused, data_range
        As for :func:`evaluate`.
    edge_exponent : float
        :math:`\alpha` in [0, 1], the part of the index on the Sobel edge images. 0 gives Q_W.
    saliency : bool
        False drops c: with ``edge_exponent=0``, the plain Q of [1]_.

    Returns
    -------
    float
        Up to 1, higher is better. A negative factor counts 0 when both are multiplied.

    Notes
    -----
    Symmetric in the sources. Variances are biased; a factor of Q_0 that is 0/0 counts 1; sources
    that are all flat share their window equally. Agrees with the MATLAB code published by the
    laboratory of Ma et al., *Unsupervised Image Fusion Using Deep Image Priors*.

    References
    ----------
    .. [1] G. Piella, H. Heijmans, "A new quality metric for image fusion", ICIP 2003.
       :doi:`10.1109/ICIP.2003.1247209`
    """
    if not 0 <= edge_exponent <= 1:
        raise ValueError(f"edge_exponent must lie in [0, 1], got {edge_exponent}; try 0.2")
    images = _grey_levels(sources, fused, data_range, _WINDOW)
    index = _window_index(images, 0, saliency)
    if edge_exponent == 0:
        return index
    edges = _window_index(np.pad(images, ((0, 0), (1, 1), (1, 1))), 2, saliency)
    return float(max(index, 0.0) ** (1 - edge_exponent) * max(edges, 0.0) ** edge_exponent)


def cvejic(sources: Images, fused: NDArray[Any], *, data_range: float | None = None) -> float:
    r"""Similarity-weighted fusion quality of Cvejic et al., Cv.

    .. math:: Cv = \frac{1}{|B|} \sum_{b \in B} \sum_s \mathrm{sim}_s(b) \, Q_0(s, f | b), \qquad
              \mathrm{sim}_s = \mathrm{clip}\left(
              \frac{\sigma_{s f}}{\sum_t \sigma_{t f}}, 0, 1\right)

    over the disjoint 4x4 blocks of the image; incomplete ones are left out.

    Parameters
    ----------
    sources, fused, data_range
        As for :func:`evaluate`.

    Returns
    -------
    float
        Higher is better. A block in which the fused image is flat counts 0, so pictures with an
        empty background score low: compare values of the same sources only.

    Notes
    -----
    Symmetric in the sources. Agrees with the MATLAB code published by the laboratory of Ma et
    al., *Unsupervised Image Fusion Using Deep Image Priors*, written for K = 2.

    References
    ----------
    .. [1] N. Cvejic, A. Loza, D. Bull, N. Canagarajah, "A similarity metric for assessment of
       image fusion algorithms", Int. J. Signal Processing 2(3), 2005 (no DOI).
    """
    images = _grey_levels(sources, fused, data_range, _BLOCK)
    rows, columns = (side - side % _BLOCK for side in images.shape[1:])
    sums = [_similarity_sum(tile) for tile in _tiles(images[:, :rows, :columns])]
    return float(sum(sums) / (rows * columns / _BLOCK**2))


def ssim(sources: Images, fused: NDArray[Any], *, data_range: float | None = None) -> float:
    """Structural similarity of the fused image to the sources, mean over the sources.

    Parameters
    ----------
    sources, fused, data_range
        As for :func:`evaluate`.

    Returns
    -------
    float
        -1 to 1, higher is better.

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
    from skimage.metrics import structural_similarity  # slow to import, and used here only

    *grey_sources, grey_fused = _grey_levels(sources, fused, data_range, 11)
    wang = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    compare: Any = partial(structural_similarity, data_range=255.0, **wang)
    return float(np.mean([compare(source, grey_fused) for source in grey_sources]))


def entropy(sources: Images, fused: NDArray[Any], *, data_range: float | None = None) -> float:
    r"""Shannon entropy of the fused image's grey levels, in bits.

    .. math:: H(F) = -\sum_j p_F(j) \log_2 p_F(j)

    Parameters
    ----------
    sources, fused, data_range
        As for :func:`evaluate`; the sources are checked and otherwise unused.

    Returns
    -------
    float
        0 to 8. Higher means more information, though noise raises it too.

    Notes
    -----
    Agrees with :func:`skimage.measure.shannon_entropy` on uint8 images.

    References
    ----------
    .. [1] C. E. Shannon, "A mathematical theory of communication", Bell System Technical
       Journal 27(3), 1948. :doi:`10.1002/j.1538-7305.1948.tb01338.x`
    """
    fused_twice = _grey_levels(sources, fused, data_range)[[-1, -1]]
    return _shannon(_joint_probabilities(fused_twice))


# --- input: anything real -> grey levels ----------------------------------------------------------


def _grey_levels(
    sources: Images, fused: NDArray[Any], data_range: float | None, smallest: int = 1
) -> Stack:
    """Stack sources and fused image as grey levels 0..255, for a window of side ``smallest``.

    On multiples of ``_QUANTUM``, sums of products over a window are exact in float64, so that
    flat windows have no variance and 0..1 equals 0..255.
    """
    images = [np.asarray(image) for image in (*sources, fused)]
    _check_images(images, smallest)
    white = _white(images) if data_range is None else float(data_range)
    if not 0 < white < np.inf:
        raise ValueError(f"data_range must be positive and finite, got {data_range}; try 255")
    stack = np.empty((len(images), *images[-1].shape))
    for image, plane in zip(images, stack, strict=True):
        for top in range(0, len(plane), _TILE[0]):
            band = plane[top : top + _TILE[0]]
            band[...] = image[top : top + _TILE[0]]
            np.clip(band, 0.0, white, out=band)
            band *= 255.0 / _QUANTUM / white
            np.rint(band, out=band)
            band *= _QUANTUM
    return stack


def _check_images(images: Sequence[NDArray[Any]], smallest: int) -> None:
    fused = images[-1]
    if len(images) < 3:
        raise ValueError(f"expected at least 2 sources, got {len(images) - 1}; pass all of them")
    for image in images:
        if image.ndim != 2:
            raise ValueError(
                f"expected grey images of shape (M, N), got shape {image.shape}; "
                "convert colour to grey, or evaluate channels and slices one by one"
            )
        if image.shape != fused.shape:
            raise ValueError(
                f"sources and fused must share one shape, got {image.shape} and {fused.shape}; "
                "align them first"
            )
        if image.dtype.kind not in "buif":
            raise ValueError(f"expected real numbers, got dtype {image.dtype}; convert to float")
    if min(fused.shape) < smallest:
        raise ValueError(
            f"expected images of at least {smallest}x{smallest} pixels for this metric's window, "
            f"got {fused.shape[0]}x{fused.shape[1]}; use larger images or leave the metric out"
        )
    if not all(np.isfinite([image.min(), image.max()]).all() for image in images):
        raise ValueError("expected finite values, got NaN or infinity; replace them first")


def _white(images: Sequence[NDArray[Any]]) -> float:
    dtypes = {image.dtype for image in images}
    kinds = {dtype.kind for dtype in dtypes}
    if kinds == {"b"}:
        return 1.0
    if kinds == {"u"} and len(dtypes) == 1:
        return float(np.iinfo(dtypes.pop()).max)
    if kinds != {"f"}:
        raise ValueError(
            f"cannot tell the data range of dtype {' and '.join(sorted(map(str, dtypes)))}; "
            "pass data_range, the value of white"
        )
    low, high = min(image.min() for image in images), max(image.max() for image in images)
    if low < 0 or high > 1:
        raise ValueError(
            f"expected floats in [0, 1], got {low:g} to {high:g}; "
            "rescale them, or pass data_range, the value of white"
        )
    return 1.0


def _option(name: str, options: dict[str, Any]) -> Any:
    if name not in options:
        raise ValueError(f"unknown variant {name!r}; choose from {', '.join(options)}")
    return options[name]


def _tiles(stack: Stack, overlap: int = 0) -> Iterator[Stack]:
    """Cut the planes into tiles that share ``overlap`` rows and columns with their neighbors."""
    for top in range(0, stack.shape[1] - overlap, _TILE[0]):
        for left in range(0, stack.shape[2] - overlap, _TILE[1]):
            bottom, right = top + _TILE[0] + overlap, left + _TILE[1] + overlap
            yield stack[:, top:bottom, left:right]


# --- edges ----------------------------------------------------------------------------------------


class _Sigmoids(NamedTuple):
    """gain / ((1 + e^(slope (strength - middle))) (1 + e^(slope (direction - middle))))."""

    strength: tuple[float, float]
    direction: tuple[float, float]
    gain: float
    geometric: bool  # the square root of it, which makes the product a geometric mean


_SIGMOIDS = {
    "laboratory": _Sigmoids(
        (-11, 0.7), (-24, 0.8), float((1 + np.exp(-11 * 0.3)) * (1 + np.exp(-24 * 0.2))), True
    ),
    "textbook": _Sigmoids((-15, 0.5), (-22, 0.8), 0.9994 * 0.9879, False),
}


def _sobel(padded: Stack) -> tuple[Stack, Stack]:
    """Gradients across rows and across columns, kernels divided by 8, one pixel less all round."""
    step = padded[:, :-2] - padded[:, 2:]
    smooth = padded[:, :-2] + padded[:, 2:]
    smooth += padded[:, 1:-1]
    smooth += padded[:, 1:-1]
    rows = step[..., :-2] + step[..., 2:]
    rows += step[..., 1:-1]
    rows += step[..., 1:-1]
    columns = smooth[..., 2:] - smooth[..., :-2]
    rows /= 8
    columns /= 8
    return rows, columns


def _magnitude(x: Stack, y: Stack) -> Stack:
    squared = x * x
    squared += y * y
    return np.sqrt(squared, out=squared)  # several times faster than np.hypot


def _edge_preservation(strength: Stack, angle: Stack, sigmoids: _Sigmoids) -> Stack:
    ratio = np.minimum(strength[:-1], strength[-1])
    ratio += _EPSILON
    larger = np.maximum(strength[:-1], strength[-1])
    larger += _EPSILON
    ratio /= larger
    likeness = np.subtract(angle[:-1], angle[-1], out=larger)
    np.abs(likeness, out=likeness)
    likeness -= np.pi / 2  # directions are known modulo pi: a difference of pi is none
    np.abs(likeness, out=likeness)
    likeness *= 2 / np.pi
    quality = _one_plus_exp(ratio, *sigmoids.strength)
    quality *= _one_plus_exp(likeness, *sigmoids.direction)
    np.divide(sigmoids.gain, quality, out=quality)
    return np.sqrt(quality, out=quality) if sigmoids.geometric else quality


def _one_plus_exp(value: Stack, slope: float, middle: float) -> Stack:
    """In place: the parts of both sigmoids are multiplied first and divided once."""
    value -= middle
    value *= slope
    np.exp(value, out=value)
    value += 1.0
    return value


# --- windows and blocks ---------------------------------------------------------------------------


class _Moments(NamedTuple):
    """Sums over windows of n pixels, and n^2 times the biased variances and covariances."""

    source: Stack
    fused: Stack
    source_variance: Stack
    fused_variance: Stack
    covariance: Stack


def _moments(images: Stack, total: Callable[[Stack], Stack], count: int) -> _Moments:
    sums, squares, products = total(images), total(images * images), images[:-1] * images[-1]
    squares *= count
    squares -= sums * sums
    covariance = total(products)
    covariance *= count
    covariance -= sums[:-1] * sums[-1]
    return _Moments(sums[:-1], sums[-1], squares[:-1], squares[-1], covariance)


def _window_total(values: Stack) -> Stack:
    """Sum every 8x8 window by doubling, which does not drift and is exact for equal values."""
    for step in (1, 2, 4):
        values = values[:, :-step] + values[:, step:]
    for step in (1, 2, 4):
        values = values[..., :-step] + values[..., step:]
    return values


def _block_total(values: Stack) -> Stack:
    """Sum every disjoint 4x4 block."""
    rows = values[:, 0::4] + values[:, 1::4]
    rows += values[:, 2::4]
    rows += values[:, 3::4]
    blocks = rows[..., 0::4] + rows[..., 1::4]
    blocks += rows[..., 2::4]
    blocks += rows[..., 3::4]
    return blocks


def _window_index(images: Stack, border: int, saliency: bool) -> float:
    """Piella's index on the images, or with ``border`` 2 on the edges of padded images."""
    sums = np.zeros(4)
    for tile in _tiles(images, overlap=_WINDOW - 1 + border):
        sums += _window_sums(_magnitude(*_sobel(tile)) if border else tile)
    quality, count, salient_quality, weight = sums
    return float(salient_quality / weight if saliency and weight > 0 else quality / count)


def _window_sums(images: Stack) -> NDArray[np.float64]:
    """Return the sums over the windows of quality, 1, saliency times quality, and saliency."""
    moments = _moments(images, _window_total, _WINDOW**2)
    variance = np.maximum(moments.source_variance, 0.0)
    total = variance.sum(axis=0)
    share = np.divide(
        variance, total, out=np.full_like(variance, 1 / len(variance)), where=total > 0
    )
    share *= _universal_index(moments)
    quality, saliency = share.sum(axis=0), variance.max(axis=0)
    sums = [quality.sum(), quality.size, np.vdot(saliency, quality), saliency.sum()]
    return np.array(sums, dtype=np.float64)


def _universal_index(m: _Moments) -> Stack:
    """Q_0 = 2 cov / (var + var) * 2 mean mean / (mean^2 + mean^2), where 0/0 is 1."""
    index = np.ones_like(m.covariance)
    spread = m.source_variance + m.fused_variance
    np.divide(2 * m.covariance, spread, out=index, where=spread > 0)
    power = m.source * m.source + m.fused * m.fused
    luminance = np.ones_like(power)
    np.divide(2 * m.source * m.fused, power, out=luminance, where=power > 0)
    index *= luminance
    return index


def _similarity_sum(tile: Stack) -> float:
    n = _BLOCK**2
    m = _moments(tile, _block_total, n)
    covariance = m.covariance / (n * (n - 1))
    spread = (m.source_variance + m.fused_variance) / (n * (n - 1))
    power = (m.source**2 + m.fused**2) / n**2
    total = covariance.sum(axis=0) + _EPSILON
    total[total == 0] = _EPSILON  # a sum of minus epsilon, met in a real picture
    similarity = np.clip(covariance / total, 0.0, 1.0)
    quality = 4 / n**2 * covariance * m.source * m.fused / (spread * power + _EPSILON)
    return float(np.vdot(similarity, quality))


# --- histograms -----------------------------------------------------------------------------------


def _joint_probabilities(stack: Stack) -> NDArray[np.float64]:
    """Joint histograms of every source with the fused image, of shape (K, 256, 256)."""
    counts = np.zeros((len(stack) - 1, _LEVELS**2))
    for top in range(0, stack.shape[1], 2 * _TILE[0]):
        levels = (stack[:, top : top + 2 * _TILE[0]] + 0.5).astype(np.intp)
        levels[:-1] *= _LEVELS
        levels[:-1] += levels[-1]
        for count, pairs in zip(counts, levels[:-1], strict=True):
            count += np.bincount(pairs.ravel(), minlength=_LEVELS**2)
    counts /= stack[0].size
    return counts.reshape(-1, _LEVELS, _LEVELS)


def _shannon(probabilities: NDArray[np.float64]) -> float:
    p = probabilities[probabilities > 0]
    return float(-(p * np.log2(p)).sum()) + 0.0  # no minus zero


def _renyi(probabilities: NDArray[np.float64]) -> float:
    return float(2 * np.log2(np.sqrt(probabilities).sum()))


def _information(joint: NDArray[np.float64], of: Callable[[Any], float]) -> float:
    return of(joint.sum(axis=1)) + of(joint.sum(axis=0)) - of(joint)


# --- the registry ---------------------------------------------------------------------------------

DEFAULT_METRICS = ("petrovic", "mutual_information", "piella", "cvejic")

_REGISTERED = (
    Metric(
        "petrovic",
        "Pe (Q^AB/F)",
        "How well edges of the sources survive, 0 to 1; higher is better.",
        petrovic,
    ),
    Metric(
        "mutual_information",
        "MI (bits)",
        "Shannon information shared with a source, in bits, mean over them; higher is better.",
        mutual_information,
    ),
    Metric(
        "piella",
        "Q (Piella)",
        "Local likeness to the more detailed source, also of edges, up to 1; higher is better.",
        piella,
    ),
    Metric(
        "cvejic",
        "Cv (Cvejic)",
        "Local likeness to the source that the fused image follows, up to 1; higher is better.",
        cvejic,
    ),
    Metric(
        "petrovic_textbook",
        "Qabf (textbook)",
        "Pe with the constants of 2000, where a perfect copy scores 0.975; higher is better.",
        partial(petrovic, variant="textbook"),
    ),
    Metric(
        "mutual_information_sum",
        "MI (sum, bits)",
        "Shannon information shared with the sources, in bits, their sum; higher is better.",
        partial(mutual_information, variant="sum"),
    ),
    Metric(
        "mutual_information_natural",
        "MI (nats)",
        "Shannon information shared with a source, in nats, mean over them; higher is better.",
        partial(mutual_information, variant="natural"),
    ),
    Metric(
        "mutual_information_renyi",
        "MI (Renyi 1/2)",
        "Renyi mutual information, the MI of the Deep Image Prior paper; higher is better.",
        mutual_information_renyi,
    ),
    Metric(
        "normalized_mutual_information",
        "Q_MI (Hossny)",
        "Shared information relative to the entropies, summed over sources; higher is better.",
        normalized_mutual_information,
    ),
    Metric(
        "piella_no_edge",
        "Q_W (Piella)",
        "Piella's index on the images alone, without their edges; higher is better.",
        partial(piella, edge_exponent=0.0),
    ),
    Metric(
        "piella_plain",
        "Q (Piella, plain)",
        "Piella's index without edges and with equal weight for all windows; higher is better.",
        partial(piella, edge_exponent=0.0, saliency=False),
    ),
    Metric(
        "ssim",
        "SSIM",
        "Structural similarity to a source, mean over them, up to 1; higher is better.",
        ssim,
    ),
    Metric(
        "entropy",
        "H (bits)",
        "Spread of the fused grey levels, in bits; higher is better, but noise raises it too.",
        entropy,
    ),
)

METRICS = {metric.name: metric for metric in _REGISTERED}
