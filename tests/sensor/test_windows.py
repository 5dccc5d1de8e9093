"""Means over windows, beside those of SciPy."""

import numpy as np
import pytest
from scipy import ndimage

from napari_dip_fusion.sensor.windows import (
    average,
    average_blocks,
    blur,
    blur_whole,
    measure_reach,
)

RNG = np.random.default_rng(1)
# Thinner than a window, shorter than a block, not a multiple of one, several blocks; a volume.
SHAPES = [(2, 1, 300), (2, 7, 5), (1, 130, 64), (3, 65, 200), (1, 333), (2, 9, 66, 70)]
PRECISIONS = [(np.float32, 1e-6), (np.float64, 1e-14)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("dtype", "error"), PRECISIONS)
def test_windows_are_those_of_scipy(shape, dtype, error) -> None:
    stack = RNG.random(shape).astype(dtype)
    exact = stack.astype(np.float64)
    for sigma in (0.1, 0.4, 1, 4):
        expected = [ndimage.gaussian_filter(image, sigma) for image in exact]
        np.testing.assert_allclose(blur(stack, sigma), expected, rtol=0, atol=error)
    for size in (1, 3, 9):
        expected = [ndimage.uniform_filter(image, size) for image in exact]
        np.testing.assert_allclose(average(stack, size), expected, rtol=0, atol=error)
    assert blur(stack, 1).dtype == average(stack, 3).dtype == dtype


def test_parts_of_larger_images_are_taken_as_they_are() -> None:
    whole = RNG.random((3, 150, 170), dtype=np.float32)
    part = whole[::2, 10:140, 5:150]
    np.testing.assert_array_equal(blur(part, 2), blur(part.copy(), 2))


def test_a_gaussian_reaches_as_far_as_it_says() -> None:
    point = np.zeros((1, 41), dtype=np.float32)
    point[0, 20] = 1
    reached = np.flatnonzero(blur(point, 1.7)[0])
    assert (reached[0], reached[-1]) == (20 - measure_reach(1.7), 20 + measure_reach(1.7))


@pytest.mark.parametrize("shape", [(2, 8, 12), (1, 9, 14), (2, 5, 6, 7)])
def test_blocks_have_their_mean(shape) -> None:
    stack = RNG.random(shape)
    means = average_blocks(stack, 4)
    for place in np.ndindex(*(-(-n // 4) for n in shape[1:])):
        block = (slice(None), *(slice(4 * n, 4 * n + 4) for n in place))
        axes = tuple(range(1, len(shape)))
        expected = stack[block].mean(axis=axes, keepdims=True) + np.zeros_like(stack[block])
        np.testing.assert_allclose(means[block], expected, rtol=1e-12)


def test_no_product_is_put_on_threads_of_the_library(monkeypatch) -> None:
    sizes, multiply = [], np.matmul

    def record(left, right, out):
        sizes.append(left.shape[-2] * left.shape[-1] * right.shape[-1])
        return multiply(left, right, out=out)

    monkeypatch.setattr(np, "matmul", record)
    blur(RNG.random((1, 300, 2000), dtype=np.float32), 4)
    # OpenBLAS begins with threads above 4 * 65536 multiplications.
    assert max(sizes) <= 4 * 65536
    assert np.median(sizes) > 65536


def test_windows_are_as_wide_in_the_world_along_planes_that_lie_apart() -> None:
    stack = RNG.random((2, 9, 20, 30))
    expected = [ndimage.gaussian_filter(image, (4 / 1.6, 4, 4)) for image in stack]
    np.testing.assert_allclose(blur(stack, 4, (1.6, 1, 1)), expected, atol=1e-14)
    expected = [ndimage.uniform_filter(image, (3, 5, 5)) for image in stack]
    np.testing.assert_allclose(average(stack, 5, (2, 1, 1)), expected, atol=1e-14)
    pairs = stack[:, :8].reshape(2, 4, 2, 5, 4, 30)[..., :28].reshape(2, 4, 2, 5, 4, 7, 4)
    expected = pairs.mean(axis=(2, 4, 6))
    found = average_blocks(stack[:, :8, :, :28], 4, (2, 1, 1))
    np.testing.assert_allclose(found[:, ::2, ::4, ::4], expected, atol=1e-14)


@pytest.mark.parametrize("step", [5.0, np.inf])
def test_thick_slices_have_windows_of_their_own(step: float) -> None:
    stack = RNG.random((2, 4, 20, 30))
    planes = [[ndimage.gaussian_filter(plane, 2) for plane in image] for image in stack]
    np.testing.assert_allclose(blur(stack, 2, (step, 1, 1)), planes, atol=1e-14)
    np.testing.assert_array_equal(average(stack, 5, (step, 1, 1))[:, 1], average(stack[:, 1], 5))
    assert measure_reach(2, step) == 0


@pytest.mark.parametrize("shape", [(2, 40, 150), (2, 1, 3), (1, 9, 66, 70)])
def test_a_whole_stack_is_blurred_as_its_parts_are(shape) -> None:
    stack = RNG.random(shape).astype(np.float32)
    np.testing.assert_allclose(blur_whole(stack, 3), blur(stack, 3), atol=1e-6)
    np.testing.assert_array_equal(blur_whole(list(stack), 3), blur_whole(stack, 3))
