"""What a sensor does to an image, its adjoint, and its inverse as far as the data tell."""

from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from napari_dip_fusion.operators import degradation
from napari_dip_fusion.operators.degradation import Degradation

CASES = {
    "coarse": ((12, 9), (4, 4), (1.7, 1.7)),
    "thick": ((5, 24), (6, 1), (0.0, 0.0)),
    "volume": ((4, 2, 5), (2, 3, 1), (1.0, 0.0, 0.7)),
    "blurred": ((14, 11), (1, 1), (2.0, 1.0)),
    "wider than the image": ((3, 1), (2, 4), (9.0, 9.0)),
}
EXTRAS = ("", "mask", "kernel", "mask and kernel")


def random(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def build(case: str, extra: str = "") -> Degradation:
    shape, factors, sigmas = CASES[case]
    kernel = random((5, 3, 7)[: len(shape)]) if "kernel" in extra else None
    seen = random(shape, 1) < 0.7 if "mask" in extra else None
    return Degradation(shape, factors, sigmas, kernel, seen)


def take_means(image: np.ndarray, factors: tuple[int, ...]) -> np.ndarray:
    """Return the means of the blocks of an image."""
    for axis, factor in enumerate(factors):
        ends = image.shape[:axis], image.shape[axis + 1 :]
        image = image.reshape(*ends[0], -1, factor, *ends[1]).mean(axis + 1)
    return image


@pytest.mark.parametrize("case", CASES)
def test_a_source_sees_block_means_of_the_blurred_image(case: str) -> None:
    operator = build(case)
    image = random(operator.fine_shape)
    blurred = ndimage.gaussian_filter(image.astype(float), operator.sigmas, mode="mirror")
    seen = operator.apply(image)
    assert seen.dtype == np.float32
    np.testing.assert_allclose(seen, take_means(blurred, operator.factors), atol=1e-6)


def test_a_kernel_is_what_a_point_looks_like() -> None:
    kernel = random((3, 5))
    operator = Degradation((8, 9), (1, 1), (0, 0), kernel)
    point = np.zeros((8, 9), dtype=np.float32)
    point[4, 4] = 1
    np.testing.assert_allclose(operator.apply(point)[3:6, 2:7], kernel / kernel.sum(), atol=1e-6)
    # At the border it meets the mirror image.
    image = random((8, 9))
    expected = ndimage.convolve(image, kernel / kernel.sum(), mode="mirror")
    np.testing.assert_allclose(operator.apply(image), expected, atol=1e-6)


def test_a_mask_leaves_out_what_was_not_seen() -> None:
    operator = build("coarse", "mask")
    whole = build("coarse")
    image = random(operator.fine_shape)
    assert operator.seen is not None
    expected = np.where(operator.seen, whole.apply(image), 0)
    np.testing.assert_array_equal(operator.apply(image), expected)


@pytest.mark.parametrize("extra", EXTRAS)
@pytest.mark.parametrize("case", CASES)
def test_the_adjoint_is_exact(case: str, extra: str) -> None:
    operator = build(case, extra)
    image, pixels = random(operator.fine_shape), random(operator.shape, 2)
    there = np.vdot(operator.apply(image).astype(float), pixels)
    back = np.vdot(image.astype(float), operator.adjoint(pixels))
    assert there == pytest.approx(back, rel=1e-5)


@pytest.mark.parametrize("extra", EXTRAS)
@pytest.mark.parametrize("case", ["volume", "blurred"])
def test_solve_is_the_least_squares_solution(case: str, extra: str) -> None:
    operator = build(case, extra)
    image, pixels = random(operator.fine_shape), random(operator.shape, 2)
    units = np.eye(image.size, dtype=np.float32).reshape(-1, *image.shape)
    matrix = np.stack([operator.apply(unit).ravel() for unit in units], axis=1).astype(float)
    known = pixels if operator.seen is None else np.where(operator.seen, pixels, 0)
    normal = matrix.T @ matrix + 0.1 * np.eye(image.size)
    right = matrix.T @ known.ravel() + 0.1 * image.ravel()
    expected = np.linalg.solve(normal, right).reshape(image.shape)
    np.testing.assert_allclose(operator.solve(pixels, image, 0.1), expected, atol=5e-5)


def test_conjugate_gradients_agree_with_the_closed_form(monkeypatch: pytest.MonkeyPatch) -> None:
    operator = build("coarse")
    image, pixels = random(operator.fine_shape), random(operator.shape, 2)
    expected = operator.solve(pixels, image, 0.01)
    monkeypatch.setattr(degradation, "_LONGEST", 8)
    found = operator.solve(pixels, image, 0.01)
    assert not np.array_equal(found, expected)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_what_was_not_seen_has_no_say() -> None:
    operator = build("coarse", "mask")
    assert operator.seen is not None
    image, pixels = random(operator.fine_shape), random(operator.shape, 2)
    other = np.where(operator.seen, pixels, 7)
    for restore in (lambda p: operator.solve(p, image, 0.01), operator.interpolate):
        np.testing.assert_array_equal(restore(pixels), restore(other))


def test_matrices_and_decompositions_are_those_of_the_operator() -> None:
    operator = build("volume")
    image = random(operator.fine_shape)
    seen = np.einsum("az,by,cx,zyx->abc", *operator.matrices, image, optimize=True)
    np.testing.assert_allclose(seen, operator.apply(image), atol=1e-6)
    for matrix, (vectors, values) in zip(operator.matrices, operator.decompositions, strict=True):
        assert matrix.dtype == vectors.dtype == values.dtype == np.float32
        np.testing.assert_allclose((vectors * values) @ vectors.T, matrix @ matrix.T, atol=1e-6)


def test_pixels_are_interpolated_at_the_centers_of_fine_pixels() -> None:
    # Straight lines stay straight away from the border.
    pixels = np.add.outer(np.arange(20.0), 3 * np.arange(20.0)).astype(np.float32)
    fine = Degradation((20, 20), (4, 2), (0, 0)).interpolate(pixels)
    rows, columns = (np.arange(80) + 0.5) / 4 - 0.5, (np.arange(40) + 0.5) / 2 - 0.5
    expected = np.add.outer(rows, 3 * columns)
    np.testing.assert_allclose(fine[28:52, 14:26], expected[28:52, 14:26], atol=2e-2)


def test_identity_gives_back_what_it_got() -> None:
    image = random((6, 7))
    # A Gaussian so narrow has no weight beside its middle.
    operator = Degradation((6, 7), (1, 1), (0, 0.1), seen=np.ones((6, 7), dtype=bool))
    assert operator.is_identity
    for same in (operator.apply, operator.adjoint, operator.interpolate):
        np.testing.assert_array_equal(same(image), image)
    np.testing.assert_allclose(operator.solve(image, image, 0.1), image, atol=1e-7)
    assert not any(build(case).is_identity for case in CASES)
    seen = np.arange(7) < np.full((6, 1), 5)
    assert not Degradation((6, 7), (1, 1), (0, 0), seen=seen).is_identity


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sigmas": (1, -1)}, r"sigmas must be finite and 0 or more.*\(1, -1\)"),
        ({"sigmas": (1, np.nan)}, "sigmas must be finite"),
        ({"factors": (0, 1)}, r"factors must be whole numbers from 1, got \(0, 1\)"),
        ({"factors": (1.5, 1)}, "factors must be whole numbers"),
        ({"factors": (1, 1, 1)}, "one entry an axis"),
        ({"shape": (4, 0)}, "at least one pixel"),
        ({"seen": np.ones((5, 4), dtype=bool)}, r"seen must have shape \(4, 5\), got \(5, 4\)"),
        ({"seen": np.zeros((4, 5), dtype=bool)}, "at least one pixel, got none"),
        ({"kernel": np.ones((3, 4))}, r"odd sizes.*\(3, 4\)"),
        ({"kernel": np.ones(3)}, "2 axes of odd sizes"),
        ({"kernel": np.full((3, 3), np.nan)}, "finite with a sum above 0, got the sum nan"),
        ({"kernel": np.zeros((3, 3))}, "sum above 0"),
    ],
)
def test_impossible_operators_are_refused(changes: dict[str, Any], message: str) -> None:
    arguments = {"shape": (4, 5), "factors": (2, 1), "sigmas": (1.0, 0.0)} | changes
    with pytest.raises(ValueError, match=message):
        Degradation(**arguments)


def test_arrays_of_other_shapes_are_refused() -> None:
    operator = build("coarse")
    with pytest.raises(ValueError, match=r"image must have shape \(48, 36\), got \(12, 9\)"):
        operator.apply(random(operator.shape))
    with pytest.raises(ValueError, match=r"pixels must have shape \(12, 9\), got \(48, 36\)"):
        operator.adjoint(random(operator.fine_shape))
    with pytest.raises(ValueError, match="ratio must be above 0, got 0"):
        operator.solve(random(operator.shape), random(operator.fine_shape), 0)
