"""OME-Zarr folders are read to sources, lazily and with all resolutions."""

import json
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io import description
from napari_dip_fusion.io.channels import split_channels
from napari_dip_fusion.io.formats import strip_ending
from napari_dip_fusion.io.zarr import ATTRIBUTE, GROWING
from napari_dip_fusion.io.zarr.arrays import load_json, open_array, report_zarr_damage
from napari_dip_fusion.io.zarr.axes import Axis, find_coordinate_system, list_axes, sort_axes
from napari_dip_fusion.io.zarr.groups import list_images, load_attributes, require_folder
from napari_dip_fusion.io.zarr.levels import (
    Level,
    open_levels,
    place_levels,
    warn_of_missing_chunks,
)
from napari_dip_fusion.io.zarr.omero import list_channels
from napari_dip_fusion.io.zarr.transforms import Transforms
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.source import GUESSED_PLACE
from napari_dip_fusion.sources.views import make_lazy

__all__ = ["read"]

# A level that lies further from where its size would put it, in its pixels, is spoken of.
_MOST_SHIFT = 1.0


def read(path: Path) -> list[Source]:
    """Read an OME-Zarr folder, its pixels lazily.

    Parameters
    ----------
    path : Path
        The folder, or one within that holds an image, the fields of a well, or one array
        without any metadata of OME.

    Returns
    -------
    list of Source
        One for every channel of every image; what this program wrote comes as it was. Each
        resolution lies where it is declared. Where its place is only a guess, because no
        transformation is declared as before version 0.4, the metadata say so.

    Raises
    ------
    ImageFileError
        If the folder holds no image, is damaged, or is of a kind that is not read.
    """
    require_folder(path)
    with report_zarr_damage(path):
        return [_make_lazy(image) for image in _read_all(path)]


def _read_all(path: Path) -> list[Source]:
    """Return all images of a folder, of which nothing is read."""
    if _is_array(path):
        return [_read_array(path)]
    images = list_images(path, load_attributes(path, path))
    names = [_choose_name(part, path, alone=len(images) == 1) for part, _ in images]
    return [
        image
        for (part, attributes), name in zip(images, names, strict=True)
        for image in _read_image(part, attributes, path, name)
    ]


def _make_lazy(image: Source) -> Source:
    """Return an image of dask arrays, which everybody knows."""
    levels = [make_lazy(level) for level in (image.data, *image.pyramid)]
    return image.replace(data=levels[0], pyramid=tuple(levels[1:]))


def _is_array(path: Path) -> bool:
    """Tell whether a folder is an array; of Zarr 3 it has the same file as a group."""
    if (path / "zarr.json").is_file():
        return load_json(path / "zarr.json", path).get("node_type") == "array"
    return (path / ".zarray").is_file()


def _read_array(path: Path) -> Source:
    """Return an array of which only the numbers of its pixels are known."""
    stored = open_array(path, path)
    data = stored.data
    if data.ndim < 2:
        raise ImageFileError(f"{path} is a Zarr array of {data.ndim} axes; an image has two")
    names = getattr(stored.array.metadata, "dimension_names", None)
    names = names or stored.array.attrs.get("_ARRAY_DIMENSIONS") or ()
    known = len(names) == data.ndim == len(set(names)) and all(names)
    warnings.warn(
        f"{path} is one Zarr array without metadata of OME; its pixels are counted, as nothing "
        "says where they lie",
        stacklevel=3,
    )
    axes = tuple(str(name) for name in names) if known else ()
    return Source(data, axes, name=strip_ending(path), path=path)


def _read_image(path: Path, attributes: Mapping[str, Any], root: Path, name: str) -> list[Source]:
    """Return the channels of one image, or the image as this program wrote it."""
    scales = _choose_multiscale(path, attributes)
    levels = open_levels(path, root, scales)
    version = str(scales.get("version") or attributes.get("version") or "")
    axes = list_axes(path, scales, version, levels[0].array.data.ndim)
    names = [axis.name for axis in axes]
    # Of an image that is still written, everybody knows that blocks are missing.
    if GROWING not in attributes:
        levels = warn_of_missing_chunks(path, levels, names)
    transforms = Transforms(path, names)
    levels, guess = place_levels(levels, transforms, _find_shared_steps(path, scales))
    image = _make_source(path, levels, axes).replace(name=_read_name(scales) or name)
    if guess:
        image = image.replace(metadata={GUESSED_PLACE: guess})
    own = _restore(image, description.parse(json.dumps(attributes.get(ATTRIBUTE))))
    if own is not None:
        return [own]
    return split_channels(image, *list_channels(attributes.get("omero") or {}))


