"""Check that sources fit together, and stack them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float32]


def stack_sources(sources: Sequence[ArrayLike] | ArrayLike) -> NDArray[Any]:
    """Return sources as one array.

    Parameters
    ----------
    sources : array of shape (K, ..., M, N), or K arrays of shape (..., M, N)
        K >= 2 gray images of any real type, planes or volumes.

    Returns
    -------
    ndarray of shape (K, ..., M, N), float32

    Raises
    ------
    ValueError
        If the sources are fewer than two, have fewer than two axes, or differ in shape.
    """
    arrays = [np.asarray(s) for s in sources]  # type: ignore[union-attr]
    if len(arrays) < 2:
        raise ValueError(f"gains need two or more sources, got {len(arrays)}")
    for i, a in enumerate(arrays):
        if a.ndim < 2 or (a.ndim == 3 and a.shape[-1] in (3, 4)):
            raise ValueError(
                f"sources must be gray images of shape (M, N) or volumes, got {a.shape} for "
                f"source {i}; reduce color to luma with prepare_sources()"
            )
        if a.shape != arrays[0].shape:
            raise ValueError(
                f"sources must share one shape, got {arrays[0].shape} for source 0 and "
                f"{a.shape} for source {i}; resample them to one grid first"
            )
    if isinstance(sources, np.ndarray) and sources.dtype == np.float32:
        return sources
    return np.stack(arrays).astype(np.float32, copy=False)


def stack_with_gains(
    sources: Sequence[ArrayLike] | ArrayLike, gains: ArrayLike
) -> tuple[Floats, Floats]:
    """Return sources and their gains as arrays of float32, or raise ValueError if shapes differ."""
    x = stack_sources(sources)
    beta = np.asarray(gains, dtype=np.float32)
    if x.shape != beta.shape:
        raise ValueError(
            f"gains must have the shape of the sources, got {beta.shape} for {x.shape}"
        )
    return x, beta


def check_finite(stack: NDArray[Any]) -> None:
    """Raise ValueError, naming the source, if one of a stack has NaN or infinite values."""
    for i, s in enumerate(stack):
        if not np.isfinite(s).all():
            raise ValueError(
                f"source {i} has NaN or infinite values; replace them first, for example with "
                "numpy.nan_to_num"
            )
