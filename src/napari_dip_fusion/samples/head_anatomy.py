"""The anatomy behind the head phantoms: what CT, MR and PET show at points of one head.

Lengths are in half fields of view (120 mm), x to the side, y to the back and z to the top. The
slice of the plane phantoms is the one at z = 0, through the lateral ventricles.
"""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from napari_dip_fusion.samples.head_folds import (
    draw_folds,
    find_outline,
    find_scalp_thickness,
    find_skull_thickness,
)

__all__ = ["CT", "MR", "PET", "TRUTH", "HeadAnatomy", "shade"]

Image: TypeAlias = npt.NDArray[np.float64]
Rows: TypeAlias = tuple[tuple[float, float, float], ...]

CT, MR, TRUTH, PET = range(4)
"""Numbers of the images that :meth:`HeadAnatomy.draw` returns; the truth is that of CT and MR."""

# Gray levels of each tissue in CT, in a window from fat to bone, in T1-weighted MR after contrast
# agent, and in PET, whose tracer is glucose; then the source that shows the tissue in the truth.
_TISSUES: dict[str, tuple[float, float, float, int]] = {
    "skin": (0.20, 0.42, 0.05, MR),
    "fat": (0.05, 0.80, 0.03, MR),
    "muscle": (0.33, 0.34, 0.09, MR),
    "bone": (1.0, 0.05, 0.03, CT),
    "marrow": (0.90, 0.14, 0.06, CT),
    "calcium": (0.92, 0.30, 0.05, CT),
    "air": (0.0, 0.02, 0.00, CT),
    "fluid": (0.22, 0.10, 0.05, MR),
    "narrow fluid": (0.33, 0.13, 0.08, MR),  # partial volume hides most of it from CT
    "gray matter": (0.395, 0.42, 0.72, MR),
    "gray nucleus": (0.40, 0.48, 0.84, MR),
    "white matter": (0.365, 0.66, 0.19, MR),
    "falx": (0.47, 0.30, 0.12, MR),
    "vessel": (0.40, 0.95, 0.22, MR),
    "edema": (0.365, 0.50, 0.13, MR),
    "lesion rim": (0.365, 0.93, 0.95, MR),
    "lesion core": (0.365, 0.22, 0.10, MR),
}
# Standard deviation of the brain's texture in CT, MR, truth and PET.
_TEXTURE = np.array([0.006, 0.018, 0.018, 0.018])[:, None]

# Tubes as rows of (x, y, radius) in the right half at the height 0; the left half mirrors them. The
# number before the rows says how fast a tube gets thinner above and below: a vessel hardly does.
_DEEP: tuple[tuple[str, float, Rows], ...] = (
    ("gray nucleus", 0.3, ((0.10, -0.11, 0.022), (0.16, -0.21, 0.034))),  # caudate
    ("gray nucleus", 0.5, ((0.055, 0.01, 0.030), (0.085, 0.08, 0.062))),  # thalamus
    ("gray nucleus", 0.3, ((0.20, -0.17, 0.030), (0.235, -0.09, 0.042), (0.24, 0.02, 0.018))),
    (
        "fluid",
        0.15,
        ((0.02, -0.02, 0.013), (0.04, -0.1, 0.027), (0.08, -0.18, 0.031), (0.12, -0.25, 0.016)),
    ),
    (
        "fluid",
        0.15,
        ((0.13, 0.12, 0.016), (0.175, 0.19, 0.034), (0.195, 0.26, 0.032), (0.18, 0.35, 0.012)),
    ),
    ("fluid", 0.12, ((0.0, -0.01, 0.010), (0.0, 0.10, 0.012))),  # third ventricle
    ("calcium", 0.25, ((0.170, 0.215, 0.010), (0.185, 0.245, 0.014))),  # choroid plexus
    ("calcium", 0.3, ((0.0, 0.155, 0.010), (0.0, 0.165, 0.012))),  # pineal gland
    ("vessel", 0.03, ((0.36, -0.10, 0.010),)),  # middle cerebral artery
    ("vessel", 0.03, ((0.40, -0.09, 0.010),)),
    ("vessel", 0.03, ((0.335, -0.02, 0.010),)),
    ("vessel", 0.03, ((0.012, -0.33, 0.010),)),  # anterior cerebral artery
)
_SINUS: Rows = ((0.0, 0.652, 0.020), (0.0, 0.615, 0.006))  # superior sagittal sinus
_FRONTAL_SINUS: Rows = ((0.025, -0.72, 0.018), (0.08, -0.705, 0.016))
_LESION: Rows = ((-0.27, 0.19, 0.040), (-0.26, 0.21, 0.040))
# What only PET shows: how fast it gets thinner above and below, how wide its edge is, and by what
# it multiplies the uptake.
_CHANGES: tuple[tuple[float, float, float, Rows], ...] = (
    (0.6, 0.0, 4.2, ((-0.195, -0.37, 0.032), (-0.18, -0.355, 0.032))),  # a hot spot of 8 mm
    (0.3, 0.06, 0.4, ((0.44, 0.25, 0.12), (0.36, 0.36, 0.11))),  # cortex that takes up little
)
# Height of the head above its widest slice, 86 mm.
_TOP = 0.72
# How far outside a tube its signed depth is known: the edema round the lesion begins there.
_REACH = 0.04
# Nothing that depends on the distance to a fold changes further away from it.
_FOLD_REACH = 0.031


