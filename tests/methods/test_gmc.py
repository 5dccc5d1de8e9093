"""The non-convex penalty against a plain transcription of its equations."""

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_dip_fusion.methods.gmc import ForwardBackward, gmc, l1
from napari_dip_fusion.sensor.gains import gain_maps

Doubles = NDArray[np.float64]

RNG = np.random.default_rng(7)
SOURCES = RNG.random((2, 16, 16)).astype(np.float32)


def haar_matrix(size: int) -> Doubles:
    """Orthonormal Haar transform of one axis, one level: means above differences."""
    pairs = np.kron(np.eye(size // 2), [[1, 1]])
    differences = np.kron(np.eye(size // 2), [[1, -1]])
    return np.vstack([pairs, differences]) / np.sqrt(2)


def analysis(image: Doubles) -> Doubles:
    """W of 4 levels by matrices; the order of coefficients is that of the library's layout."""
    theta, size = image.copy(), len(image)
    for _ in range(4):
        h = haar_matrix(size)
        theta[:size, :size] = h @ theta[:size, :size] @ h.T
        size //= 2
    return theta


def synthesis(theta: Doubles) -> Doubles:
    image, size = theta.copy(), len(theta) // 8
    for _ in range(4):
        h = haar_matrix(size)
        image[:size, :size] = h.T @ image[:size, :size] @ h
        size *= 2
    return image


def soft(values: Doubles, threshold: float) -> Doubles:
    return np.where(np.abs(values) > threshold, values - threshold * np.sign(values), 0)


def transcription(
    sources: NDArray[np.float32], gamma: float, penalty: float, rescale: bool, count: int
) -> list[tuple[Doubles, Doubles]]:
    """Every (theta, v) of the equations, written as they stand."""
    beta = gain_maps(sources, patch_size=2, window="block", scale="unit-norm").astype(float)
    mu = 1.9 / max(1, gamma / (1 - gamma))
    theta = v = np.zeros(sources.shape[1:])
    iterates = []
    for _ in range(count):
        x = synthesis(theta)
        residual = sum(b * (b * x - s) for b, s in zip(beta, sources.astype(float), strict=True))
        w = theta - mu * (analysis(residual) + gamma * (v - theta))
        u = v - mu * gamma * (v - theta)
        theta, v = soft(w, penalty * mu), soft(u, penalty * mu)
        if rescale:
            x = synthesis(theta)
            theta = analysis((x - x.min()) / (x.max() - x.min()))
        iterates.append((theta, v))
    return iterates


@pytest.mark.parametrize("rescale", [True, False])
@pytest.mark.parametrize(("gamma", "penalty"), [(0.8, 0.005), (0.4, 0.05), (0.0, 0.001)])
def test_each_iterate_is_that_of_the_equations(gamma: float, penalty: float, rescale: bool) -> None:
    iteration = ForwardBackward.start(SOURCES, gamma, penalty, rescale)
    for theta, v in transcription(SOURCES, gamma, penalty, rescale, 25):
        iteration.step()
        # Signs of coefficients are a convention; images and sizes of coefficients are not.
        np.testing.assert_allclose(iteration.image, synthesis(theta), atol=1e-10)
        np.testing.assert_allclose(np.abs(iteration.theta), np.abs(theta), atol=1e-10)
        np.testing.assert_allclose(np.abs(iteration.v), np.abs(v), atol=1e-10)


def test_without_gamma_it_is_the_l1_solution() -> None:
    np.testing.assert_array_equal(gmc(SOURCES, gamma=0, penalty=0.001), l1(SOURCES))
    # With gains of unit norm the L1 problem has a closed form: soft(W sum_i beta_i X_i, lambda).
    beta = gain_maps(SOURCES, patch_size=2, window="block", scale="unit-norm").astype(float)
    solution = synthesis(soft(analysis((beta * SOURCES).sum(axis=0)), 0.02))
    fused = gmc(SOURCES, gamma=0, penalty=0.02, iterations=300, rescale=False)
    np.testing.assert_allclose(fused, solution.clip(0, 1), atol=1e-6)


def test_non_convex_shrinks_large_coefficients_less() -> None:
    target = (gain_maps(SOURCES, patch_size=2, window="block", scale="unit-norm") * SOURCES).sum(0)
    runs = {}
    for gamma in (0.0, 0.8):
        run = ForwardBackward.start(SOURCES, gamma, 0.05, rescale=False)
        for _ in range(300):
            run.step()
        runs[gamma] = np.linalg.norm(run.image - target)
    assert runs[0.8] < 0.5 * runs[0.0]


def test_rescaled_images_fill_the_unit_range() -> None:
    fused = gmc(SOURCES)
    assert (fused.min(), fused.max()) == (0, 1)


def test_sizes_are_continued_by_reflection() -> None:
    padded = np.pad(SOURCES, ((0, 0), (0, 16), (0, 16)), mode="symmetric")
    np.testing.assert_array_equal(gmc(SOURCES[:, :11, :9]).shape, (11, 9))
    np.testing.assert_allclose(gmc(padded)[:16, :16], gmc(SOURCES), atol=1e-6)
