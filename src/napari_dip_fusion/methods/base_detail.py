"""Fuse base and detail, weighing details by features of VGG-19 (Li, Wu and Kittler 2018)."""

import os
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from napari_dip_fusion.methods.vgg import Vgg19Features, find_cached_weights

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Features = Callable[[torch.Tensor], Sequence[torch.Tensor]]

READINGS = ("after-relu", "before-relu")

# The weight of the gradients in the low-pass filter, and the pixels by which it continues the
# image at the border: both are those of the published code.
_SMOOTHNESS = 5.0
_MARGIN = 16

# How much smaller than the image the features of conv1_1, conv2_1, conv3_1 and conv4_1 are.
_SCALES = (1, 2, 4, 8)


def base_detail(
    sources: Floats,
    *,
    reading: str = "after-relu",
    weights: str | os.PathLike[str] | None = None,
    download: bool = False,
    features: Features | None = None,
) -> Floats:
    r"""Average the bases, and weigh the details by deep features.

    .. math::

        F = \frac1K \sum_i B_i + \max_l \sum_i w_i^l D_i, \qquad
        w_i^l = \frac{C_i^l}{\sum_j C_j^l}, \qquad
        C_i^l = \mathrm{mean}_{3 \times 3} \| \phi_l(D_i) \|_1

    with base :math:`B_i`, the solution of
    :math:`\min_B \|X_i - B\|^2 + 5 (\|g_x * B\|^2 + \|g_y * B\|^2)` for g = [-1, 1], detail
    :math:`D_i = X_i - B_i`, and the features :math:`\phi_l` of a VGG-19 at conv1_1, conv2_1,
    conv3_1 and conv4_1.

    Parameters
    ----------
    sources : ndarray of shape (K, M, N), float32 in [0, 1]
    reading : {"after-relu", "before-relu"}
        The features after their ReLU, as the paper says, or before it, as its code does.
    weights : path-like, optional
        The ``state_dict`` of a VGG-19 in torchvision's layout (keys ``features.0.weight``, ...).
        By default the file of torchvision in torch's own cache.
    download : bool
        Download that file (548 MB) into torch's cache where it is missing, and check its SHA-256.
    features : callable, optional
        Another network in place of the VGG-19: takes details of shape (K, 3, M', N') with sides
        that are multiples of 8, and returns four tensors (K, C, M'/s, N'/s) for s = 1, 2, 4, 8.

    Returns
    -------
    ndarray of shape (M, N), float32 in [0, 1]
        The fused image is clipped to this range.

    Raises
    ------
    ValueError
        If there is no such reading, or the weights are missing, cannot be read or do not fit.

    Notes
    -----
    This is the method of [1]_. The ImageNet weights are not part of this package. Sides that are
    no multiple of 8 are continued by reflection. A pixel of a source takes about 0.2 million
    multiplications: a pair of 256x256 a second or two on two cores, besides reading the weights.

    References
    ----------
    .. [1] H. Li, X.-J. Wu, J. Kittler, "Infrared and Visible Image Fusion using a Deep Learning
       Framework", ICPR 2018, arXiv:1804.06992, doi:10.1109/ICPR.2018.8546006.
    """
    if reading not in READINGS:
        raise ValueError(f"reading must be one of {', '.join(READINGS)}, got {reading!r}")
    if features is None:
        file = find_cached_weights(download=download) if weights is None else weights
        features = Vgg19Features.load(file, after_relu=reading == "after-relu")
    images = sources.astype(np.float64)
    base = np.stack([extract_base(image) for image in images])
    details = images - base
    layers = [(w * details).sum(axis=0) for w in weigh_details(details, features)]
    fused = base.mean(axis=0) + np.max(layers, axis=0)
    return np.asarray(np.clip(fused, 0, 1), dtype=np.float32)


def extract_base(image: Doubles) -> Doubles:
    """Return the base of an image, by Tikhonov regularization in the Fourier domain.

    Parameters
    ----------
    image : ndarray of shape (M, N)

    Returns
    -------
    ndarray of shape (M, N)
    """
    padded = np.pad(image, _MARGIN, mode="symmetric")
    # The minimum of |X - B|^2 + 5 (|g_x * B|^2 + |g_y * B|^2) has a closed form for each frequency:
    # B = X / (1 + 5 (|G_x|^2 + |G_y|^2)), where G is the transform of g = [-1, 1].
    rows, columns = (np.abs(np.fft.fft([-1, 1], n)) ** 2 for n in padded.shape)
    response = 1 / (1 + _SMOOTHNESS * (rows[:, None] + columns[None, :]))
    base = np.fft.ifft2(np.fft.fft2(padded) * response).real
    return np.asarray(base[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN])


def weigh_details(details: Doubles, features: Features) -> list[Doubles]:
    """Return the weights of the details for each layer.

    Parameters
    ----------
    details : ndarray of shape (K, M, N)
    features : callable
        As for :func:`base_detail`.

    Returns
    -------
    list of four ndarrays of shape (K, M, N)
        The weights of a layer sum to 1 over the sources.
    """
    rows, columns = details.shape[1:]
    padded = np.pad(details, ((0, 0), (0, -rows % 8), (0, -columns % 8)), mode="symmetric")
    # The network knows color: the details go into all three channels, and, as in the published
    # code, without subtracting the mean of ImageNet.
    stack = torch.from_numpy(padded.astype(np.float32))[:, None].expand(-1, 3, -1, -1)
    with torch.inference_mode():
        norms = [layer.abs().sum(dim=1).double().numpy() for layer in features(stack)]
    return [
        _enlarge(_divide_by_sum(norm), scale)[:, :rows, :columns]
        for norm, scale in zip(norms, _SCALES, strict=True)
    ]


def _divide_by_sum(norms: Doubles) -> Doubles:
    """Return the share of each source in the 3x3 mean of the norms at each place."""
    activity = ndimage.uniform_filter(norms, size=(1, 3, 3), mode="nearest")
    activity = np.maximum(activity, 0)  # rounding takes the filter's running sums below 0
    total = activity.sum(axis=0)
    equal = np.full_like(activity, 1 / len(activity))
    return np.asarray(np.divide(activity, total, out=equal, where=total > 0))


def _enlarge(weights: Doubles, scale: int) -> Doubles:
    return np.asarray(weights.repeat(scale, axis=1).repeat(scale, axis=2))