class HeadAnatomy:
    """One head, whose anatomy is drawn from a random generator.

    Parameters
    ----------
    rng : numpy.random.Generator
        Where asymmetry and folds come from.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._phase = rng.uniform(0, 2 * np.pi, 2)
        self._folds = cKDTree(draw_folds(rng))

    def draw(self, x: Image, y: Image, z: Image, *, texture: Image, pixel: float) -> Image:
        """Return CT, MR, truth and PET at points of the head.

        Parameters
        ----------
        x, y, z : ndarray of one shape
            The points.
        texture : ndarray of the same shape
            Texture of the brain, of mean 0 and standard deviation 1.
        pixel : float
            Length over which a pixel averages: the width of what shows two tissues.

        Returns
        -------
        ndarray of shape (4, ...)
            Gray levels, mostly from 0 to 1.
        """
        canvas = _Canvas(x.ravel(), y.ravel(), z.ravel(), pixel)
        inner = _paint_skull(canvas)
        self._paint_brain(canvas, inner, texture.ravel())
        # What lies at the skull follows it, as it gets narrower towards the top.
        x, y = np.abs(canvas.x) / canvas.width, canvas.y / canvas.width
        canvas.paint("vessel", canvas.measure_tube(x, y, 0.02, _SINUS))
        canvas.paint("air", canvas.measure_tube(x, y, 0.1, _FRONTAL_SINUS))
        return canvas.images.reshape(-1, *texture.shape)

    def _paint_brain(self, canvas: "_Canvas", inner: Image, texture: Image) -> None:
        """Paint what lies under the skull's inner table, where `inner` is positive."""
        x, y = self._place_in_slice(canvas)
        fold = self._measure_folds(canvas, x, y, inner)
        brain = inner - 0.012
        canvas.paint("narrow fluid", inner)
        canvas.paint("gray matter", brain)
        canvas.paint("white matter", np.minimum(fold - 0.008, brain) - 0.023)
        canvas.images += _TEXTURE * np.clip(brain / 0.02, 0, 1) * texture
        # Folds are widest at the surface of the brain.
        opening = 0.005 + np.clip(0.006 - 0.03 * inner, 0, 1)
        canvas.paint("narrow fluid", np.minimum(opening - fold, inner))
        for tissue, taper, rows in _DEEP:
            canvas.paint(tissue, canvas.measure_tube(np.abs(x), y, taper, rows))
        canvas.paint("falx", np.minimum(0.006 - np.abs(x), np.minimum(inner, y - 0.26)))
        lesion = canvas.measure_tube(x, y, 0.6, _LESION)
        for tissue, begin in (("edema", -0.035), ("lesion rim", 0.0), ("lesion core", 0.016)):
            canvas.paint(tissue, lesion - begin)
        for taper, edge, factor, rows in _CHANGES:
            share = canvas.find_share(canvas.measure_tube(x, y, taper, rows), edge)
            canvas.images[PET] *= 1 + (factor - 1) * share

    def _place_in_slice(self, canvas: "_Canvas") -> tuple[Image, Image]:
        """Return where points lie in the slice at z = 0, whose anatomy leans and bends with z."""
        x, y = canvas.x / canvas.width, canvas.y / canvas.width + 0.2 * canvas.z
        # No brain is symmetric.
        bend = self._phase[:, None] + 4 * canvas.z
        return x + 0.010 * np.sin(5 * y + bend[0]), y + 0.010 * np.sin(5 * x + bend[1])

    def _measure_folds(self, canvas: "_Canvas", x: Image, y: Image, inner: Image) -> Image:
        """Return the distance to the next fold; infinity where it does not matter."""
        reach = _FOLD_REACH + canvas.pixel
        distance = np.full(x.shape, np.inf)
        brain = np.flatnonzero(inner > -canvas.pixel)
        points = np.stack([x[brain], y[brain]], axis=-1)
        # Distances in the slice are longer than those at other heights.
        bound = reach / canvas.width.min()
        distance[brain] = self._folds.query(points, distance_upper_bound=bound)[0]
        return distance * canvas.width


