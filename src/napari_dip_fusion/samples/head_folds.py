"""The surfaces of the head phantoms, scalp and skull, and the folds of their cortex.

Lengths are in half fields of view (120 mm), x to the side and y to the back. Angles are 0 at either
side of the head and pi / 2 at its back.
"""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["draw_folds", "find_outline", "find_scalp_thickness", "find_skull_thickness"]

Image: TypeAlias = npt.NDArray[np.float64]


def find_outline(angle: Image) -> Image:
    """Return the radius of the head at its widest height."""
    ellipse = 1 / np.hypot(np.cos(angle) / 0.66, np.sin(angle) / 0.81)
    # Wider behind than in front, and fuller between the axes than an ellipse.
    bulges = 0.025 * np.sin(angle) * np.cos(angle) ** 2 - 0.012 * np.cos(4 * angle)
    return np.asarray(ellipse * (1 + bulges))


def find_scalp_thickness(angle: Image, level: Image | float = 1.0) -> Image:
    """Return the thickness of what covers the skull.

    `level` is 1 at the widest height of the head and 0 at its top, where all sides meet.
    """
    return 0.05 + level * 0.028 * _bump(angle, -0.35, 0.28)  # more at the temporal muscle


def find_skull_thickness(angle: Image, level: Image | float = 1.0) -> Image:
    """Return the thickness of the skull; `level` is as of :func:`find_scalp_thickness`."""
    front, back = _bump(angle, -np.pi / 2, 0.22), _bump(angle, np.pi / 2, 0.2)
    return 0.058 + level * 0.05 * front + level * 0.02 * back


def _bump(angle: Image, center: float, width: float) -> Image:
    return np.asarray(np.exp(-0.5 * ((angle - center) / width) ** 2))


def draw_folds(rng: np.random.Generator) -> Image:
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
    surface = find_outline(angle) - find_scalp_thickness(angle) - find_skull_thickness(angle)
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
