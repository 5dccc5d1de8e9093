"""OME-Zarr 0.4 and 0.5, in and out: lazy, all resolutions.

Zarr leaves the reading of chunks to codecs that the file names, some of which run
code from the file; only codecs of plain numbers are let through.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io import description
from napari_dip_fusion.io.channels import split_channels
from napari_dip_fusion.io.failures import report_damage
from napari_dip_fusion.io.limits import declared_bytes, refuse_memory
from napari_dip_fusion.io.losses import warn_of_lost_unit, warn_of_private_rotation
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.units import LENGTHS, TIMES, abbreviate_unit, spell_out_unit

__all__ = ["read", "write"]

_ATTRIBUTE = "napari-dip-fusion"
_ADVICE = "it is damaged"
_MOST_JSON = 16 * 2**20
_CHUNK = 1024
_CODECS = {
    *("blosc", "bytes", "crc32c", "gzip", "sharding_indexed", "transpose", "zstd"),
    *("adler32", "bitround", "bz2", "crc32", "delta", "fixedscaleoffset", "fletcher32"),
    *("lz4", "lzma", "packbits", "quantize", "shuffle", "zlib", "endian"),
}


def read(path: Path) -> list[Source]:
    """Read an OME-Zarr folder, its pixels lazily.

    Parameters
    ----------
    path : Path
        The folder, or one within that holds an image.

    Returns
    -------
    list of Source
        One for every channel; what this program wrote comes as it was.

    Raises
    ------
    ImageFileError
        If the folder holds no image, or is damaged.
    """
    with report_damage(path, "read as OME-Zarr", advice=_ADVICE):
        attributes = _attributes(path)
        if "multiscales" in attributes:
            return _images(path, attributes)
        inner = sorted(p for p in path.iterdir() if p.name.isdigit() and p.is_dir())
        if "bioformats2raw.layout" in attributes and inner:
            return [image for p in inner for image in _images(p, _attributes(p))]
    held = ", ".join(sorted(p.name for p in path.iterdir() if p.is_dir())[:10]) or "nothing"
    raise ImageFileError(f"{path} is no OME-Zarr image; choose one of the folders in it: {held}")


def _load_json(path: Path) -> dict[str, Any]:
    if path.stat().st_size > _MOST_JSON:
        raise ImageFileError(f"{path} is larger than metadata can be; it is damaged")
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ImageFileError(f"{path} is no JSON ({error}); it is damaged") from error
    if not isinstance(found, dict):
        raise ImageFileError(f"{path} must hold a JSON object; it is damaged")
    return found


def _attributes(path: Path) -> dict[str, Any]:
    """Return OME's attributes of a group, of either version."""
    if (path / "zarr.json").is_file():
        attributes = dict(_load_json(path / "zarr.json").get("attributes") or {})
        return {**attributes, **dict(attributes.get("ome") or {})}
    if (path / ".zattrs").is_file():
        return _load_json(path / ".zattrs")
    raise ImageFileError(f"{path} holds neither zarr.json nor .zattrs; it is no OME-Zarr")


@dataclass(frozen=True)
class _Chunks:
    """Pixels of a Zarr array; what goes wrong in a chunk becomes one error."""

    path: Path
    array: Any

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.array.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        dtype: np.dtype[Any] = np.dtype(self.array.dtype)
        return dtype

    @property
    def ndim(self) -> int:
        return len(self.array.shape)

    def __getitem__(self, where: Any) -> NDArray[Any]:
        with report_damage(self.path, "read as OME-Zarr", advice=_ADVICE):
            return np.asarray(self.array[where])


def _array(path: Path) -> Any:
    """Open an array lazily, after a look at what opening it would run."""
    import dask.array as da
    import zarr

    from napari_dip_fusion.io.zarr.store import CheckedStore

    names = _codec_names(path)
    for name in names:
        if name not in _CODECS:
            raise ImageFileError(f"{path} is packed by {name!r}, which is not trusted here")
    array = zarr.open_array(str(path), mode="r")
    if array.dtype.kind not in "iufb":
        raise ImageFileError(f"{path} holds {array.dtype} values; convert them to numbers")
    declared_bytes(path, array.shape, array.dtype.itemsize)
    chunk_bytes = declared_bytes(path, array.chunks, array.dtype.itemsize)
    refuse_memory(path, chunk_bytes)
    if "blosc" in names:
        folder = zarr.storage.LocalStore(path, read_only=True)
        store = CheckedStore(folder, chunk_bytes, sharded="sharding_indexed" in names)
        array = zarr.open_array(store, mode="r")
    lazy: Any = da
    meta = np.empty(0, array.dtype)
    return lazy.from_array(_Chunks(path, array), chunks=array.chunks, meta=meta)


