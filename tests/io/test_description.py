import json

import numpy as np
import pytest

from napari_dip_fusion.io import description
from napari_dip_fusion.sources import Source

PLACE = np.array([[2.0, 0, 0, 10], [0, 0.1, 0, 3e5], [0, 0, 0.1, -3e5], [0, 0, 0, 1]])


def describe(**fields):
    image = Source(np.zeros((2, 3, 4)), name="as written", **fields)
    return json.loads(json.dumps(description.describe(image)))


def restore(found, affine, units):
    """Return the place of an image of which the fields of a format say this."""
    image = Source(np.zeros((2, 3, 4)), affine=np.asarray(affine, float), units=units)
    return description.restore(image, found)


def change(row, column, value, affine=PLACE):
    changed = affine.copy()
    changed[row, column] = value
    return changed


@pytest.mark.parametrize(
    ("affine", "units"),
    [
        (PLACE, ("um",) * 3),
        (PLACE.astype(np.float32), ("um",) * 3),
        # The same lengths in another unit.
        (np.diag([1e-3, 1e-3, 1e-3, 1]) @ PLACE, ("mm",) * 3),
        # Nothing is said of z.
        (change(0, 0, 1, change(0, 3, 0)), ("pixel", "um", "um")),
    ],
)
def test_fields_that_say_the_same_or_nothing_are_restored(affine, units):
    back = restore(describe(affine=PLACE, units=("um",) * 3), affine, units)
    np.testing.assert_array_equal(back.affine, PLACE)
    assert (back.units, back.name) == (("um",) * 3, "as written")


@pytest.mark.parametrize(
    ("affine", "units"),
    [
        # A step of a third, beside a position of millions of pixels.
        (change(1, 1, 0.3), ("um",) * 3),
        (change(1, 1, 0.1001), ("um",) * 3),
        (change(1, 3, 3e5 + 1), ("um",) * 3),
        (change(0, 3, 10.01), ("um",) * 3),
        (PLACE, ("um", "um", "mm")),
        (PLACE, ("mm",) * 3),
    ],
)
def test_fields_that_another_program_changed_win(affine, units):
    back = restore(describe(affine=PLACE, units=("um",) * 3), affine, units)
    np.testing.assert_array_equal(back.affine, affine)
    assert (back.units, back.name) == (units, "as written")


@pytest.mark.parametrize(
    "wrong",
    [
        {"shape": [9, 9, 9]},
        {"affine": [[1, 0], [0, 1]]},
        {"affine": "none"},
        {"units": ["um"]},
        {"axes": ["x"]},
        {"axes": ["x", "x", "x"]},
        {"metadata": 3},
    ],
)
def test_damaged_descriptions_change_nothing(wrong):
    found = {**describe(affine=PLACE, units=("um",) * 3), **wrong}
    back = restore(found, np.eye(4), ("um",) * 3)
    np.testing.assert_array_equal(back.affine, np.eye(4))
    assert back.name == ""
