"""The rows of restoration.py: ways to bring a degraded source back, and what comes of each."""

from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np
from degraded import CONFIG, Scene, Sensor
from pairs import Floats, likeness

from napari_dip_fusion.fusion import Done, GainsReady, Preview, iter_fuse
from napari_dip_fusion.operators.degradation import Degradation
from napari_dip_fusion.sensor.denoising import denoise

Figures = dict[str, Any]
Denoiser = Callable[[Floats, float], Floats]
Restorer = Callable[[Floats, Degradation, float], Floats]
"""Takes own pixels, their operator and their noise, and returns the fine pixels."""

# Weights of total variation among which the truth chooses, for a white of 1, and the rounds after
# which the image no longer changes.
_WEIGHTS = np.geomspace(1e-5, 1e-2, 7)
_ROUNDS = 300


def plug_and_play(steps: int, denoiser: Denoiser) -> Restorer:
    """Split the data from the prior (DESIGN: half-quadratic splitting, strength .2 to .01)."""

    def restore(pixels: Floats, operator: Degradation, noise: float) -> Floats:
        image = operator.interpolate(pixels)
        for strength in np.geomspace(0.2, 0.01, steps):
            image = operator.solve(pixels, image, float((noise / strength) ** 2))
            image = denoiser(image, float(strength))
        return image

    return restore


def bm3d(image: Floats, sigma: float) -> Floats:
    import bm3d

    smooth = bm3d.bm3d(image.astype(np.float64), sigma_psd=sigma)
    return np.asarray(smooth, dtype=np.float32)


def total_variation(weight: float) -> Restorer:
    """Minimize ||A x - y||^2 / 2 + weight TV(x) by the primal-dual steps of Chambolle and Pock."""

    def restore(pixels: Floats, operator: Degradation, noise: float) -> Floats:
        image = ahead = operator.interpolate(pixels)
        dual = np.zeros((2, *image.shape), np.float32)
        # The product of both steps is below 1 / 8, one over the square of the gradient's norm. Of
        # dual ones from a tenth of the weight to a thousand times of it, this converged fastest.
        dual_step = 10 * weight
        step = 0.99 / 8 / dual_step
        for _ in range(_ROUNDS):
            dual += dual_step * _gradient(ahead)
            dual /= np.maximum(1, np.sqrt(np.square(dual).sum(axis=0)) / weight)
            before = image
            image = operator.solve(pixels, image + step * _divergence(dual), 1 / step)
            ahead = 2 * image - before
        return image

    return restore


def _gradient(image: Floats) -> Floats:
    slopes = np.zeros((2, *image.shape), np.float32)
    slopes[0, :-1] = np.diff(image, axis=0)
    slopes[1, :, :-1] = np.diff(image, axis=1)
    return slopes


def _divergence(slopes: Floats) -> Floats:
    """Return the negative adjoint of the gradient."""
    down, across = slopes.copy()
    down[1:] -= slopes[0, :-1]
    across[:, 1:] -= slopes[1, :, :-1]
    return down + across


def restored(scene: Scene, restore: Restorer) -> list[Floats]:
    """Return both sources on the reference, restored where a sensor took something."""

    def bring(number: int, sensor: Sensor, pixels: Floats) -> Floats:
        if sensor.is_perfect:
            return scene.on_reference(pixels, number)
        operator = sensor.operator(pixels.shape, wrong=scene.case.wrong)
        return scene.on_reference(restore(pixels, operator, sensor.told_noise).clip(0, 1), number)

    sources = zip(scene.sensors, scene.pixels, strict=True)
    return [bring(n, *source) for n, source in enumerate(sources)]


def score(scene: Scene, image: Floats) -> Figures:
    return likeness(image, scene.truth)


def by_interpolation(order: int, scene: Scene) -> Figures:
    """Fuse what other tools would: whatever was not seen is black to them."""
    images = [scene.on_reference(p, n, order) for n, p in enumerate(scene.pixels)]
    return score(scene, scene.fuse(images, masked=False))


def by_restorer(restore: Restorer, scene: Scene) -> Figures:
    return score(scene, scene.fuse(restored(scene, restore)))


def by_total_variation(scene: Scene) -> Figures:
    """Fuse after total variation of the weight that is best by the truth."""
    found = {w: by_restorer(total_variation(float(w)), scene) for w in _WEIGHTS}
    best = max(found, key=lambda w: found[w]["psnr"])
    return {**found[best], "weight": float(best)}


def by_program(changes: dict[str, Any], scene: Scene) -> Figures:
    """Fuse the sources as they are by the program itself."""
    start, first = perf_counter(), None
    for event in iter_fuse(scene.sources(), CONFIG.replace(**changes)):
        if first is None and isinstance(event, GainsReady | Preview):
            first = perf_counter() - start
        if isinstance(event, Done):
            result = event.result
    return {
        **score(scene, result.image),
        "difference": float(np.abs(result.image - scene.truth).max()),
        "first": first,
        "noise": [255 * s for s in result.noise],
        "iterations": len(result.losses),
    }


LINEAR, CUBIC, TOTAL_VARIATION = "linear", "cubic", "total variation"
SHORT, LONG, BM3D = "plug and play 8", "plug and play 24", "plug and play 24 of BM3D"
INTERPOLATED, QUICK, AUTO = "restore=never", "network=never", "auto"

ROWS: dict[str, Callable[[Scene], Figures]] = {
    LINEAR: partial(by_interpolation, 1),
    CUBIC: partial(by_interpolation, 3),
    INTERPOLATED: partial(by_program, {"restore": "never", "network": "never"}),
    TOTAL_VARIATION: by_total_variation,
    SHORT: partial(by_restorer, plug_and_play(8, denoise)),
    LONG: partial(by_restorer, plug_and_play(24, denoise)),
    BM3D: partial(by_restorer, plug_and_play(24, bm3d)),
    QUICK: partial(by_program, {"network": "never"}),
    AUTO: partial(by_program, {}),
}
"""What makes the figures of each row."""


def measure(row: str, scene: Scene) -> Figures:
    """Return the figures of one row, and the seconds that they took."""
    start = perf_counter()
    figures = ROWS[row](scene)
    return {**figures, "seconds": perf_counter() - start}
