"""The anatomy behind the head phantoms: one axial slice, as CT and MR would show it.

Lengths are in half fields of view (120 mm), x to the right and y to the back.
"""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree

__all__ = ["head_slice"]

Image: TypeAlias = npt.NDArray[np.float64]
Shape: TypeAlias = tuple[int, int]
Rows: TypeAlias = tuple[tuple[float, float, float], ...]

# Gray levels of each tissue in CT, in a window from fat to bone, and in T1-weighted MR after
# contrast agent; then the source that shows the tissue in the truth.
_CT, _MR = 0, 1
_TISSUES = {
    "skin": (0.20, 0.42, _MR),
    "fat": (0.05, 0.80, _MR),
    "muscle": (0.33, 0.34, _MR),
    "bone": (1.0, 0.05, _CT),
    "marrow": (0.90, 0.14, _CT),
    "calcium": (0.92, 0.30, _CT),
    "air": (0.0, 0.02, _CT),
    "fluid": (0.22, 0.10, _MR),
    "narrow fluid": (0.33, 0.13, _MR),  # partial volume hides most of it from CT
    "gray matter": (0.395, 0.42, _MR),
    "gray nucleus": (0.40, 0.48, _MR),
    "white matter": (0.365, 0.66, _MR),
    "falx": (0.47, 0.30, _MR),
    "vessel": (0.40, 0.95, _MR),
    "edema": (0.365, 0.50, _MR),
    "lesion rim": (0.365, 0.93, _MR),
    "lesion core": (0.365, 0.22, _MR),
}
# Standard deviation of the brain's texture in CT, MR and truth.
_TEXTURE = np.array([0.006, 0.018, 0.018])[:, None, None]

# Tubes as rows of (x, y, radius) in the right half; the left half mirrors them.
_DEEP: tuple[tuple[str, Rows], ...] = (
    ("gray nucleus", ((0.10, -0.11, 0.022), (0.16, -0.21, 0.034))),  # caudate
    ("gray nucleus", ((0.055, 0.01, 0.030), (0.085, 0.08, 0.062))),  # thalamus
    ("gray nucleus", ((0.20, -0.17, 0.030), (0.235, -0.09, 0.042), (0.24, 0.02, 0.018))),
    (
        "fluid",
        ((0.02, -0.02, 0.013), (0.04, -0.1, 0.027), (0.08, -0.18, 0.031), (0.12, -0.25, 0.016)),
    ),
    (
        "fluid",
        ((0.13, 0.12, 0.016), (0.175, 0.19, 0.034), (0.195, 0.26, 0.032), (0.18, 0.35, 0.012)),
    ),
    ("fluid", ((0.0, -0.01, 0.010), (0.0, 0.10, 0.012))),  # third ventricle
    ("calcium", ((0.170, 0.215, 0.010), (0.185, 0.245, 0.014))),  # choroid plexus
    ("calcium", ((0.0, 0.155, 0.010), (0.0, 0.165, 0.012))),  # pineal gland
    ("vessel", ((0.36, -0.10, 0.010),)),  # middle cerebral artery
    ("vessel", ((0.40, -0.09, 0.010),)),
    ("vessel", ((0.335, -0.02, 0.010),)),
    ("vessel", ((0.012, -0.33, 0.010),)),  # anterior cerebral artery
)
_SINUS: Rows = ((0.0, 0.652, 0.020), (0.0, 0.615, 0.006))  # superior sagittal sinus
_FRONTAL_SINUS: Rows = ((0.025, -0.72, 0.018), (0.08, -0.705, 0.016))
_LESION: Rows = ((-0.27, 0.19, 0.040), (-0.26, 0.21, 0.040))


class _Slice:
    """CT, MR and truth of one head slice, which are painted tissue by tissue, back to front."""

    def __init__(self, shape: Shape) -> None:
        self.pixel = 2 / min(shape)
        rows, columns = ((np.arange(length) - (length - 1) / 2) * self.pixel for length in shape)
        self.y, self.x = np.meshgrid(rows, columns, indexing="ij")
        self.images = np.zeros((3, *shape))

    def paint(self, tissue: str, depth: Image) -> None:
        """Paint a tissue where the signed depth under its surface is positive."""
        *levels, shown = _TISSUES[tissue]
        values = np.array([*levels, levels[int(shown)]])[:, None, None]
        # A pixel that the surface runs through shows both tissues: partial volume, without jagged
        # edges.
        self.images += np.clip(0.5 + depth / self.pixel, 0, 1) * (values - self.images)


