"""The scores of the planes of a volume or a series: their mean, and their forms in files."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

PlaneScores: TypeAlias = dict[str, NDArray[np.float64]]
"""Of each metric by name the values of all planes, NaN where it can say nothing: an array over
the axes before rows and columns, of shape () for a single plane."""


def average_planes(scores: Mapping[str, NDArray[np.float64]]) -> dict[str, float]:
    """Return the mean of each metric over the planes of which it says something.

    Parameters
    ----------
    scores : mapping of str to ndarray
        From :func:`.evaluate_planes`.

    Returns
    -------
    dict of str to float
        NaN for a metric that says nothing of any plane.
    """
    counted = {name: values[~np.isnan(values)] for name, values in scores.items()}
    return {n: float(values.mean()) if values.size else np.nan for n, values in counted.items()}


def count_planes(scores: Mapping[str, NDArray[np.float64]]) -> int:
    """Return the number of planes of which at least one metric says something."""
    counted = [~np.isnan(values) for values in scores.values()]
    return int(np.logical_or.reduce(counted).sum()) if counted else 0


def describe_mean(scores: Mapping[str, NDArray[np.float64]]) -> str:
    """Return what a mean over planes is of, for headings of tables.

    Parameters
    ----------
    scores : mapping of str to ndarray
        From :func:`.evaluate_planes`.

    Returns
    -------
    str
        Such as ``"mean over 128 planes"``, or ``"mean over 120 of 128 planes"`` where some are
        left out by all metrics; empty for a single plane.
    """
    if not scores or not next(iter(scores.values())).ndim:
        return ""
    used, every = count_planes(scores), next(iter(scores.values())).size
    number = f"{used}" if used == every else f"{used} of {every}"
    return f"mean over {number} plane{'' if every == 1 else 's'}"


def list_planes(scores: Mapping[str, NDArray[np.float64]]) -> dict[str, list[Any]]:
    """Return the scores of planes as JSON can hold them.

    Parameters
    ----------
    scores : mapping of str to ndarray
        From :func:`.evaluate_planes`.

    Returns
    -------
    dict of str to list
        Nested as the axes are, with None for NaN, which JSON lacks; empty for a single plane.
    """
    return {n: _hide_nan(values).tolist() for n, values in scores.items() if values.ndim}


def read_planes(lists: Mapping[str, Sequence[Any]]) -> PlaneScores:
    """Return the scores of planes from what :func:`list_planes` made of them."""
    return {name: np.array(values, dtype=np.float64) for name, values in lists.items()}


def tabulate_planes(
    scores: Mapping[str, NDArray[np.float64]], axes: Sequence[str]
) -> list[dict[str, Any]]:
    """Return the scores of planes as rows of a table.

    Parameters
    ----------
    scores : mapping of str to ndarray
        From :func:`.evaluate_planes`.
    axes : sequence of str
        Names of the axes before rows and columns, such as ``["t", "z"]``.

    Returns
    -------
    list of dict
        Of each plane its index on each axis, then the value of each metric, None for NaN; the
        keys are those of a :class:`csv.DictWriter`, which leaves None empty.

    Raises
    ------
    ValueError
        If there are not as many names as axes.

    Examples
    --------
    >>> tabulate_planes({"petrovic": np.array([0.5, np.nan])}, ["z"])
    [{'z': 0, 'petrovic': 0.5}, {'z': 1, 'petrovic': None}]
    """
    shape = next(iter(scores.values())).shape if scores else ()
    if len(axes) != len(shape):
        raise ValueError(
            f"{len(shape)} axes of planes need as many names, got {', '.join(axes) or 'none'}"
        )
    values = {name: _hide_nan(array) for name, array in scores.items()}
    return [
        {**dict(zip(axes, index, strict=True)), **{name: v[index] for name, v in values.items()}}
        for index in np.ndindex(shape)
    ]


def _hide_nan(values: NDArray[np.float64]) -> NDArray[Any]:
    """Return an array of Python's floats, with None in place of NaN."""
    plain = values.astype(object)
    plain[np.isnan(values)] = None
    return plain
