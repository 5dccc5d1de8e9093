"""How much memory a run needs, and whether there is so much."""

from napari_dip_fusion.config import FusionConfig, NetworkSettings
from napari_dip_fusion.prior.devices import measure_free_memory

# Work space of the libraries, and what their padding and alignment add; both
# measured as peak resident memory of whole runs (benchmarks/memory.py).
_WORK_SPACE = 110e6
_MARGIN = 1.05


def estimate_memory(config: FusionConfig, shape: tuple[int, int], count: int) -> int:
    """Estimate the memory of a run in bytes.

    Parameters
    ----------
    config : FusionConfig
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
    network = config.network
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


def check_memory(
    config: FusionConfig, shape: tuple[int, int], count: int, device: str, *, smallest: int
) -> None:
    """Refuse a run that needs more memory than is free.

    Parameters
    ----------
    config, shape, count
        As for :func:`estimate_memory`.
    device : str
        A device that is there.
    smallest : int
        Side in pixels below which no smaller images are advised.

    Raises
    ------
    ValueError
        If there is too little memory; the message says what would fit.
    """
    needed, free = estimate_memory(config, shape, count), measure_free_memory(device)
    if needed <= free:
        return
    raise ValueError(
        f"{shape[0]}x{shape[1]} pixels with width {config.network.width} need about "
        f"{needed / 1e9:.1f} GB, but {device} has {free / 1e9:.1f} GB free; "
        f"{_advise_what_fits(config, shape, count, free, smallest)}"
    )


def _advise_what_fits(
    config: FusionConfig, shape: tuple[int, int], count: int, free: int, smallest: int
) -> str:
    """Return advice on a run that needs no more memory than is free."""
    rows, columns = shape
    # Halves of the width, and sides that are shorter in steps of a twentieth.
    widths = [config.network.width >> n for n in range(1, 8) if config.network.width >> n >= 4]
    sizes = [(rows * n // 20, columns * n // 20) for n in range(19, 0, -1)]
    width = next(
        (w for w in widths if estimate_memory(config.replace(width=w), shape, count) <= free), None
    )
    size = next((s for s in sizes if estimate_memory(config, s, count) <= free), None)
    fitting = [f"width {width}"] if width else []
    if size and min(size) >= smallest:
        fitting.append(f"images of at most {size[0]}x{size[1]} pixels")
    return f"use {', or '.join(fitting)}" if fitting else "free memory, or use another machine"


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
