"""The choice among coefficients."""

import numpy as np

from napari_dip_fusion.methods.selection import select_strongest


def test_the_strongest_keeps_its_sign_and_the_first_of_equal_ones_wins() -> None:
    coefficients = np.array([[1.0, -3.0, 2.0], [-2.0, 1.0, -2.0]])
    np.testing.assert_array_equal(select_strongest(coefficients), [-2, -3, 2])