def _restore(image: Source, found: Mapping[str, Any] | None) -> Source | None:
    """Return an image as this program wrote it; None for one of another program.

    Another program may have put an image of its own beside the description.
    """
    sizes = dict(zip(image.axes, image.shape, strict=True))
    if found is not None and found.get("rgb") and sizes.get("c") in (3, 4):
        image = _turn_channels_into_colors(image)
    restored = description.restore(image, found, reduce_affine=_keep_scale_and_shift)
    return None if restored is image else restored


def _choose_multiscale(path: Path, attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the first image that a group describes."""
    described: Sequence[Mapping[str, Any]] = attributes["multiscales"]
    if len(described) > 1:
        names = ", ".join(str(scales.get("name")) for scales in described[1:])
        warnings.warn(
            f"{path} describes {len(described)} images in one group; the first is read, not "
            f"{names}",
            stacklevel=4,
        )
    return described[0]


def _find_shared_steps(path: Path, scales: Mapping[str, Any]) -> Any:
    """Return the transformations that hold for all resolutions."""
    steps = scales.get("coordinateTransformations")
    system = find_coordinate_system(scales)
    if not (steps and system):
        return steps
    # In version 0.6 these lead on, to other coordinate systems than the image's own.
    warnings.warn(
        f"{path} declares transformations to further coordinate systems, which are not read; its "
        f"place is that in {system.get('name')!r}",
        stacklevel=4,
    )
    return None


def _make_source(path: Path, levels: Sequence[Level], axes: Sequence[Axis]) -> Source:
    """Return an image with its axes in the order of sources."""
    affines = [np.eye(len(axes) + 1) if n.affine is None else n.affine for n in levels]
    image = Source(
        levels[0].array.data,
        tuple(axis.name for axis in axes),
        affine=affines[0],
        units=tuple(axis.unit for axis in axes),
        path=path,
        pyramid=tuple(level.array.data for level in levels[1:]),
    )
    if levels[0].affine is not None and image.pyramid:
        places = tuple(
            image.find_level_affine(n)
            if levels[n].affine is None
            else np.linalg.solve(affines[0], affines[n])
            for n in range(1, len(levels))
        )
        image = image.replace(level_affines=places)
        _warn_of_shifts(path, image, levels)
    return image.transpose(sort_axes(axes))


def _warn_of_shifts(path: Path, image: Source, levels: Sequence[Level]) -> None:
    """Warn of resolutions that are declared elsewhere than their sizes put them."""
    shifts = {levels[n].name: image.measure_level_shift(n) for n in range(1, len(levels))}
    odd = [f"{name} ({shift:.3g})" for name, shift in shifts.items() if shift > _MOST_SHIFT]
    if odd:
        warnings.warn(
            f"{path}: some levels are declared so many of their pixels from where their sizes "
            f"would put them: {', '.join(odd)}; they are read as declared, but a program that goes "
            "by sizes shows them elsewhere",
            stacklevel=6,
        )


def _read_name(scales: Mapping[str, Any]) -> str:
    """Return an image's name; some writers give a path, or only the number of a series."""
    declared = str(scales.get("name") or "")
    last = re.split(r"[/\\]", declared.strip("/\\"))[-1]
    if last.isdigit():
        return ""
    return last if last == declared else strip_ending(Path(last))


def _choose_name(path: Path, root: Path, *, alone: bool) -> str:
    """Return the name of an image that says none."""
    own = strip_ending(root)
    return own if alone or path == root else f"{own} {path.relative_to(root).as_posix()}"


def _keep_scale_and_shift(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what is left of an affine in the fields of OME-Zarr."""
    kept = np.diag([*np.linalg.norm(affine[:-1, :-1], axis=0), 1.0])
    kept[:-1, -1] = affine[:-1, -1]
    return kept


def _turn_channels_into_colors(image: Source) -> Source:
    """Return an image whose channels are red, green and blue as one of colors."""
    axis = image.axes.index("c")
    # The first channel has the names, units and places without the axis.
    flat = split_channels(image)[0]
    levels = [np.moveaxis(level, axis, -1) for level in (image.data, *image.pyramid)]
    return flat.replace(data=levels[0], pyramid=tuple(levels[1:]), rgb=True, name=image.name)
