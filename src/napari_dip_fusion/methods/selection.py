"""Choose among the coefficients of several sources, as the wavelet and pyramid methods do."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def select_strongest(coefficients: NDArray[Any]) -> NDArray[Any]:
    """Return at each place the coefficient of largest absolute value.

    Parameters
    ----------
    coefficients : ndarray of shape (K, ...)

    Returns
    -------
    ndarray of shape (...)
        Where several are equally strong, that of the first source.
    """
    # The indices keep an axis of length 1, which take_along_axis needs.
    place = np.abs(coefficients).argmax(axis=0)[np.newaxis]
    chosen: NDArray[Any] = np.take_along_axis(coefficients, place, axis=0)[0]
    return chosen
