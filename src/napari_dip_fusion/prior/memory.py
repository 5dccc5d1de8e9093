"""How much memory the fit of a network needs, and how much of an image it sees at once."""

import math

from napari_dip_fusion.config import NetworkSettings

# Work space of the libraries, and what their padding and alignment add; both
# measured as peak resident memory of whole runs (benchmarks/memory.py).
_WORK_SPACE = 110e6
_MARGIN = 1.05

# Crops of this side hold the structure that a plane is fused by; a batch of them has the pixels of
# one plane of 256x256, so that an iteration takes as long as it does there.
_CROP_SIDE, _BATCH_PIXELS = 128, 256 * 256

NEIGHBORS = (-1, 0, 1)
"""Distances of the planes that the network of a volume sees together."""

STATISTICS = 16
"""Batches of crops over which the normalization statistics of a finished network are taken."""


def estimate_network_memory(network: NetworkSettings, shape: tuple[int, ...], count: int) -> int:
    """Estimate the memory of a run with a network in bytes.

    Parameters
    ----------
    network : NetworkSettings
    shape : (M, N) or (Z, M, N)
        Size of the images in pixels: of a plane, or of a volume, which is fitted by crops.
    count : int
        Number of sources K.

    Returns
    -------
    int
        Features that are kept for the backward pass, with the padded copies
        and gradients that are alive beside them, or those that make one plane of a volume, plus
        weights, Adam's moments, the images and the libraries' work space.
    """
    rows, columns = (pad_size(n, network.depth) for n in shape[-2:])
    planes = math.prod(shape[:-2])
    sees_sources = network.net_input == "sources"
    inputs = count + 1 if sees_sources else network.channels
    # Sources, denoised sources and gains of both bands, and the images made from them.
    images = 4 * count + 8
    pixels, applied = rows * columns, 0.0
    if planes > 1:
        # Of a random input there is a whole volume, and of the image one to work on.
        images += 1 + (0 if sees_sources else inputs)
        inputs *= len(NEIGHBORS)
        crops, height, width = choose_crops((planes, *shape[-2:]), network.depth)
        applied = pixels * (6.0 * (network.width + network.skip_channels) + inputs)
        pixels = crops * pad_size(height, network.depth) * pad_size(width, network.depth)
    fitted = pixels * _count_pixel_values(network, inputs)
    # A weight, its gradient, Adam's two moments and the mean of weights of 4 bytes each.
    weights = (16 if planes == 1 else 20) * _count_weights(network, inputs)
    volume = 4 * planes * rows * columns * images
    return int(_MARGIN * (4 * max(fitted, applied) + weights + volume) + _WORK_SPACE)


def _count_pixel_values(network: NetworkSettings, inputs: int) -> float:
    """Return how many values are alive in an iteration for each pixel that the network sees."""
    features = 0.0
    channels = inputs
    for scale in range(network.depth):
        pixels = 4.0**-scale
        joined = network.width + network.skip_channels
        # Down path at a quarter of the pixels; each block keeps its padded
        # input, the convolution's output and the activated result.
        features += pixels * (channels + 2 * network.skip_channels)
        features += pixels / 4 * 5 * network.width
        features += pixels * (4 * joined + 4 * network.width)
        channels = network.width
    # Gradients of the finest scale that are alive beside what is kept.
    alive = 2 * (network.width + network.skip_channels)
    return features + alive + 14 * network.channels + 6 * inputs


def choose_crops(shape: tuple[int, ...], depth: int) -> tuple[int, int, int]:
    """Return how many crops of how many rows and columns are fitted in one iteration.

    Parameters
    ----------
    shape : (Z, M, N)
        Of the volume that they are taken from.
    depth : int
        Number of scales of the network.

    Returns
    -------
    tuple of int
        Number of crops, rows and columns. Sides up to that of a crop are taken whole, and no more
        crops than would cover the volume.

    Examples
    --------
    >>> [choose_crops(shape, 5) for shape in ((100, 256, 200), (100, 64, 300), (2, 64, 64))]
    [(4, 128, 128), (8, 64, 128), (2, 64, 64)]
    """
    planes, *sides = shape
    most = pad_size(_CROP_SIDE, depth)
    rows, columns = (min(side, most) for side in sides)
    seen = pad_size(rows, depth) * pad_size(columns, depth)
    covering = planes * math.prod(-(-n // c) for n, c in zip(sides, (rows, columns), strict=True))
    return max(1, min(_BATCH_PIXELS // seen, covering)), rows, columns


def pad_size(size: int, depth: int) -> int:
    """Return the smallest size from `size` on that a network of `depth` scales takes.

    Every scale halves it, and the deepest features need two pixels each way
    for their reflection padding.

    Examples
    --------
    >>> pad_size(47, 5), pad_size(256, 5)
    (64, 256)
    """
    step: int = 2**depth
    return max(-(-size // step), 2) * step


def measure_network_reach(depth: int) -> int:
    """Return how far away, in pixels, the input of a network of so many scales bears on its output.

    At each scale two convolutions go down and one goes up, behind an interpolation: their windows
    of three reach one pixel of their scale far, the interpolation as much.
    """
    return sum(5 * 2**scale for scale in range(depth))


def _count_weights(network: NetworkSettings, inputs: int) -> int:
    """Return the number of weights of the convolutions, which are nearly all there are."""
    width, skip = network.width, network.skip_channels
    # The two convolutions of a scale's way up, of 3x3 and 1x1; its way down has two of 3x3.
    per_scale = 9 * (width + skip) * width + width * width
    down = 9 * inputs * width + (2 * network.depth - 1) * 9 * width * width
    return network.depth * per_scale + down
