import numpy as np
import pytest

from napari_dip_fusion.sensor import leading
from napari_dip_fusion.sensor.leading import find_leading

RNG = np.random.default_rng(0)


def draw_moments(values: list[float], shape: tuple[int, ...]) -> np.ndarray:
    """Return matrices with these eigenvalues, in random directions, shape (K, K, *shape)."""
    count = len(values)
    directions, _ = np.linalg.qr(RNG.standard_normal((*shape, count, count)))
    matrices = directions * np.array(values) @ np.swapaxes(directions, -2, -1)
    return np.moveaxis(matrices, (-2, -1), (0, 1))


def find_by_eigh(moments: np.ndarray) -> np.ndarray:
    vectors = np.linalg.eigh(np.moveaxis(moments, (0, 1), (-2, -1)).astype(float))[1]
    vector = np.abs(np.moveaxis(vectors[..., -1], -1, 0))
    return vector / vector.max(axis=0)


@pytest.mark.parametrize(
    "values",
    [[5, 1], [5, 1, 0], [2, 1.9, 1.8], [3, 2.97, 0, 0], [9, 3, 2, 1, 0, 0, 0, 0]],
)
@pytest.mark.parametrize(("kind", "tolerance"), [(np.float64, 1e-13), (np.float32, 3e-5)])
def test_it_is_the_eigenvector_of_the_largest_eigenvalue(
    values: list[float], kind: type, tolerance: float
) -> None:
    moments = draw_moments(values, (40, 50)).astype(kind)
    found = find_leading(moments, 1e-12)
    assert found.dtype == kind
    np.testing.assert_allclose(found, find_by_eigh(moments), atol=tolerance)


@pytest.mark.parametrize("shape", [(), (7,), (3, 4, 5)])
def test_images_may_have_any_axes(shape: tuple[int, ...]) -> None:
    moments = draw_moments([4, 1, 0.5], shape)
    np.testing.assert_allclose(find_leading(moments, 1e-12), find_by_eigh(moments), atol=1e-13)


def test_a_source_that_hardly_shows_keeps_its_gain() -> None:
    gains = np.array([0, 1e-5, 0.5, 1e-9, 1])
    moments = (gains[:, None] * gains)[..., None]
    np.testing.assert_allclose(find_leading(moments, 1e-12)[:, 0], gains, rtol=1e-12)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_a_plane_of_leading_directions_counts_as_a_whole(kind: type) -> None:
    first, second = np.array([1, 0, 0]), np.array([0, 0.6, 0.8])
    moments = 2 * (np.outer(first, first) + np.outer(second, second))
    found = find_leading(moments.astype(kind)[..., None], 1e-12)[:, 0]
    np.testing.assert_allclose(found, [1, 0.6, 0.8], atol=1e-6)


@pytest.mark.parametrize("count", [2, 3])
def test_rounding_has_no_direction(count: int) -> None:
    moments = np.zeros((count, count, 2))
    moments[0, 0] = 1e-13, 2
    found = find_leading(moments, 1e-12)
    np.testing.assert_array_equal(found[:, 0], 1)
    np.testing.assert_array_equal(found[1:, 1], 0)
    np.testing.assert_array_equal(find_leading(moments[..., :1], 1e-12), 1)


def test_parts_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    # Pixels of which some need many more rounds than others.
    moments = np.concatenate(
        [draw_moments([2, low, 0.1], (60,)) for low in (0.1, 1.9, 1.9999)], axis=-1
    )
    moments = moments[..., RNG.permutation(180)]
    whole = find_leading(moments, 1e-12)
    np.testing.assert_allclose(whole, find_by_eigh(moments), atol=1e-11)
    monkeypatch.setattr(leading, "_PIXELS", 7)
    np.testing.assert_allclose(find_leading(moments, 1e-12), whole, atol=1e-11)


def test_moments_are_left_as_they_are() -> None:
    moments = draw_moments([4, 1, 0.5], (9,))
    before = moments.copy()
    find_leading(moments, 1e-12)
    np.testing.assert_array_equal(moments, before)
