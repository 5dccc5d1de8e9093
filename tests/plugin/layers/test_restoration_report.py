"""The lines that say what is restored and why, before any pixel is read."""

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_dip_fusion.plugin.layers.acquisition import Acquisition
from napari_dip_fusion.plugin.layers.layer_report import check_layers

RNG = np.random.default_rng(6)


def noise(*shape):
    return RNG.random(shape).astype(np.float32)


def show(shape, steps, *, fine=(32, 40), units="mm"):
    """Return a viewer with an MR of steps of 1, and a PET."""
    viewer = ViewerModel()
    viewer.add_image(noise(*fine), name="MR", units=units)
    middle = (np.array(steps) - 1) / 2
    viewer.add_image(noise(*shape), name="PET", scale=steps, translate=middle, units=units)
    return viewer


def check(viewer, fwhm=(0.0, 0.0), **arguments):
    taken = [Acquisition(width) for width in fwhm]
    return check_layers(list(viewer.layers), None, viewer.dims, acquisitions=taken, **arguments)


@pytest.mark.parametrize(
    ("shape", "steps", "fwhm", "line"),
    [
        ((8, 10), (4, 4), 0.0, "its pixels are 4 times those of MR"),
        ((16, 10), (2, 4), 0.0, "its pixels are 2 x 4 times those of MR"),
        ((8, 10), (4, 4), 6.0, "its pixels are 4 times those of MR and its blur is 6 mm wide"),
        ((32, 40), (1, 1), 3.0, "its blur is 3 mm wide"),
        ((32, 40), (1, 1), (5.0, 3.0), "its blur is 5 x 3 mm wide"),
    ],
)
def test_a_source_is_restored_for_its_pixels_and_its_blur(shape, steps, fwhm, line):
    viewer = show(shape, steps)
    report = check(viewer, (0.0, fwhm))
    assert report.restored == (f"PET is restored: {line}",)
    assert report.ok
    assert report.warnings == ()
    # Where nothing is left to interpolate, there is no choice of how to.
    assert not report.is_interpolated
    never = check(viewer, (0.0, fwhm), restore="never")
    assert never.restored == (f"PET is not restored, as set: {line}",)
    assert never.is_interpolated == bool(never.resampled)
    # As of methods that know no sensors.
    assert check(viewer, (0.0, fwhm), restore="").restored == ()


def test_what_is_as_fine_as_the_reference_is_not_restored():
    viewer = show((32, 40), (1, 1))
    assert check(viewer).restored == ()
    # Pixels a little larger are interpolated, and nothing is lost.
    viewer.layers["PET"].scale = (1.2, 1.2)
    report = check(viewer)
    assert report.restored == ()
    assert report.is_interpolated
    assert check(viewer, restore="always").restored == (
        "PET is restored: its pixels are 1.2 times those of MR",
    )


def test_thick_slices_of_a_volume_are_restored():
    viewer = show((3, 16, 16), (4, 1, 1), fine=(12, 16, 16))
    report = check(viewer, whole=True)
    assert report.restored == ("PET is restored: its pixels are 4 x 1 x 1 times those of MR",)
    # In the plane that is shown they are as fine.
    assert check(viewer).restored == ()


def test_widths_are_said_in_short_units():
    viewer = show((8, 10), (4, 4), units="um")
    assert check(viewer, (0.0, 6.0)).restored[0].endswith("its blur is 6 um wide")
