"""Two-channel pictures of cells for fluorescence.py: nuclei, and filaments of the other channel.

Lengths are in pixels. The synthetic pictures are drawn from seeds, the others are made of pictures
that scikit-image ships; nothing is downloaded.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage import data
from skimage.color import rgb2hed
from skimage.filters import threshold_otsu
from skimage.morphology import black_tophat, disk

Floats = NDArray[np.float32]
Image = NDArray[np.float64]
Mask = NDArray[np.bool_]
Rng = np.random.Generator

SIDE = 288
BACKGROUND = 0.02
# Standard deviation of the point spread function in focus.
IN_FOCUS = 1.1
# Rows and columns of two pieces of scikit-image's stained tissue: each holds a gland, whose cells
# are brown between their nuclei, and connective tissue, where blue nuclei lie in faint brown.
GLANDS = {"gland": (slice(256, 512), slice(200, 456)), "duct": (slice(0, 256), slice(230, 486))}
# Of scikit-image's retina, reduced to a third: vessels that leave the optic disc.
VESSELS = slice(60, 348), slice(50, 338)


@dataclass(frozen=True, eq=False)
class Cells:
    """Two channels of one field, and where its nuclei are."""

    name: str
    images: Floats
    """Nuclei and filaments, shape (2, M, N), in [0, 1] and in steps of 1/255."""
    nuclei: Mask
    """True inside nuclei, shape (M, N)."""


@dataclass(frozen=True)
class Scene:
    """A synthetic field: how bright, how sharp and how crowded what is in it is."""

    name: str
    seed: int
    nuclei: int = 14
    gap: tuple[float, float] = (10, 60)
    """Least and greatest distance from a nucleus to the next; below 0 they overlap."""
    nucleus: tuple[float, float] = (0.6, 1.0)
    edge: float = 1.3
    """Standard deviation of the blur of the nuclei, which lie thicker than filaments."""
    skirt: float = 0.0
    """Part of the nuclei's light that comes from out of focus, blurred over 9 pixels."""
    filament: tuple[float, float] = (0.05, 0.5)
    cytoplasm: float = 0.0
    """Brightness of the haze round a nucleus in the channel of the filaments."""


SCENES = (
    Scene("sparse", 1),
    Scene("weak", 2, nucleus=(0.9, 1.0), filament=(0.05, 0.12)),
    Scene("dim nuclei", 3, nucleus=(0.25, 0.5), filament=(0.05, 0.6), cytoplasm=0.06),
    Scene("crowded", 4, nuclei=34, gap=(-2, 6), edge=1.0, filament=(0.05, 0.4)),
    Scene("cytoplasm", 5, cytoplasm=0.15),
    Scene("soft edges", 6, nucleus=(0.8, 1.0), edge=2.5, cytoplasm=0.3, filament=(0.08, 0.5)),
    Scene("out of focus", 7, edge=1.6, skirt=0.12, cytoplasm=0.08, filament=(0.05, 0.35)),
)
AMONG_VESSELS = Scene("vessels", 8, nucleus=(0.8, 1.0))


def sets() -> Iterator[Cells]:
    """Yield all pictures, the synthetic ones first."""
    for scene in SCENES:
        yield draw(scene)
    # Unmixing the stains raises noise; all pictures here are clean, so that no network runs.
    tissue = ndimage.gaussian_filter(rgb2hed(data.immunohistochemistry()), (0.7, 0.7, 0))
    blue, brown = stretch(tissue[..., 0]), stretch(tissue[..., 2])
    for name, piece in GLANDS.items():
        yield stained(name, blue[piece], brown[piece])
    light, nuclei = draw_nuclei(AMONG_VESSELS, np.random.default_rng(AMONG_VESSELS.seed))
    yield Cells(AMONG_VESSELS.name, in_gray_levels([light + BACKGROUND, read_vessels()]), nuclei)


def read_vessels() -> Image:
    """Return the vessels of scikit-image's retina, reduced to a third and bright on dark."""
    green = data.retina()[..., 1].astype(float)[:1410, :1410].reshape(470, 3, 470, 3)
    # They are dark in the picture; the top-hat takes them out of their ground.
    vessels = black_tophat(ndimage.gaussian_filter(green.mean(axis=(1, 3)), 1), disk(7))
    return stretch(vessels[VESSELS], background=60)


def in_gray_levels(channels: list[Image]) -> Floats:
    return (np.rint(np.stack(channels).clip(0, 1) * 255) / 255).astype(np.float32)


def stretch(channel: Image, background: float = 20) -> Image:
    """Scale a channel to [0, 1]: so many percent are background, one pixel of 1000 saturated."""
    black, white = np.percentile(channel, (background, 99.9))
    return np.asarray((channel - black) / (white - black)).clip(0, 1)


