"""Intensity windows, color and bad input."""

import numpy as np
import pytest

from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.color import LUMA
from napari_dip_fusion.sources.prepare import prepare_sources, scale_to_unit_range

RNG = np.random.default_rng(0)
GRAY = RNG.integers(0, 256, (12, 17), dtype=np.uint8)
COLOR = RNG.integers(0, 256, (12, 17, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "dtype", ["uint8", "int16", "uint16", "uint32", "int64", "float16", "float64"]
)
def test_auto_window_and_the_way_back(dtype: str) -> None:
    array = (GRAY.astype(np.int64) * 3 - 100 if dtype != "uint8" else GRAY).clip(
        0 if dtype.startswith("u") else -100, None
    )
    array = array.astype(dtype)
    before = array.copy()
    prepared = prepare_sources([array, array[::-1]])
    assert prepared.images.dtype == np.float32
    expected = (0, 255) if dtype == "uint8" else (array.min(), array.max())
    assert prepared.windows[0] == expected
    assert prepared.images.min() >= 0
    assert prepared.images.max() <= 1
    back = prepared.rescale(prepared.images[0], like=0)
    assert back.dtype == array.dtype
    np.testing.assert_allclose(back.astype(float), array.astype(float), atol=1e-4)
    np.testing.assert_array_equal(array, before)


def test_ct_numbers_with_a_window_and_dtype_ranges() -> None:
    ct = np.array([[-1000, 0], [40, 3000]], dtype=np.int16)
    prepared = prepare_sources([ct, ct], intensity=((-160, 240), "dtype"))
    np.testing.assert_allclose(prepared.images[0], [[0, 0.4], [0.5, 1]], atol=1e-6)
    assert prepared.windows[1] == (-32768, 32767)
    np.testing.assert_array_equal(
        prepared.rescale(prepared.images[0], like=0), [[-160, 0], [40, 240]]
    )
    assert prepared.rescale(np.ones((1, 1)), like=0, dtype="float32")[0, 0] == 240


def test_integers_at_the_end_of_their_range_do_not_wrap() -> None:
    big = np.array([[0, np.iinfo(np.uint64).max]], dtype=np.uint64)
    prepared = prepare_sources([big, big])
    back = prepared.rescale(prepared.images[0], like=0)
    assert back[0, 1] > np.iinfo(np.uint64).max * 0.99


def test_percentiles_clip() -> None:
    ramp = np.linspace(0, 100, 10_000).reshape(100, 100)
    prepared = prepare_sources([ramp, ramp], intensity="percentiles", percentiles=(10, 90))
    np.testing.assert_allclose(prepared.windows[0], (10, 90), atol=1e-6)
    assert (prepared.images[0] == 0).mean() == pytest.approx(0.1, abs=0.01)


def test_color_keeps_its_chroma_and_takes_the_new_luma() -> None:
    prepared = prepare_sources([COLOR, GRAY])
    rgb = COLOR.astype(np.float32) / 255
    np.testing.assert_allclose(prepared.images[0], rgb @ LUMA, atol=1e-6)
    np.testing.assert_allclose(prepared.add_color(prepared.images[0]), rgb, atol=1e-5)
    bright = prepared.add_color(prepared.images[1])
    assert bright.shape == (12, 17, 3)
    np.testing.assert_allclose(bright @ LUMA, prepared.images[1], atol=1e-5)


def test_two_colored_sources_weigh_chroma_by_distance_from_gray() -> None:
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 200
    pale = np.full((8, 8, 3), 100, np.uint8)
    one, both = prepare_sources([red, pale[..., 0]]), prepare_sources([red, pale])
    assert one.chroma is not None
    assert both.chroma is not None
    np.testing.assert_allclose(one.chroma, both.chroma, atol=1e-6)


def test_alpha_is_ignored_and_gray_stays_gray() -> None:
    rgba = np.dstack([COLOR, np.zeros((12, 17), np.uint8)])
    np.testing.assert_array_equal(
        prepare_sources([rgba, GRAY]).images, prepare_sources([COLOR, GRAY]).images
    )
    gray = prepare_sources([GRAY, GRAY])
    assert gray.chroma is None
    assert gray.add_color(gray.images[0]) is not None
    assert gray.add_color(gray.images[0]).ndim == 2


def with_nan() -> np.ndarray:
    image = np.ones((4, 4))
    image[0, :2] = [np.nan, np.inf]
    return image


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ([GRAY], "two or more sources, got 1"),
        ([GRAY, GRAY[:, :-1]], r"share one shape, got \(12, 17\) for source 0 and \(12, 16\)"),
        ([GRAY, GRAY > 3], "source 1 must hold integers or floats, got bool"),
        ([GRAY, GRAY.astype(complex)], "got complex128"),
        ([np.zeros((5, 12, 17)), GRAY], r"got \(5, 12, 17\) for source 0 and"),
        ([np.zeros((0, 4)), np.zeros((0, 4))], "source 0 is empty"),
        ([np.eye(4), with_nan()], "source 1 has 2 NaN or infinite values of 16"),
        ([np.full((4, 4), 3.0), np.eye(4)], r"source 0 is constant \(3\)"),
    ],
)
def test_bad_sources_are_refused(sources: list[np.ndarray], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        prepare_sources(sources)


def test_an_error_names_its_source() -> None:
    holes = Source(with_nan(), name="MR (T1)")
    with pytest.raises(ValueError, match=r"^MR \(T1\) has 2 NaN or infinite values"):
        prepare_sources([Source(np.eye(4), name="CT"), holes])
    with pytest.raises(ValueError, match=r"^mr.png is constant \(3\)"):
        prepare_sources([np.eye(4), np.full((4, 4), 3.0)], names=["ct.png", "mr.png"])
    with pytest.raises(ValueError, match=r"got \(12, 17\) for a and \(12, 16\) for c"):
        prepare_sources([GRAY, GRAY, GRAY[:, :-1]], names="abc")
    with pytest.raises(ValueError, match=r"^MR is constant \(3\)"):
        scale_to_unit_range(np.full((4, 4), 3.0), name="MR")


def test_percentiles_that_meet_are_told_from_a_constant_image() -> None:
    spot = np.zeros((40, 40))
    spot[3, 3] = 1
    with pytest.raises(ValueError, match=r"source 0 has its percentiles at one value \(0\)"):
        prepare_sources([spot, spot], intensity="percentiles")


def test_constant_images_work_where_the_window_is_known() -> None:
    black = np.zeros((4, 4), np.uint8)
    assert not prepare_sources([black, black]).images.any()
    flat = np.full((4, 4), 3.0)
    prepared = prepare_sources([flat, flat], intensity=((0, 6), (0, 3)))
    assert prepared.images[0, 0, 0] == 0.5


def test_one_entry_a_source_is_needed() -> None:
    with pytest.raises(ValueError, match="one entry for each of the 2 sources, got 1"):
        prepare_sources([GRAY, GRAY], intensity=("auto",))
    with pytest.raises(ValueError, match="like must be a source from 0 to 1, got 2"):
        prepare_sources([GRAY, GRAY]).rescale(np.eye(3), like=2)


def test_planes_at_different_places_are_refused() -> None:
    plane = Source(np.eye(9, dtype=np.uint8), name="CT")
    moved = plane.replace(affine=np.diag([2.0, 1.0, 1.0]), name="MR")
    with pytest.raises(ValueError, match="MR and CT lie at different places"):
        prepare_sources([plane, moved])
    with pytest.raises(ValueError, match="lie at different places or in different units"):
        prepare_sources([plane, plane.replace(units=("mm", "mm"))])
