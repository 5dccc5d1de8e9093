"""The axes of an OME-Zarr image: their names and units in every version, and their order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.sources.units import abbreviate_unit

__all__ = ["Axis", "find_coordinate_system", "list_axes", "sort_axes"]

# Version 0.1 and 0.2 have these five, and say nothing of them.
_FIRST_AXES = ("t", "c", "z", "y", "x")
_FIRST_VERSIONS = ("", "0.1", "0.2")
_CHANNEL_NAMES = ("c", "ch", "channel", "channels")
_TIME_NAMES = ("t", "time")
# Other axes keep their order between the channels and z.
_RANKS = {"t": 0, "c": 1, "z": 3, "y": 4, "x": 5}
_OTHER_RANK = 2


@dataclass(frozen=True)
class Axis:
    """An axis as sources call it.

    Attributes
    ----------
    name : str
        ``"c"`` for channels and ``"t"`` for time, whatever the file calls them.
    unit : str
        From :func:`~napari_dip_fusion.sources.units.abbreviate_unit`.
    """

    name: str
    unit: str


def list_axes(path: Path, scales: Mapping[str, Any], version: str, ndim: int) -> list[Axis]:
    """Return the axes of an image.

    Parameters
    ----------
    path : Path
        The image, for messages.
    scales : mapping
        Its entry of the attribute "multiscales".
    version : str
        Version of OME-Zarr, empty where none is named.
    ndim : int
        Number of axes of its arrays.

    Returns
    -------
    list of Axis
        In the order of the arrays.

    Raises
    ------
    ImageFileError
        If there are none, not as many, or two of one name.
    """
    declared = scales.get("axes") or find_coordinate_system(scales).get("axes") or []
    # Only since version 0.3 is an image of other axes than these five.
    if not declared and version in _FIRST_VERSIONS and ndim == len(_FIRST_AXES):
        declared = list(_FIRST_AXES)
    if not declared:
        raise ImageFileError(
            f"{path} names no axes of its {ndim}, and only version 0.1 and 0.2, which have five, "
            "need none; add them to its attributes"
        )
    if len(declared) != ndim:
        raise ImageFileError(f"{path} names {len(declared)} axes of {ndim}; it is damaged")
    axes: list[Axis] = []
    for number, axis in enumerate(declared):
        axes.append(_read_axis(axis, number, [known.name for known in axes]))
    names = [axis.name for axis in axes]
    if len(set(names)) < ndim:
        raise ImageFileError(f"{path} has two axes of one name ({', '.join(names)}); rename one")
    return axes


def find_coordinate_system(scales: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the coordinate system of version 0.6 that the resolutions lie in, empty before."""
    systems: Sequence[Mapping[str, Any]] = scales.get("coordinateSystems") or []
    first = (scales["datasets"][0].get("coordinateTransformations") or [{}])[0]
    output = first.get("output")
    wanted = output.get("name") if isinstance(output, Mapping) else output
    return next((s for s in systems if s.get("name") == wanted), systems[0] if systems else {})


def sort_axes(axes: Sequence[Axis]) -> list[int]:
    """Return the order in which axes are those of sources: time, channels, others, z, y, x.

    Sources meet axis by axis, so that an image with x before y has to be turned. Where one
    of y and x is called otherwise nobody knows, and the order stays.
    """
    names = [axis.name for axis in axes]
    numbers = list(range(len(axes)))
    if not {"y", "x"} <= set(names):
        return numbers
    return sorted(numbers, key=lambda n: _RANKS.get(names[n], _OTHER_RANK))


def _read_axis(axis: Any, number: int, known: Sequence[str]) -> Axis:
    """Return an axis; version 0.3 has names alone, and every part of it may be null."""
    fields: Mapping[str, Any] = axis if isinstance(axis, Mapping) else {"name": axis}
    name, kind = str(fields.get("name") or f"axis {number}"), fields.get("type")
    folded = name.lower()
    if kind == "channel" or (kind is None and folded in _CHANNEL_NAMES):
        name = "c" if "c" not in known else name
    elif kind == "time" or (kind is None and folded in _TIME_NAMES):
        name = "t" if "t" not in known else name
    elif folded in _RANKS:
        name = folded
    return Axis(name, abbreviate_unit(fields.get("unit")))