def stained(name: str, first: Image, second: Image) -> Cells:
    """Return two channels with the nuclei that a threshold finds in the first one."""
    smooth = ndimage.gaussian_filter(first, 1)
    # Opening takes away what is too narrow for a nucleus.
    nuclei = ndimage.binary_opening(smooth > threshold_otsu(smooth), iterations=2)
    return Cells(name, in_gray_levels([first, second]), nuclei)


def draw(scene: Scene) -> Cells:
    """Draw a synthetic field."""
    rng = np.random.default_rng(scene.seed)
    light, nuclei = draw_nuclei(scene, rng)
    channel = draw_filaments(scene, rng)
    if scene.cytoplasm:
        channel = channel + draw_cytoplasm(scene.cytoplasm, nuclei, rng)
    return Cells(scene.name, in_gray_levels([light + BACKGROUND, channel + BACKGROUND]), nuclei)


def draw_nuclei(scene: Scene, rng: Rng) -> tuple[Image, Mask]:
    """Return the light of nuclei with some chromatin, and where they are."""
    y, x = np.mgrid[:SIDE, :SIDE]
    light, nuclei = np.zeros((SIDE, SIDE)), np.zeros((SIDE, SIDE), bool)
    chromatin = 1 + 0.12 * texture(rng, 2.5)
    for row, column, radius in place_nuclei(scene, rng):
        angle, turn = np.arctan2(y - row, x - column), rng.uniform(0, 2 * np.pi, 2)
        lumps = 0.12 * np.cos(2 * (angle - turn[0])) + 0.05 * np.cos(3 * (angle - turn[1]))
        depth = radius * (1 + lumps) - np.hypot(y - row, x - column)
        shape = rng.uniform(*scene.nucleus) * np.clip(0.5 + depth, 0, 1)
        light, nuclei = np.maximum(light, shape), nuclei | (depth > 0)
    light = ndimage.gaussian_filter(light * chromatin, scene.edge)
    halo = ndimage.gaussian_filter(light, 9)
    return light + scene.skirt * (halo - light), nuclei


def place_nuclei(scene: Scene, rng: Rng) -> list[tuple[float, float, float]]:
    """Return row, column and radius of nuclei; each lies within `gap` of the nearest other one."""
    placed = [(SIDE / 2, SIDE / 2, 15.0)]
    for _ in range(20000):
        if len(placed) == scene.nuclei:
            break
        row, column = rng.uniform(0, SIDE, 2)
        radius = rng.uniform(11, 19)
        gaps = [np.hypot(row - r, column - c) - radius - s for r, c, s in placed]
        if scene.gap[0] <= min(gaps) <= scene.gap[1]:
            placed.append((row, column, radius))
    return placed


def draw_filaments(scene: Scene, rng: Rng, count: int = 70) -> Image:
    """Return lines that wander over the field, each of one brightness, in focus."""
    density = np.zeros((SIDE, SIDE))
    low, high = np.log(scene.filament)
    step = 0.25
    for _ in range(count):
        turns = ndimage.gaussian_filter1d(rng.normal(0, 0.02, rng.integers(300, 1600)), 20)
        angle = rng.uniform(0, 2 * np.pi) + np.cumsum(turns)
        path = np.cumsum([np.sin(angle), np.cos(angle)], axis=1) * step
        splat(density, path + rng.uniform(0, SIDE, (2, 1)), np.exp(rng.uniform(low, high)) * step)
    # A line of density 1 a pixel has this brightness on its crest after the blur.
    return ndimage.gaussian_filter(density, IN_FOCUS) * np.sqrt(2 * np.pi) * IN_FOCUS


def splat(density: Image, points: Image, amount: float) -> None:
    """Add an amount at each of some points, shape (2, P), shared by the four pixels round it."""
    corner = np.floor(points).astype(int)
    part = points - corner
    for right in (0, 1):
        for down in (0, 1):
            row, column = corner + np.array([[down], [right]])
            share = np.abs(1 - down - part[0]) * np.abs(1 - right - part[1]) * amount
            inside = (row >= 0) & (row < SIDE) & (column >= 0) & (column < SIDE)
            np.add.at(density, (row[inside], column[inside]), share[inside])


def draw_cytoplasm(level: float, nuclei: Mask, rng: Rng) -> Image:
    """Return a haze that is brightest beside nuclei and fainter over them."""
    away = ndimage.distance_transform_edt(~nuclei)
    haze = level * np.exp(-np.square(away / 20)) * (1 + 0.15 * texture(rng, 6))
    return np.asarray(ndimage.gaussian_filter(haze * np.where(nuclei, 0.4, 1.0), 1.5))


def texture(rng: Rng, sigma: float) -> Image:
    """Return smooth noise of mean 0 and standard deviation 1."""
    noise = ndimage.gaussian_filter(rng.standard_normal((SIDE, SIDE)), sigma)
    return np.asarray((noise - noise.mean()) / noise.std())
