"""What goes into the metrics: types, ranges, and what is refused."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from napari_dip_fusion.metrics import evaluate
from napari_dip_fusion.metrics.gray_levels import quantize


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "int64", "float32", "float64"])
def test_dtype_changes_nothing(dtype, images):
    sources, fused = images
    given = evaluate(sources.astype(dtype), fused.astype(dtype), data_range=255, which="all")
    assert given == evaluate(sources, fused, which="all")


@pytest.mark.parametrize(
    ("dtype", "white"), [("uint16", 65535), ("uint32", 2**32 - 1), ("float16", 1), ("bool", 1)]
)
def test_data_range_of_a_dtype(dtype, white, make):
    images = (make(3)[0] > 100) * np.array(white, dtype)
    images = images.astype(dtype)
    in_uint8 = (images > 0).astype(np.uint8) * 255
    assert evaluate(images[:2], images[2]) == evaluate(in_uint8[:2], in_uint8[2])


def test_floats_of_two_widths_go_together(images):
    sources, fused = images
    assert evaluate(sources / 255, (fused / 255).astype(np.float32)) == evaluate(sources, fused)


def test_values_outside_the_range_are_clipped(images):
    sources, fused = images
    wild = fused / 255 + np.where(fused == 0, -1, 0) + np.where(fused == fused.max(), 1, 0)
    clipped = np.clip(wild, 0, 1)
    assert evaluate(sources / 255, wild, data_range=1) == evaluate(sources / 255, clipped)


def test_input_is_left_as_it_was(images):
    sources, fused = images
    sources, fused = sources / 255, fused / 255
    before = sources.copy(), fused.copy()
    evaluate(sources, fused, which="all")
    assert_allclose(sources, before[0], rtol=0)
    assert_allclose(fused, before[1], rtol=0)


@pytest.mark.parametrize(
    ("sources", "fused", "data_range", "message"),
    [
        ([np.zeros((9, 9))], np.zeros((9, 9)), None, "at least 2 sources, got 1"),
        ([np.zeros((9, 9)), np.zeros((9, 8))], np.zeros((9, 9)), None, r"\(9, 8\) and \(9, 9\)"),
        ([np.zeros((9, 9, 3))] * 2, np.zeros((9, 9, 3)), None, r"gray .* got shape \(9, 9, 3\)"),
        (np.zeros((2, 9, 9), "u1"), np.zeros((9, 9)), None, "float64 and uint8; pass data_range"),
        (np.zeros((2, 9, 9), "i2"), np.zeros((9, 9), "i2"), None, "int16; pass data_range"),
        (np.zeros((2, 9, 9), "u2"), np.zeros((9, 9), "u1"), None, "pass data_range"),
        (np.zeros((2, 9, 9)), np.full((9, 9), 255.0), None, r"in \[0, 1\], got 0 to 255; rescale"),
        (np.zeros((2, 9, 9)), np.full((9, 9), np.nan), 1, "finite values, got NaN"),
        (np.full((2, 9, 9), np.inf), np.zeros((9, 9)), 1, "finite values, got NaN or infinity"),
        (np.zeros((2, 9, 9)), np.zeros((9, 9), complex), 1, "real numbers, got dtype complex128"),
        (np.zeros((2, 9, 9)), np.zeros((9, 9)), 0, "positive and finite, got 0"),
        (np.zeros((2, 9, 9)), np.zeros((9, 9)), float("nan"), "positive and finite, got nan"),
    ],
)
def test_bad_input_is_refused(sources, fused, data_range, message):
    with pytest.raises(ValueError, match=message):
        evaluate(sources, fused, data_range=data_range)


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("petrovic", 3),
        ("piella", 8),
        ("cvejic", 4),
        ("ssim", 11),
        ("mutual_information", 1),
        ("vif", 41),
        ("standard_deviation", 1),
        ("average_gradient", 2),
        ("spatial_frequency", 1),
    ],
)
def test_too_small_images_are_refused(name, side, functions):
    enough, short = np.zeros((3, side, side + 1)), np.zeros((3, side - 1, 60))
    assert np.isfinite(functions[name](enough[:2], enough[2]))
    with pytest.raises(ValueError, match=f"at least {side}x{side} pixels .* got {side - 1}x60"):
        functions[name](short[:2], short[2])


def test_gray_levels_are_multiples_of_a_quantum_and_read_only(images):
    sources, fused = images
    stack = quantize(sources / 255, fused / 255, None)
    assert_array_equal(stack, np.concatenate([sources, fused[None]]))
    fine = quantize(np.full((2, 5, 5), 0.1), np.full((5, 5), 1 / 3), None) * 2**15
    assert_array_equal(fine, np.rint(fine))
    assert not stack.flags.writeable
