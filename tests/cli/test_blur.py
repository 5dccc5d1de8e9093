"""The option --fwhm: what it means, for which image, and what is refused."""

import numpy as np
import pytest

from napari_dip_fusion.cli.blur import parse_blur
from napari_dip_fusion.sources import Source

VOLUME = Source(
    np.zeros((8, 20, 30), np.uint8), axes="zyx", units=("mm",) * 3, affine=np.diag([5.0, 2, 2, 1])
)
PICTURE = Source(np.zeros((20, 30), np.uint8))
SERIES = Source(
    np.zeros((4, 8, 20, 30), np.uint8), units=("s", "um", "um", "um"), affine=np.eye(5) / 2
)


@pytest.mark.parametrize(
    ("text", "image", "expected"),
    [
        ("4.5mm", VOLUME, (4.5, 4.5, 4.5)),
        (".45 cm", VOLUME, (4.5, 4.5, 4.5)),
        ("6,2,2mm", VOLUME, (6, 2, 2)),
        ("6mm,1px,1px", VOLUME, (6, 2, 2)),
        ("3px", VOLUME, (15, 6, 6)),
        ("0", VOLUME, (0, 0, 0)),
        ("0,0,2mm", VOLUME, (0, 0, 2)),
        ("3px", PICTURE, (3, 3)),
        ("0", PICTURE, (0, 0)),
        ("350nm", SERIES, (0, 0.35, 0.35, 0.35)),
        ("1,.3,.3µm", SERIES, (0, 1, 0.3, 0.3)),
        ("1e-3mm", SERIES, (0, 1, 1, 1)),
    ],
)
def test_widths_are_those_of_the_axes_of_space(text: str, image: Source, expected) -> None:
    assert parse_blur(text).measure(image, "a.nii") == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("-1mm", "must be 0 or more, got '-1mm'"),
        ("1e999mm", "must be 0 or more"),
        ("4.5", "needs a unit, as in 4.5mm, 350nm, 3px.*got '4.5'"),
        ("4.5furlong", "needs a unit of length.*or px, got 'furlong' in '4.5furlong'"),
        ("3ms", "needs a unit of length.*got 'ms'"),
        ("wide", "takes a width as in 4.5mm"),
        ("nanmm", "takes a width as in"),
        ("4.5mm,", "takes a width as in"),
        ("", "takes a width as in"),
    ],
)
def test_what_is_no_width(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"--fwhm {message}"):
        parse_blur(text)


@pytest.mark.parametrize(
    ("text", "image", "message"),
    [
        ("4.5mm", PICTURE, "4.5mm does not fit a.nii, which is measured in pixels.*as in 3px"),
        ("2,2mm", VOLUME, r"one for each of the 3 axes of space of a.nii \(z y x\), got 2"),
    ],
)
def test_a_width_that_does_not_fit_an_image(text: str, image: Source, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_blur(text).measure(image, "a.nii")