def _codec_names(path: Path) -> list[str]:
    """Return all that unpacks the chunks of an array."""
    new, old = path / "zarr.json", path / ".zarray"
    if new.is_file():
        return _names(_load_json(new).get("codecs") or [])
    if old.is_file():
        declared = _load_json(old)
        return _names([declared.get("compressor"), *(declared.get("filters") or [])])
    raise ImageFileError(f"{path} holds neither zarr.json nor .zarray; the array is missing")


def _names(codecs: list[Any]) -> list[str]:
    found = []
    for codec in codecs:
        if codec is not None:
            found.append(str(codec.get("id") or codec.get("name")).removeprefix("numcodecs."))
            inner = codec.get("configuration") or {}
            found += _names([*inner.get("codecs", []), *inner.get("index_codecs", [])])
    return found


def _images(path: Path, attributes: Mapping[str, Any]) -> list[Source]:
    scales = attributes["multiscales"][0]
    axes = _axes(path, scales)
    datasets = [path / _inner(path, part["path"]) for part in scales["datasets"]]
    data, *pyramid = [_array(dataset) for dataset in datasets]
    if data.ndim != len(axes):
        raise ImageFileError(f"{path} names {len(axes)} axes of {data.ndim}; it is damaged")
    image = Source(
        data,
        tuple(name for name, _ in axes),
        affine=_affine(scales, len(axes)),
        units=tuple(unit for _, unit in axes),
        name=str(scales.get("name") or "").strip("/") or path.name.split(".")[0],
        path=path,
        pyramid=tuple(pyramid),
    )
    found = description.parse(json.dumps(attributes.get(_ATTRIBUTE)))
    if found is not None:
        if found.get("rgb") and "c" in image.axes:
            image = _as_colours(image)
        return [description.restore(image, found, stored=_scale_and_shift)]
    names, displays = _channels(attributes.get("omero") or {})
    return split_channels(image, names, displays)