def head_slice(shape: Shape, seed: int, bias: float) -> Image:
    """Return CT, MR and truth of a slice, in [0, 1].

    Parameters
    ----------
    shape : tuple of two int
        Rows and columns of an image; the head is fitted to the shorter side.
    seed : int
        Seed of folds, asymmetry and texture.
    bias : float
        Relative amplitude of the smooth bias field of MR.

    Returns
    -------
    ndarray of shape (3, M, N)
    """
    rng = np.random.default_rng(seed)
    head = _Slice(shape)
    _paint_brain(head, _paint_skull(head), rng)
    x = np.abs(head.x)
    head.paint("vessel", _tube(x, head.y, _SINUS))
    head.paint("air", _tube(x, head.y, _FRONTAL_SINUS))
    sigma = 0.0042 / head.pixel  # the scanners' resolution, half a millimeter
    images = ndimage.gaussian_filter(head.images, (0, sigma, sigma))
    # The coil of an MR scanner is more sensitive on one side; the truth does not have that.
    images[_MR] *= 1 + bias * (0.8 * head.x - 0.9 * head.y)
    return np.asarray(np.clip(images, 0, 1))


def _paint_skull(head: _Slice) -> Image:
    """Paint scalp and skull, and return the signed depth under the skull's inner table."""
    angle = np.arctan2(head.y, np.abs(head.x))
    depth = _outline(angle) - np.hypot(head.x, head.y)
    for tissue, begin in (("skin", 0.0), ("fat", 0.018), ("muscle", 0.05)):
        head.paint(tissue, depth - begin)
    thickness = _skull_thickness(angle)
    inner = depth - _scalp_thickness(angle) - thickness
    # Two tables of compact bone with marrow between them.
    head.paint("bone", inner + thickness)
    head.paint("marrow", np.minimum(inner + 0.65 * thickness, -0.35 * thickness - inner))
    return np.asarray(inner)


def _paint_brain(head: _Slice, inner: Image, rng: np.random.Generator) -> None:
    """Paint what lies under the skull's inner table, where `inner` is positive."""
    phase = rng.uniform(0, 2 * np.pi, 2)
    x = head.x + 0.010 * np.sin(5 * head.y + phase[0])  # no brain is symmetric
    y = head.y + 0.010 * np.sin(5 * head.x + phase[1])
    points = np.stack([x, y], axis=-1).reshape(-1, 2)
    fold = cKDTree(_draw_folds(rng)).query(points)[0].reshape(x.shape)  # distance to the next one
    brain = inner - 0.012
    head.paint("narrow fluid", inner)
    head.paint("gray matter", brain)
    head.paint("white matter", np.minimum(fold - 0.008, brain) - 0.023)
    texture = ndimage.gaussian_filter(rng.standard_normal(x.shape), 0.008 / head.pixel)
    head.images += _TEXTURE * np.clip(brain / 0.02, 0, 1) * texture / texture.std()
    # Folds are widest at the surface of the brain.
    head.paint(
        "narrow fluid", np.minimum(0.005 + np.clip(0.006 - 0.03 * inner, 0, 1) - fold, inner)
    )
    for tissue, rows in _DEEP:
        head.paint(tissue, _tube(np.abs(x), y, rows))
    head.paint("falx", np.minimum(0.006 - np.abs(x), np.minimum(inner, y - 0.26)))
    lesion = _tube(x, y, _LESION)
    for tissue, begin in (("edema", -0.035), ("lesion rim", 0.0), ("lesion core", 0.016)):
        head.paint(tissue, lesion - begin)


def _outline(angle: Image) -> Image:
    """Return the radius of the head; the angle is 0 at either side and pi / 2 at the back."""
    ellipse = 1 / np.hypot(np.cos(angle) / 0.66, np.sin(angle) / 0.81)
    # Wider behind than in front, and fuller between the axes than an ellipse.
    bulges = 0.025 * np.sin(angle) * np.cos(angle) ** 2 - 0.012 * np.cos(4 * angle)
    return np.asarray(ellipse * (1 + bulges))


def _scalp_thickness(angle: Image) -> Image:
    return 0.05 + 0.028 * _bump(angle, -0.35, 0.28)  # more at the temporal muscle


def _skull_thickness(angle: Image) -> Image:
    return 0.058 + 0.05 * _bump(angle, -np.pi / 2, 0.22) + 0.02 * _bump(angle, np.pi / 2, 0.2)


