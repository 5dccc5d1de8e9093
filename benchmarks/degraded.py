"""The pairs of restoration.py, and the sensors that degrade their second source."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pairs import Floats, Pair, pairs_of
from scipy import ndimage

from napari_dip_fusion import FusionConfig, Source, fuse
from napari_dip_fusion.operators.degradation import Degradation
from napari_dip_fusion.sensor.analysis import analyze, find_noise

KINDS = {
    "pet_mr": ("_mr.png", "_pet.png"),
    "ct_mr": ("_mr.png", "_ct.png"),
    "mr_mr": ("_t1.tif", "_t2.tif"),
    "ir_vis": ("_ir.png", "_vis.png"),
    "multi_focus": ("-A.jpg", "-B.jpg"),
}
"""Folders of DATA, and how the names of the two files end: first the one that stays as it is."""

DEFAULT_KINDS = "pet_mr,ct_mr,mr_mr,ir_vis"
"""Of a pair in focus and out of it, the blur of one source is what the fusion is made for."""

CONFIG = FusionConfig.preset("fast", intensity="dtype")
CLOSED_FORM = CONFIG.replace(noise="none", network="never", restore="never")

FWHM = 2 * np.sqrt(2 * np.log(2))
"""Full width at half maximum of a Gaussian of standard deviation 1."""

LEAST_NOISE = 2 / 255
"""Priors are told at least this much noise, as the program tells its own."""


def restored_pairs(data: Path | None, wanted: str | None, count: int) -> dict[str, list[Pair]]:
    """Return so many pairs of each kind; where there are fewer, some the other way round as well.

    ``ct_mr,ir_vis/Camp`` names a kind and a single pair.
    """
    there = pairs_of(data, KINDS)
    result: dict[str, list[Pair]] = {}
    for text in (wanted or (",".join(there) if data is None else DEFAULT_KINDS)).split(","):
        kind, _, name = text.partition("/")
        both = there.get(kind, []) + [_turned_round(p) for p in there.get(kind, [])]
        some = [p for p in both if name == p.name] if name else both[:count]
        if not some:
            raise SystemExit(f"there is no {text}; the kinds are {', '.join(there)}")
        result.setdefault(kind, []).extend(some)
    return result


def _turned_round(pair: Pair) -> Pair:
    return Pair(pair.kind, f"{pair.name}-reversed", partial(_read_reversed, pair))


def _read_reversed(pair: Pair) -> Sequence[ArrayLike]:
    return list(pair.read())[::-1]


@dataclass(frozen=True)
class Sensor:
    """What lies between the true image and the pixels of a source.

    Blur is a standard deviation in pixels of the true image, noise one of 255; `covered` is the
    share of its columns that was seen.
    """

    blur: float = 0.0
    factors: tuple[int, int] = (1, 1)
    noise: float = 0.0
    covered: float = 1.0

    @property
    def is_perfect(self) -> bool:
        return not (self.blur or self.noise) and self.factors == (1, 1)

    @property
    def matrix(self) -> NDArray[np.float64]:
        """From indices of its pixels to those of the true image."""
        offset = [(f - 1) / 2 for f in self.factors]
        return np.array(
            [[self.factors[0], 0, offset[0]], [0, self.factors[1], offset[1]], [0, 0, 1.0]]
        )

    def observe(self, image: Floats, seed: int) -> Floats:
        """Return the pixels that this sensor makes of an image, 0 where it sees nothing."""
        blurred = ndimage.gaussian_filter(image.astype(float), self.blur, mode="mirror")
        (rows, columns), (down, across) = image.shape, self.factors
        blocks = blurred.reshape(rows // down, down, columns // across, across)
        pixels = blocks.mean(axis=(1, 3))
        pixels += np.random.default_rng(seed).normal(0, self.noise / 255, pixels.shape)
        seen = self.seen(pixels.shape)
        clipped = pixels.clip(0, 1) if seen is None else np.where(seen, pixels.clip(0, 1), 0)
        return clipped.astype(np.float32)

    def seen(self, shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
        """Return which pixels of an image, its own or the true one, it sees; None for all."""
        if self.covered == 1:
            return None
        columns = np.arange(shape[1]) < round(self.covered * shape[1])
        return np.broadcast_to(columns, shape).copy()

    def source(self, pixels: Floats, *, wrong: float = 1.0) -> Source:
        """Return its pixels as the program is given them, with a blur that many times the true."""
        return Source(
            pixels,
            affine=self.matrix,
            fwhm=wrong * self.blur * FWHM,
            mask=self.seen(pixels.shape),
        )

    def operator(self, shape: tuple[int, ...], *, wrong: float = 1.0) -> Degradation:
        """Return its operator on pixels of some shape."""
        sigmas = (wrong * self.blur,) * 2
        return Degradation(shape, self.factors, sigmas, seen=self.seen(shape))

    @property
    def told_noise(self) -> float:
        """Return the standard deviation of its noise that priors are told, in units of white."""
        return max(self.noise / 255, LEAST_NOISE)


@dataclass(frozen=True)
class Case:
    """How both sources of a pair are seen, and what restorers are told about it.

    Attributes
    ----------
    wrong : float
        The blur that restorers are told, as a multiple of the true one.
    shift : int
        Pixels by which the first source lies wrong, along both axes.
    turn : float
        Degrees by which the grid of the first source, the reference, is turned.
    keep_noise : bool
        Whether noise that a source of the pair has by itself is left in it.
    kinds : tuple of str
        The kinds of pairs that it is meant for; all if there is none.
    """

    name: str
    text: str
    second: Sensor
    first: Sensor = Sensor()
    wrong: float = 1.0
    shift: int = 0
    turn: float = 0.0
    keep_noise: bool = False
    kinds: tuple[str, ...] = ()


A = Sensor(1.7, (4, 4), 2)
MAIN_CASES = (
    Case("a", "blur of 1.7 pixels, 4x4 pixels in one, noise of 2/255", A),
    Case("b", "blur of 0.9, 2x2, noise of 2/255", Sensor(0.9, (2, 2), 2)),
    Case("c", "blur of 2 on its own grid, noise of 2/255", Sensor(2.0, (1, 1), 2)),
    Case("d", "slices of six rows", Sensor(0.0, (6, 1))),
    Case("e", "as a, and the right half of it missing", replace(A, covered=0.5)),
    Case("f", "as a, with noise of 10/255", replace(A, noise=10)),
    Case(
        "g",
        "blur of 1.2 on the first and 2 on the second, both of full size, noise of 2/255 on both",
        Sensor(2.0, (1, 1), 2),
        Sensor(1.2, (1, 1), 2),
    ),
)
FURTHER_CASES = (
    Case("narrow", "as a, the blur told 25 % too narrow", A, wrong=0.75),
    Case("wide", "as a, the blur told 25 % too wide", A, wrong=1.25),
    Case("shifted", "as a, the first source two pixels away", A, shift=2),
    Case("turned", "as a, the reference turned by 20 degrees and within the source", A, turn=20),
    Case(
        "noisy",
        "as a, with the noise that the first source has by itself",
        A,
        keep_noise=True,
        kinds=("pet_mr",),
    ),
    Case("same", "nothing degraded", Sensor()),
    Case("half", "nothing degraded, but the right half missing", Sensor(covered=0.5)),
)
CASES = {case.name: case for case in (*MAIN_CASES, *FURTHER_CASES)}

# Side of the turned reference as a share of that of the pair, so that its corners lie within.
_WITHIN = 0.7


class Scene:
    """A pair as the sensors of a case see it, and its true images on the reference.

    The reference is the grid of the first source.

    Attributes
    ----------
    pixels : list of ndarray
        What each sensor makes.
    truths : list of ndarray of one shape
        The undegraded sources on the reference.
    """

    def __init__(self, pair: Pair, case: Case) -> None:
        self.case = case
        images = pair.images()
        if not case.keep_noise:
            images = without_noise(images)
        down, across = case.second.factors
        rows, columns = images.shape[1:]
        images = images[:, : rows - rows % down, : columns - columns % across]
        first, second = np.roll(images[0], (case.shift,) * 2, axis=(0, 1)), images[1]
        # From indices of the reference to those of the undegraded images.
        self._matrix, self.shape = _turned_grid(first.shape, case.turn)
        self.truths = [sample(image, self._matrix, self.shape) for image in (first, second)]
        self.pixels = [case.first.observe(self.truths[0], 1), case.second.observe(second, 0)]

    @property
    def sensors(self) -> tuple[Sensor, Sensor]:
        return self.case.first, self.case.second

    @cached_property
    def truth(self) -> Floats:
        """The fusion of the undegraded sources, each of what its sensor sees."""
        return self.fuse(self.truths)

    def fuse(self, images: Sequence[Floats], *, masked: bool = True) -> Floats:
        """Return the fusion of images on the reference, without any restoration."""
        stack = np.stack(images).astype(np.float32).clip(0, 1)
        if self.case.keep_noise:
            return fuse(list(stack), CONFIG).image
        fields = [None, self.case.second.seen(self.shape)] if masked else ()
        return analyze(stack, CLOSED_FORM, inside=fields).consensus.clip(0, 1)

    def sources(self) -> list[Source]:
        """Return the sources as the program is given them, the reference first."""
        seen = zip(self.sensors, self.pixels, strict=True)
        first, second = (s.source(pixels, wrong=self.case.wrong) for s, pixels in seen)
        return [first.replace(affine=self._matrix), second]

    def on_reference(self, image: Floats, number: int, order: int = 3) -> Floats:
        """Bring an image on the own or the fine pixels of a source to the reference."""
        if number == 0:
            return image
        own = self.pixels[1].shape == image.shape
        matrix = self.sensors[1].matrix if own else np.eye(3)
        return sample(image, np.linalg.solve(matrix, self._matrix), self.shape, order)


def sample(
    image: Floats, matrix: NDArray[np.float64], shape: tuple[int, int], order: int = 3
) -> Floats:
    """Return an image at the places where a matrix puts the pixels of another one."""
    if np.allclose(matrix, np.eye(3)) and image.shape == tuple(shape):
        return image
    sampled = ndimage.affine_transform(
        image.astype(float), matrix, output_shape=shape, order=order, mode="nearest"
    )
    return sampled.clip(0, 1).astype(np.float32)


def _turned_grid(
    shape: tuple[int, ...], degrees: float
) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """Return a grid that is turned around the middle of an image, and lies within the image."""
    if not degrees:
        return np.eye(3), (shape[0], shape[1])
    side = int(min(shape) * _WITHIN)
    angle = np.deg2rad(degrees)
    matrix = np.eye(3)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    middle = (np.array(shape) - 1) / 2
    matrix[:2, 2] = middle - matrix[:2, :2] @ np.full(2, (side - 1) / 2)
    return matrix, (side, side)


def without_noise(images: Floats) -> Floats:
    """Remove the noise that the program finds in the sources themselves, until it finds none.

    Every row would remove it, each a little differently, and the restored source is what they are
    compared for.
    """
    quiet = CONFIG.replace(network="never")
    while any(find_noise(list(images), quiet)):
        images = np.asarray(analyze(images, quiet).denoised)
    return images
