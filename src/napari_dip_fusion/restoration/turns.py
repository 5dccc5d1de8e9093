"""Flips and turns of planes, and their way back."""

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Turn:
    """A flip or turn of planes: the axes are exchanged, then each may be flipped.

    Attributes
    ----------
    exchanged, rows, columns : bool
        Whether the two axes are exchanged, and whether each is flipped after that.
    """

    exchanged: bool = False
    rows: bool = False
    columns: bool = False

    def apply(self, planes: Floats) -> Floats:
        """Return a view of planes, shape (..., M, N), turned."""
        return self._flip(planes.swapaxes(-2, -1) if self.exchanged else planes)

    def undo(self, planes: Floats) -> Floats:
        """Return a view of turned planes as they were."""
        planes = self._flip(planes)
        return planes.swapaxes(-2, -1) if self.exchanged else planes

    def _flip(self, planes: Floats) -> Floats:
        return planes[..., :: -1 if self.rows else 1, :: -1 if self.columns else 1]


def list_turns(kernel: Floats | None, *, exchangeable: bool) -> tuple[Turn, ...]:
    """Return the turns that leave a blur as it is; the first is none at all.

    Parameters
    ----------
    kernel : ndarray of shape (M, N) or None
        A measured blur.
    exchangeable : bool
        Whether all else is the same along both axes of a plane.
    """
    choices = (False, True)
    turns = (Turn(*flags) for flags in product(choices[: 1 + exchangeable], choices, choices))
    return tuple(turn for turn in turns if kernel is None or _keeps(turn, kernel))


def _keeps(turn: Turn, kernel: Floats) -> bool:
    turned = turn.apply(kernel)
    # Measured kernels are symmetric but for the noise of their measurement.
    tolerance = 0.02 * float(kernel.max())
    return turned.shape == kernel.shape and np.allclose(turned, kernel, rtol=0, atol=tolerance)