def _bump(angle: Image, center: float, width: float) -> Image:
    return np.asarray(np.exp(-0.5 * ((angle - center) / width) ** 2))


def _tube(x: Image, y: Image, rows: Rows) -> Image:
    """Return the signed depth inside the tube along `rows`, negative outside."""
    # A row of discs, twelve from one given point to the next, looks like a smooth tube.
    knots = np.linspace(0, len(rows) - 1, 12 * len(rows) - 11)
    along = (np.interp(knots, np.arange(len(rows)), column) for column in np.transpose(rows))
    depth = np.full(x.shape, -np.inf)
    for center_x, center_y, radius in zip(*along, strict=True):
        np.maximum(depth, radius - np.hypot(x - center_x, y - center_y), out=depth)
    return depth


def _draw_folds(rng: np.random.Generator) -> Image:
    """Draw the folds of the cortex as a cloud of points, shape (P, 2)."""
    curves = [*_draw_midline(-0.70, -0.30, rng), *_draw_midline(0.25, 0.70, rng)]
    for side in (-1, 1):
        centers = np.linspace(-1.38, 1.38, 17) + rng.uniform(-0.04, 0.04, 17)
        # Every other fold is a deep one, as sulci and the shallow folds between them are.
        parity = rng.integers(2)
        for number, center in enumerate(centers):
            curves += _draw_lateral_fold(center, number % 2 == parity, side, rng)
        for level in (-0.58, -0.47, -0.37, 0.36, 0.46, 0.56):
            curves.append(_draw_medial_fold(level, side, rng))
        curves += _draw_sylvian_fissure(side, rng)
    return np.concatenate(curves)


def _draw_midline(begin: float, end: float, rng: np.random.Generator) -> list[Image]:
    y = np.linspace(begin, end, 160)
    return [np.stack([0.006 * np.sin(9 * y + rng.uniform(0, 6)), y], axis=-1)]


def _draw_lateral_fold(
    center: float, deep: bool, side: int, rng: np.random.Generator
) -> list[Image]:
    """Draw a fold from the outer surface inward, often with a side branch if it is deep."""
    length = rng.uniform(0.15, 0.24) if deep else rng.uniform(0.07, 0.12)
    if -0.75 < center < 0.35:  # keep clear of the insula
        length = min(length, 0.09)
    length *= 1 - 0.35 * np.sin(center) ** 6  # shorter at front and back, where they converge
    t = np.linspace(0, 1, 80)
    turns = t * length / rng.uniform(0.14, 0.20) + rng.random()
    bend = rng.uniform(0.03, 0.08) * np.sin(2 * np.pi * turns) + rng.uniform(-0.12, 0.12)
    angle = center + bend * t
    surface = _outline(angle) - _scalp_thickness(angle) - _skull_thickness(angle)
    radius = surface - length * t
    curves = [_from_polar(radius, angle, side)]
    if length > 0.1 and rng.random() < 0.6:
        start, turn = rng.integers(35, 60), rng.choice([-1, 1]) * rng.uniform(0.05, 0.08)
        inward = rng.uniform(-0.03, 0.05) * t**2
        curves.append(
            _from_polar(radius[start] - inward, angle[start] + turn * t / radius[start], side)
        )
    return curves


def _from_polar(radius: Image, angle: Image, side: int) -> Image:
    return np.stack([side * radius * np.cos(angle), radius * np.sin(angle)], axis=-1)


def _draw_medial_fold(level: float, side: int, rng: np.random.Generator) -> Image:
    t = np.linspace(0, 1, 60)
    wave = 0.015 * np.sin(6 * t + rng.uniform(0, 6))
    y = level + rng.uniform(-0.03, 0.03) + rng.uniform(-0.06, 0.06) * t + wave
    return np.stack([side * rng.uniform(0.05, 0.13) * t, y], axis=-1)


def _draw_sylvian_fissure(side: int, rng: np.random.Generator) -> list[Image]:
    y = np.linspace(-0.21, 0.11, 100)
    insula = np.stack([side * (0.335 - 1.2 * (y + 0.05) ** 2), y], axis=-1)
    t = np.linspace(0, 1, 80)
    stem_y = -0.12 + 0.05 * t + 0.02 * t * np.sin(5 * t + rng.uniform(0, 6))
    return [insula, np.stack([side * (0.33 + 0.2 * t), stem_y], axis=-1)]
