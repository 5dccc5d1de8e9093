"""What a Zarr folder is: an image, several of them, a plate of wells, or one bare array."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io.formats import find_packer
from napari_dip_fusion.io.zarr.arrays import load_json
from napari_dip_fusion.io.zarr.levels import check_inner

__all__ = ["list_images", "load_attributes", "require_folder"]


def require_folder(path: Path) -> None:
    """Raise an error for a file in place of a folder.

    Raises
    ------
    ImageFileError
        It says what to do.
    """
    if path.is_dir():
        return
    with path.open("rb") as file:
        packer = find_packer(file.read(6))
    if packer:
        raise ImageFileError(
            f"{path} is packed by {packer}; unpack it and open the folder that comes out"
        )
    raise ImageFileError(f"{path} is a file, and an OME-Zarr is a folder; name the folder")


def load_attributes(path: Path, root: Path) -> dict[str, Any]:
    """Return the attributes of a group in or at `root`, with those of OME beside the others.

    Parameters
    ----------
    path : Path
        Folder of the group.
    root : Path
        The OME-Zarr folder, out of which no link may lead.

    Returns
    -------
    dict
        The attributes; ``"version"`` is that of OME, where it stands beside them.

    Raises
    ------
    ImageFileError
        If there are none.
    """
    # Version 0.5 keeps the attributes of OME under a key of their own, 0.4 does not.
    if (path / "zarr.json").is_file():
        attributes = dict(load_json(path / "zarr.json", root).get("attributes") or {})
        return {**attributes, **dict(attributes.get("ome") or {})}
    if (path / ".zattrs").is_file():
        return load_json(path / ".zattrs", root)
    # A group of Zarr 2 needs no attributes.
    if (path / ".zgroup").is_file():
        return {}
    raise ImageFileError(f"{path} holds neither zarr.json nor .zattrs; it is no OME-Zarr")


def list_images(path: Path, attributes: Mapping[str, Any]) -> list[tuple[Path, dict[str, Any]]]:
    """Return the images of a group, each with its attributes.

    Parameters
    ----------
    path : Path
        The OME-Zarr folder.
    attributes : mapping
        Its attributes.

    Returns
    -------
    list of (Path, dict)
        The folder itself, the series of a converted file, or the fields of a well. One
        that is listed but missing is named in a warning.

    Raises
    ------
    ImageFileError
        If there is none, or a plate of which an image has to be chosen.
    """
    if attributes.get("multiscales"):
        return [(path, dict(attributes))]
    if attributes.get("plate"):
        _refuse_plate(path, attributes["plate"])
    names = _list_parts(path, attributes)
    found, missing = [], []
    for name in names:
        part = path / check_inner(path, name)
        is_there = (part / "zarr.json").is_file() or (part / ".zattrs").is_file()
        inner = load_attributes(part, path) if is_there else {}
        if inner.get("multiscales"):
            found.append((part, inner))
        else:
            missing.append(str(name))
    if missing and found:
        warnings.warn(
            f"{path} lists the images {', '.join(missing)}, which are missing; the others are read",
            stacklevel=3,
        )
    if found:
        return found
    held = ", ".join(sorted(p.name for p in path.iterdir() if p.is_dir())[:10]) or "nothing"
    raise ImageFileError(f"{path} is no OME-Zarr image; choose one of the folders in it: {held}")


def _list_parts(path: Path, attributes: Mapping[str, Any]) -> list[str]:
    """Return the paths of the images within a group, in their order."""
    well = attributes.get("well")
    if well:
        return [field["path"] for field in well.get("images") or []]
    if "bioformats2raw.layout" not in attributes:
        return []
    # The order of the series may stand beside the metadata of OME.
    beside = path / "OME"
    if (beside / "zarr.json").is_file() or (beside / ".zattrs").is_file():
        series = load_attributes(beside, path).get("series")
        if series:
            return list(series)
    # Otherwise they are in folders named by numbers.
    return sorted((p.name for p in path.iterdir() if p.name.isdigit() and p.is_dir()), key=int)


def _refuse_plate(path: Path, plate: Mapping[str, Any]) -> None:
    """Raise an error that says which folder of a plate to choose."""
    wells = [str(well["path"]) for well in plate.get("wells") or []]
    example = f", such as {path / wells[0] / '0'}" if wells else ""
    raise ImageFileError(
        f"{path} is a plate of {len(wells)} wells; open one of its wells or images{example}"
    )
