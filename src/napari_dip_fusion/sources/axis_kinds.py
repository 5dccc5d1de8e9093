"""What an axis counts, by its name and its unit."""

from collections.abc import Sequence

from napari_dip_fusion.sources.units import LENGTHS, TIMES

__all__ = ["find_flat", "find_kind"]


def find_flat(axes: Sequence[str]) -> list[int]:
    """Return which of several named axes those of a plane are: y and x, or else the last two."""
    flat = {"y", "x"} if {"y", "x"} <= set(axes) else set(axes[-2:])
    return [number for number, name in enumerate(axes) if name in flat]


def find_kind(name: str, unit: str) -> str | None:
    """Return what an axis counts: ``"space"``, ``"time"``, or its own name.

    Parameters
    ----------
    name, unit : str
        Of the axis; the name may be empty.

    Returns
    -------
    str or None
        None where nothing says it.
    """
    if name in ("z", "y", "x") or unit in LENGTHS:
        return "space"
    if name == "t" or unit in TIMES:
        return "time"
    return name or None
