"""How much memory a run needs, and whether there is so much."""

from napari_dip_fusion.config import CONSENSUS, DIP, FusionConfig
from napari_dip_fusion.methods import METHODS
from napari_dip_fusion.prior.devices import measure_free_memory
from napari_dip_fusion.prior.memory import estimate_network_memory

Shape = tuple[int, int]


def may_run_network(config: FusionConfig) -> bool:
    """Tell whether a run may come to fit a network, which may depend on its sources."""
    return config.method == DIP and config.fit.network != "never"


def estimate_memory(
    config: FusionConfig, shape: Shape, count: int, *, network: bool | None = None
) -> int:
    """Estimate the memory of a run in bytes.

    Parameters
    ----------
    config : FusionConfig
    shape : (M, N)
        Size of the images in pixels.
    count : int
        Number of sources K.
    network : bool, optional
        Whether a network runs, where it is known; by default whether one may.

    Returns
    -------
    int
    """
    network = may_run_network(config) if network is None else network
    if network:
        return estimate_network_memory(config.network, shape, count)
    # Without a network, our own method is its closed form.
    method = METHODS[CONSENSUS if config.method == DIP else config.method]
    return method.estimate_memory(shape, count)


def check_memory(
    config: FusionConfig, shape: Shape, count: int, device: str, *, network: bool, smallest: int
) -> None:
    """Refuse a run that needs more memory than is free.

    Parameters
    ----------
    config, shape, count
        As for :func:`estimate_memory`.
    device : str
        A device that is there.
    network : bool
        Whether a network runs.
    smallest : int
        Side in pixels below which no smaller images are advised.

    Raises
    ------
    ValueError
        If there is too little memory; the message says what would fit.
    """
    needed = estimate_memory(config, shape, count, network=network)
    free = measure_free_memory(device)
    if needed <= free:
        return
    width = f" with width {config.network.width}" if network else ""
    raise ValueError(
        f"{shape[0]}x{shape[1]} pixels{width} need about "
        f"{needed / 1e9:.1f} GB, but {device} has {free / 1e9:.1f} GB free; "
        f"{_advise_what_fits(config, shape, count, free, network, smallest)}"
    )


def _advise_what_fits(
    config: FusionConfig, shape: Shape, count: int, free: int, network: bool, smallest: int
) -> str:
    """Return advice on a run that needs no more memory than is free."""
    rows, columns = shape
    wide = config.network.width

    def fits(width: int, shape: Shape) -> bool:
        tried = config.replace(width=width)
        return estimate_memory(tried, shape, count, network=network) <= free

    # Halves of the width, and sides that are shorter in steps of a twentieth.
    widths = [wide >> n for n in range(1, 8) if wide >> n >= 4] if network else []
    sizes = [(rows * n // 20, columns * n // 20) for n in range(19, 0, -1)]
    width = next((w for w in widths if fits(w, shape)), None)
    size = next((s for s in sizes if fits(wide, s)), None)
    fitting = [f"width {width}"] if width else []
    if network and estimate_memory(config, shape, count, network=False) <= free:
        fitting.append("no network (network=never)")
    if size and min(size) >= smallest:
        fitting.append(f"images of at most {size[0]}x{size[1]} pixels")
    return f"use {', or '.join(fitting)}" if fitting else "free memory, or use another machine"
