"""The coordinate transformations of OME-Zarr as one matrix."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.errors import ImageFileError

__all__ = ["Transforms"]

Matrix = NDArray[np.float64]

# Sequences of version 0.6 may hold each other.
_DEEPEST = 8


@dataclass
class Transforms:
    """Turns lists of transformations into matrices, and notes what was made up in doing so.

    Parameters
    ----------
    path : Path
        The image, for messages.
    axes : sequence of str
        Names of its axes in the order of its arrays.
    made_up : list of str
        A phrase for each number that stood in place of one that means nothing.
    """

    path: Path
    axes: Sequence[str]
    made_up: list[str] = field(default_factory=list)

    def combine(self, steps: Any, *, depth: int = 0) -> Matrix:
        """Return the matrix of transformations that follow each other.

        Parameters
        ----------
        steps : list of dict or None
            The attribute "coordinateTransformations".
        depth : int
            How many sequences the list stands in.

        Returns
        -------
        ndarray of shape (D + 1, D + 1)
            From homogeneous coordinates to such.

        Raises
        ------
        ImageFileError
            If one is of a kind that is no matrix, or keeps its numbers in another file.
        """
        matrix = np.eye(len(self.axes) + 1)
        for step in steps or []:
            matrix = self._read(step, depth) @ matrix
        return matrix

    def _read(self, step: Mapping[str, Any], depth: int) -> Matrix:
        """Return the matrix of one transformation."""
        kind = step.get("type")
        if kind == "sequence" and depth < _DEEPEST:
            return self.combine(step.get("transformations"), depth=depth + 1)
        matrix = np.eye(len(self.axes) + 1)
        if kind == "identity":
            return matrix
        if kind not in ("scale", "translation", "rotation", "affine"):
            raise ImageFileError(
                f"{self.path} is placed by a transformation of the type {kind!r}, which is not "
                "read; write it with scale and translation"
            )
        numbers = step.get(kind)
        if numbers is None and "path" in step:
            raise ImageFileError(
                f"{self.path} keeps the {kind} of its place in an array of its own "
                f"({step['path']!r}), which is not read; write the numbers into the attributes"
            )
        values = np.asarray(numbers, dtype=np.float64)
        self._check(kind, values.shape)
        if kind == "scale":
            matrix[:-1, :-1] = np.diag(self._repair(kind, values, 1.0))
        elif kind == "translation":
            matrix[:-1, -1] = self._repair(kind, values, 0.0)
        else:
            matrix[:-1, : values.shape[1]] = values
            if not (np.isfinite(values).all() and np.linalg.det(matrix)):
                raise ImageFileError(
                    f"{self.path} is placed by a matrix that cannot be inverted; correct its "
                    f"{kind}, or use scale and translation"
                )
        return matrix

    def _check(self, kind: str, shape: tuple[int, ...]) -> None:
        """Refuse numbers that are not as many as the axes need."""
        ndim = len(self.axes)
        expected = {"rotation": (ndim, ndim), "affine": (ndim, ndim + 1)}.get(kind, (ndim,))
        if shape != expected:
            raise ImageFileError(
                f"{self.path} needs a {kind} of shape {expected} for its axes "
                f"{', '.join(self.axes)}, got {shape}; it is damaged"
            )

    def _repair(self, kind: str, values: Matrix, neutral: float) -> Matrix:
        """Return numbers in which those that mean nothing are neutral."""
        meaningless = ~np.isfinite(values) | ((values == 0) & (kind == "scale"))
        for n in np.flatnonzero(meaningless).tolist():
            self.made_up.append(
                f"the {kind} of axis {self.axes[n]} is {values[n]:g}, {neutral:g} is taken"
            )
        return np.where(meaningless, neutral, values)