def _axes(path: Path, scales: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the name and unit of each axis."""
    axes = scales.get("axes")
    if not axes:
        raise ImageFileError(f"{path} names no axes (OME-Zarr before 0.4); convert it first")
    return [(str(axis["name"]), abbreviate_unit(axis.get("unit", "pixel"))) for axis in axes]


def _inner(path: Path, name: str) -> str:
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts or "\\" in name:
        raise ImageFileError(f"{path} points outside of itself ({name!r}); it is not read")
    return name


def _affine(scales: Mapping[str, Any], ndim: int) -> NDArray[np.float64]:
    affine = np.eye(ndim + 1)
    own = scales["datasets"][0].get("coordinateTransformations") or []
    for step in [*own, *(scales.get("coordinateTransformations") or [])]:
        change = np.eye(ndim + 1)
        if step["type"] == "scale":
            change[:-1, :-1] = np.diag(np.asarray(step["scale"], dtype=np.float64))
        elif step["type"] == "translation":
            change[:-1, -1] = np.asarray(step["translation"], dtype=np.float64)
        affine = change @ affine
    return affine


def _scale_and_shift(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what is left of an affine in the fields of OME-Zarr."""
    kept = np.diag([*np.linalg.norm(affine[:-1, :-1], axis=0), 1.0])
    kept[:-1, -1] = affine[:-1, -1]
    return kept


def _as_colours(image: Source) -> Source:
    """Take the axis of channels for the colours."""
    axis = image.axes.index("c")
    flat = image.replace(data=image.data[(slice(None),) * axis + (slice(0, 1),)], pyramid=())
    flat = flat.take("c", 0)
    levels = [np.moveaxis(level, axis, -1) for level in (image.data, *image.pyramid)]
    return flat.replace(data=levels[0], pyramid=tuple(levels[1:]), rgb=True)


def _channels(omero: Mapping[str, Any]) -> tuple[list[str | None], list[dict[str, Any]]]:
    names: list[str | None] = []
    displays = []
    for channel in omero.get("channels") or []:
        names.append(str(channel["label"]) if channel.get("label") else None)
        display: dict[str, Any] = {}
        colour = str(channel.get("color", ""))
        if len(colour) == 6 and all(digit in "0123456789abcdefABCDEF" for digit in colour):
            display["colormap"] = f"#{colour}"
        window = channel.get("window") or {}
        if {"start", "end"} <= set(window) and window["start"] < window["end"]:
            display["contrast_limits"] = [float(window["start"]), float(window["end"])]
        displays.append(display)
    return names, displays


def write(path: Path, image: Source, *, version: str = "0.5") -> None:
    """Write an image as OME-Zarr.

    Rotation and shear, for which OME-Zarr has no fields, and the display are kept
    in an attribute that only this program reads.

    Parameters
    ----------
    path : Path
        Folder to write.
    image : Source
        Two to four axes besides colours.
    version : {"0.5", "0.4"}
        Version of OME-Zarr: on Zarr 3 or on Zarr 2.

    Raises
    ------
    ImageFileError
        If OME-Zarr cannot hold the image.
    """
    import zarr

    if not 2 <= image.ndim <= 4:
        raise ImageFileError(
            f"OME-Zarr is written with two to four axes, got {', '.join(image.axes)}; choose a part"
        )
    if image.dtype.kind not in "iufb":
        raise ImageFileError(f"OME-Zarr is written of numbers, got {image.dtype}; convert them")
    axes = _written_axes(image)
    group = zarr.open_group(str(path), mode="w", zarr_format=3 if version == "0.5" else 2)
    datasets = []
    for number, data in enumerate((image.data, *image.pyramid)):
        _store(group, str(number), _colours_first(image, data), axes, version)
        datasets.append(_dataset(image, number, data))
    scales = {"name": image.name or "image", "axes": axes, "datasets": datasets}
    ome: dict[str, Any] = {"multiscales": [scales]}
    if version == "0.5":
        group.attrs["ome"] = {"version": version, **ome}
    else:
        ome["multiscales"][0]["version"] = version
        group.attrs["multiscales"] = ome["multiscales"]
    group.attrs[_ATTRIBUTE] = description.describe(image)


def _written_axes(image: Source) -> list[dict[str, str]]:
    """Return OME's axes; an axis of another name takes the one of its place."""
    spatial = image.ndim - _times(image)
    names = ("t",) * _times(image) + ("z", "y", "x")[-spatial:]
    axes = []
    for name, unit in zip(names, image.units, strict=True):
        axis = {"name": name, "type": "time" if name == "t" else "space"}
        short = abbreviate_unit(unit)
        if short in (TIMES if name == "t" else LENGTHS):
            axis["unit"] = str(spell_out_unit(short))
        elif short != "pixel":
            warn_of_lost_unit(unit, name, "OME-Zarr", stacklevel=4)
        axes.append(axis)
    warn_of_private_rotation(image, "OME-Zarr", kept_in="an attribute", stacklevel=4)
    if image.rgb:
        axes.insert(_times(image), {"name": "c", "type": "channel"})
    return axes


def _times(image: Source) -> int:
    """Return how many axes of time come first; channels stand behind them."""
    return int(image.ndim == 4 or (image.ndim == 3 and image.axes[0] == "t"))


def _colours_first(image: Source, data: Any) -> Any:
    return np.moveaxis(data, -1, _times(image)) if image.rgb else data


def _dataset(image: Source, number: int, data: Any) -> dict[str, Any]:
    factors = np.array(image.shape) / np.array(data.shape[: image.ndim])
    scale = list(image.spacing * factors)
    # Pixel centres: the first of a coarse level lies amid those that it covers.
    shift = list(image.affine[:-1, -1] + image.spacing * (factors - 1) / 2)
    if image.rgb:
        scale.insert(_times(image), 1.0)
        shift.insert(_times(image), 0.0)
    steps = [
        {"type": "scale", "scale": [float(n) for n in scale]},
        {"type": "translation", "translation": [float(n) for n in shift]},
    ]
    return {"path": str(number), "coordinateTransformations": steps}


def _store(group: Any, name: str, data: Any, axes: list[dict[str, str]], version: str) -> None:
    chunks = tuple(
        min(size, _CHUNK) if n >= data.ndim - 2 else 1 for n, size in enumerate(data.shape)
    )
    options: dict[str, Any] = (
        {"dimension_names": [axis["name"] for axis in axes]}
        if version == "0.5"
        else {"chunk_key_encoding": {"name": "v2", "separator": "/"}}
    )
    dtype = np.dtype(data.dtype).newbyteorder("=")
    array = group.create_array(name, shape=data.shape, dtype=dtype, chunks=chunks, **options)
    if isinstance(data, np.ndarray):
        array[...] = data
    else:
        import dask.array as da

        lazy: Any = da
        lazy.store(lazy.asarray(data), array, lock=True)
