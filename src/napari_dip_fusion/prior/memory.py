"""How much memory the fit of a network needs."""

from napari_dip_fusion.config import NetworkSettings

# Work space of the libraries, and what their padding and alignment add; both
# measured as peak resident memory of whole runs (benchmarks/memory.py).
_WORK_SPACE = 110e6
_MARGIN = 1.05


def estimate_network_memory(network: NetworkSettings, shape: tuple[int, int], count: int) -> int:
    """Estimate the memory of a run with a network in bytes.

    Parameters
    ----------
    network : NetworkSettings
    shape : (M, N)
        Size of the images in pixels.
    count : int
        Number of sources K.

    Returns
    -------
    int
        Features that are kept for the backward pass, with the padded copies
        and gradients that are alive beside them, plus weights, Adam's moments,
        the images and the libraries' work space.
    """
    rows, columns = (pad_size(n, network.depth) for n in shape)
    inputs = count + 1 if network.net_input == "sources" else network.channels
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
    pixel_values = features + alive + 14 * network.channels + 6 * inputs
    # A weight, its gradient and Adam's two moments of 4 bytes each.
    weights = 16 * _count_weights(network, inputs)
    # Sources, denoised sources and gains of both bands, and the images made from them.
    images = rows * columns * 4 * (4 * count + 8)
    return int(_MARGIN * (rows * columns * 4 * pixel_values + weights + images) + _WORK_SPACE)


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


def _count_weights(network: NetworkSettings, inputs: int) -> int:
    """Return the number of weights of the convolutions, which are nearly all there are."""
    width, skip = network.width, network.skip_channels
    # The two convolutions of a scale's way up, of 3x3 and 1x1; its way down has two of 3x3.
    per_scale = 9 * (width + skip) * width + width * width
    down = 9 * inputs * width + (2 * network.depth - 1) * 9 * width * width
    return network.depth * per_scale + down
