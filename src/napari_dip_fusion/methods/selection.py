"""The choice among the coefficients of several sources."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def strongest(coefficients: NDArray[Any]) -> NDArray[Any]:
    """Return at each place the coefficient of largest absolute value.

    Parameters
    ----------
    coefficients : ndarray of shape (K, ...)

    Returns
    -------
    ndarray of shape (...)
        Of equal ones, that of the first source.
    """
    place = np.abs(coefficients).argmax(axis=0)[np.newaxis]
    chosen: NDArray[Any] = np.take_along_axis(coefficients, place, axis=0)[0]
    return chosen