def shade(mr: Image, x: Image, y: Image, bias: float) -> Image:
    """Return an MR image as a coil records it that is more sensitive on one side.

    Parameters
    ----------
    mr : ndarray
        Gray levels at points.
    x, y : ndarray
        The points, in half fields of view.
    bias : float
        Relative amplitude.
    """
    return mr * (1 + bias * (0.8 * x - 0.9 * y))


class _Canvas:
    """CT, MR, truth and PET at points of the head, which are painted tissue by tissue."""

    def __init__(self, x: Image, y: Image, z: Image, pixel: float) -> None:
        self.x, self.y, self.z, self.pixel = x, y, z, pixel
        # The head is as wide at a height as an ellipsoid is.
        self.width = np.sqrt(np.clip(1 - (z / _TOP) ** 2, 0.06, None))
        self.images = np.zeros((4, x.size))

    def paint(self, tissue: str, depth: Image) -> None:
        """Paint a tissue where the signed depth under its surface is positive."""
        ct, mr, pet, shown = _TISSUES[tissue]
        values = np.array([ct, mr, (ct, mr)[shown], pet])[:, None]
        share = self.find_share(depth)
        inside = np.flatnonzero(share)
        if inside.size:
            below = self.images[:, inside]
            self.images[:, inside] = below + share[inside] * (values - below)

    def find_share(self, depth: Image, edge: float = 0.0) -> Image:
        """Return how much of each pixel lies under a surface, whose edge may have a width."""
        # A pixel that the surface runs through shows both tissues: partial volume, without jagged
        # edges.
        return np.clip(0.5 + depth / (self.pixel + edge), 0, 1)

    def measure_tube(self, x: Image, y: Image, taper: float, rows: Rows) -> Image:
        """Return the signed depth inside the tube along `rows`, negative outside.

        The points are given in the slice at z = 0; `taper` is as of the tables of tubes.
        """
        *middle, radii = np.transpose(rows)
        depth = np.full(x.shape, -np.inf)
        # Everything but a small part lies outside.
        reach = radii.max() + _REACH + self.pixel
        near = np.abs(taper * self.z) < reach
        for along, places in zip((x, y), middle, strict=True):
            near &= (along > places.min() - reach) & (along < places.max() + reach)
        close = np.flatnonzero(near)
        # A row of discs, twelve from one given point to the next, looks like a smooth tube.
        knots = np.linspace(0, len(rows) - 1, 12 * len(rows) - 11)
        discs = (np.interp(knots, np.arange(len(rows)), column) for column in (*middle, radii))
        inside = np.full(close.shape, -np.inf)
        x, y, height = x[close], y[close], taper * self.z[close]
        for center_x, center_y, radius in zip(*discs, strict=True):
            distance = np.hypot(np.hypot(x - center_x, y - center_y), height)
            np.maximum(inside, radius - distance, out=inside)
        depth[close] = inside
        return depth


def _paint_skull(canvas: _Canvas) -> Image:
    """Paint scalp and skull, and return the signed depth under the skull's inner table."""
    across = np.hypot(canvas.x, canvas.y)
    angle = np.arctan2(canvas.y, np.abs(canvas.x))
    # Of the line from the head's center to a point; 0 in the slice at z = 0.
    rise = np.arctan2(canvas.z, across)
    level = np.cos(rise)
    radius = 1 / np.hypot(level / find_outline(angle), np.sin(rise) / _TOP)
    depth = radius - np.hypot(across, canvas.z)
    for tissue, begin in (("skin", 0.0), ("fat", 0.018), ("muscle", 0.05)):
        canvas.paint(tissue, depth - begin)
    # At the top all sides meet, and neither muscle nor thick bone is on one of them alone.
    thickness = find_skull_thickness(angle, level)
    inner = depth - find_scalp_thickness(angle, level) - thickness
    # Two tables of compact bone with marrow between them.
    canvas.paint("bone", inner + thickness)
    canvas.paint("marrow", np.minimum(inner + 0.65 * thickness, -0.35 * thickness - inner))
    return np.asarray(inner)
