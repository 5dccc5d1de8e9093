"""Make the cell series: nuclei and membranes of living cells in two channels over time."""

import numpy as np

from napari_dip_fusion.samples.sample_set import (
    Image,
    SampleSet,
    Shape,
    check_shape,
    to_uint8,
)
from napari_dip_fusion.sources import Source

_PIXEL, _SECONDS = 0.3, 30.0  # micrometers and seconds
# All other lengths are in parts of the shorter side.
_CELLS = 9
_GRANULES = 5  # in each cell, beside its nucleus
_BACKGROUND = 0.03
_EDGE = 0.006  # how far light spreads beyond what it comes from


def cell_series(*, frames: int = 12, shape: Shape = (128, 128), seed: int = 0) -> SampleSet:
    """Make a time series of moving cells in two channels, free of noise.

    One channel shows the nuclei, the other the membranes of the cells and granules that
    run about in them. Every cell drifts along a path of its own and turns on the way.

    Parameters
    ----------
    frames : int, optional
        Number of frames, at least 1, one every 30 s.
    shape : tuple of two int, optional
        Rows and columns, each at least 16, of 0.3 um.
    seed : int, optional
        Seed of the cells and of their paths.

    Returns
    -------
    SampleSet
        Sources nuclei and membranes: :class:`Source` of axes tyx, uint8. There is no
        truth, which would have to say how bright each channel is.

    Raises
    ------
    ValueError
        If `frames` or `shape` is out of range.

    Examples
    --------
    >>> nuclei, membranes = cell_series(frames=3, shape=(32, 32)).sources
    >>> nuclei.axes, nuclei.units, nuclei.shape
    (('t', 'y', 'x'), ('s', 'um', 'um'), (3, 32, 32))
    """
    check_shape(shape)
    if frames < 1:
        raise ValueError(f"frames must be at least 1, got {frames}; try frames=12")
    rng = np.random.default_rng(seed)
    cells = [_Cell(rng, number) for number in range(_CELLS)]
    pixel = 1 / min(shape)
    rows, columns = ((np.arange(length) + 0.5) * pixel for length in shape)
    y, x = np.meshgrid(rows, columns, indexing="ij")
    # Where cells overlap, the brighter one is seen.
    drawn = np.full((2, frames, *shape), _BACKGROUND)
    for frame in range(frames):
        for cell in cells:
            np.maximum(drawn[:, frame], cell.draw(y, x, frame), out=drawn[:, frame])
    names = ("nuclei", "membranes")
    colors = ("green", "magenta")
    return SampleSet(
        name="cell-series",
        sources=tuple(map(_make_source, drawn, names, colors)),
        source_names=names,
        truth=None,
        description="Nuclei and membranes of moving cells in two channels over time.",
    )


class _Cell:
    """A round cell that drifts and turns, with a nucleus and granules."""

    def __init__(self, rng: np.random.Generator, number: int) -> None:
        # On a grid of three by three, so that cells hardly overlap.
        self.start = (np.array(divmod(number, 3)) + 0.5 + rng.uniform(-0.15, 0.15, 2)) / 3
        self.drift = rng.uniform(-0.008, 0.008, 2)
        self.sway = rng.uniform(0, 2 * np.pi, 2)
        self.radius = rng.uniform(0.10, 0.14)
        self.stretch = rng.uniform(0.75, 1.0)
        self.angle, self.turn = rng.uniform(0, np.pi), rng.uniform(-0.12, 0.12)
        self.brightness = rng.uniform(0.5, 0.95, 2)
        self.granules = rng.uniform(0, 2 * np.pi, (_GRANULES, 2))

    def draw(self, y: Image, x: Image, frame: int) -> Image:
        """Return nucleus and membrane of one frame, shape (2, M, N)."""
        sway = 0.012 * np.sin(0.6 * frame + self.sway)
        center_y, center_x = self.start + self.drift * frame + sway
        angle = self.angle + self.turn * frame
        along = (x - center_x) * np.cos(angle) + (y - center_y) * np.sin(angle)
        across = ((y - center_y) * np.cos(angle) - (x - center_x) * np.sin(angle)) / self.stretch
        distance = np.hypot(along, across)
        nucleus = _fade(distance - 0.5 * self.radius)
        # Chromatin is not even.
        nucleus = nucleus * (0.85 + 0.15 * np.sin(90 * along) * np.sin(90 * across))
        membrane = _fade(np.abs(distance - self.radius) - 0.006)
        cytoplasm = 0.12 * _fade(distance - self.radius) * (1 - _fade(distance - 0.5 * self.radius))
        channel = np.maximum(membrane, cytoplasm)
        for place, speed in self.granules:
            turned = place + 0.25 * np.sin(speed) * frame
            spot = np.hypot(
                along - 0.75 * self.radius * np.cos(turned),
                across - 0.75 * self.radius * np.sin(turned),
            )
            channel = np.maximum(channel, 0.9 * _fade(spot - 0.008))
        return np.asarray(self.brightness[:, None, None] * np.stack([nucleus, channel]))


def _fade(outside: Image) -> Image:
    """Return 1 inside, where the distance to the outside is negative, and 0 far outside."""
    return np.asarray(1 / (1 + np.exp(np.clip(outside / _EDGE, -40, 40))))


def _make_source(channel: Image, name: str, color: str) -> Source:
    return Source(
        to_uint8(channel),
        axes=("t", "y", "x"),
        affine=np.diag([_SECONDS, _PIXEL, _PIXEL, 1]),
        units=("s", "um", "um"),
        name=name,
        display={"colormap": color, "blending": "additive", "contrast_limits": (0, 255)},
    )
