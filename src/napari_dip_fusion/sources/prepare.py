"""Arrays of any real type, gray or color, to sources in [0, 1], and the way back."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from napari_dip_fusion.config import (
    INTENSITY_MODES,
    FusionConfig,
    Intensity,
    Window,
    check_intensity,
)
from napari_dip_fusion.record import describe_source
from napari_dip_fusion.sources.own_pixels import InterpolatedSource, OwnPixels
from napari_dip_fusion.sources.parts import require_plane
from napari_dip_fusion.sources.source import Source

Floats = NDArray[np.float32]

_DEFAULT = FusionConfig()

LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
"""Weights of red, green and blue in the luma of ITU-R BT.601."""

# Scale of (B - Y) and (R - Y) in the chroma Cb and Cr of ITU-R BT.601, full range.
_CB, _CR = 1.772, 1.402


# A source is flat where all but so few of its pixels differ by less than one of 256 gray levels.
_ONE_LEVEL, _FEW = 1 / 255, 1e-4


@dataclass(frozen=True, eq=False)
class PreparedSources:
    """Sources as the method takes them, and what leads back to the user's units.

    Attributes
    ----------
    images : ndarray of shape (K, M, N), float32
        Gray values, or the luma of colored sources, in [0, 1].
    windows : tuple of (low, high)
        For each source the values that became 0 and 1, in the source's units.
    dtypes : tuple of numpy.dtype
        The type of each source.
    chroma : ndarray of shape (2, M, N) or None
        Cb and Cr in [-0.5, 0.5]; None when all sources are gray.
    descriptions : tuple of dict
        What a run record says of each source; see :func:`.describe_source`.
    own_pixels : tuple of OwnPixels or None
        What each source was interpolated from, in gray and in [0, 1] as the images; None for a
        source that was not. Empty where none was.
    """

    images: Floats
    windows: tuple[Window, ...]
    dtypes: tuple[np.dtype[Any], ...]
    chroma: Floats | None = None
    descriptions: tuple[dict[str, Any], ...] = ()
    own_pixels: tuple[OwnPixels | None, ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.images.shape[1], self.images.shape[2]

    def add_color(self, luma: Floats) -> Floats:
        """Give a luma image of shape (M, N) the chroma of the sources.

        Returns
        -------
        ndarray of shape (M, N, 3) or (M, N)
            In [0, 1]. Chroma that leaves the range is reduced, so that the
            luma of the result is exactly `luma`. Gray sources: `luma` itself.
        """
        if self.chroma is None:
            return luma
        offsets = _convert_chroma(self.chroma)
        room = np.where(offsets > 0, 1 - luma[..., None], luma[..., None])
        with np.errstate(divide="ignore", invalid="ignore"):
            allowed = np.where(offsets == 0, 1, room / np.abs(offsets))
        saturation = np.clip(allowed.min(axis=-1, keepdims=True), 0, 1)
        rgb: Floats = np.clip(luma[..., None] + saturation * offsets, 0, 1).astype(np.float32)
        return rgb

    def rescale(
        self, image: NDArray[Any], *, like: int, dtype: DTypeLike | None = None
    ) -> NDArray[Any]:
        """Map an image in [0, 1] to the units of one of the sources.

        Parameters
        ----------
        image : ndarray
            Values in [0, 1].
        like : int
            Index of the source.
        dtype : dtype, optional
            Type of the result; that of the source by default. Integers are
            rounded and clipped to the type's range.

        Raises
        ------
        ValueError
            If there is no such source.
        """
        if not 0 <= like < len(self.windows):
            raise ValueError(f"like must be a source from 0 to {len(self.windows) - 1}, got {like}")
        low, high = self.windows[like]
        values = low + image.astype(np.float64) * (high - low)
        kind = np.dtype(self.dtypes[like] if dtype is None else dtype)
        if kind.kind in "iu":
            limits = np.iinfo(kind)
            # The float64 nearest to the limit of a 64-bit integer lies beyond it.
            top = np.nextafter(float(limits.max), 0) if kind.itemsize == 8 else limits.max
            values = np.clip(np.rint(values), limits.min, top)
        return values.astype(kind)


def prepare_sources(
    sources: Sequence[ArrayLike | Source],
    *,
    intensity: Intensity = _DEFAULT.intensity,
    percentiles: Window = _DEFAULT.percentiles,
    names: Sequence[str] | None = None,
    paths: Sequence[str | None] | None = None,
) -> PreparedSources:
    """Bring aligned images of any real type to single-channel sources in [0, 1].

    Parameters
    ----------
    sources : sequence of K >= 2 planes
        Each a Source of one plane, or an array of shape (M, N), (M, N, 3) or (M, N, 4), of
        integers or floats of any range. Color is reduced to luma, with the chroma kept apart;
        a fourth channel (alpha) is ignored. Never modified.
    intensity : str or one entry per source
        ``auto`` (8-bit unsigned by 255, otherwise minimum and maximum of the
        data), ``minmax``, ``dtype`` (the full range of an integer type; [0, 1]
        for floats), ``percentiles``, or a window ``(low, high)`` in the
        source's units. Values outside the window are clipped.
    percentiles : (float, float)
        For ``intensity="percentiles"``.
    names : sequence of str, optional
        For the run record; by default those of the Source objects, or numbers.
    paths : sequence of str or None, optional
        Files of the sources, for the run record.

    Raises
    ------
    ValueError
        For fewer than two sources, shapes that differ, types that are not
        real numbers, NaN or infinite values, or a constant image whose window
        would be empty.
    """
    names, paths = _name_sources(sources, names, paths)
    given = _take_planes(sources, names)
    arrays = [_check(plane, name) for plane, name in zip(given, names, strict=True)]
    if len(arrays) < 2:
        raise ValueError(f"a fusion needs two or more sources, got {len(arrays)}")
    first = arrays[0].shape[:2]
    for a, name in zip(arrays, names, strict=True):
        if a.shape[:2] != first:
            raise ValueError(
                f"sources must share one shape, got {first} for {names[0]} and {a.shape[:2]} for "
                f"{name}; resample them to one grid first"
            )
    modes = _spread_intensity(intensity, len(arrays))
    windows = tuple(
        _find_window(a, m, percentiles, name)
        for a, m, name in zip(arrays, modes, names, strict=True)
    )
    scaled = [_scale(a, w) for a, w in zip(arrays, windows, strict=True)]
    return PreparedSources(
        images=np.stack([s @ LUMA if s.ndim == 3 else s for s in scaled]),
        windows=windows,
        dtypes=tuple(a.dtype for a in arrays),
        chroma=_mix_chroma([s for s in scaled if s.ndim == 3]),
        descriptions=_describe(given, windows, names, paths),
        own_pixels=_scale_own_pixels(sources, windows),
    )


def scale_to_unit_range(
    image: NDArray[Any],
    *,
    intensity: str | Window | None = None,
    percentiles: Window = _DEFAULT.percentiles,
    name: str = "the image",
) -> Floats:
    """Bring an image of any origin to [0, 1], in gray.

    Parameters
    ----------
    image : ndarray of shape (M, N), (M, N, 3) or (M, N, 4)
    intensity, percentiles
        As for :func:`prepare_sources`. By default
        floats in [0, 1] and 8-bit values are taken as they are, others by
        their own minimum and maximum.
    name : str
        For the message of an error.
    """
    values = np.asarray(image)
    if intensity is None:
        inside = values.dtype.kind == "f" and values.min() >= 0 and values.max() <= 1
        intensity = "dtype" if inside or values.dtype == np.uint8 else "minmax"
    mode = intensity if isinstance(intensity, str) else (intensity, intensity)
    prepared = prepare_sources(
        [values, values], intensity=mode, percentiles=percentiles, names=[name, name]
    )
    gray: Floats = prepared.images[0]
    return gray


def find_flat_sources(prepared: PreparedSources) -> list[int]:
    """Return which sources show next to nothing: nearly all of their pixels have one value.

    Parameters
    ----------
    prepared : PreparedSources

    Returns
    -------
    list of int
        Their indices. A few bright spots on black are something to see.
    """
    return [
        number
        for number, image in enumerate(prepared.images)
        if np.mean(np.abs(image - np.median(image)) > _ONE_LEVEL) < _FEW
    ]


def _name_sources(
    sources: Sequence[ArrayLike | Source],
    names: Sequence[str] | None,
    paths: Sequence[str | None] | None,
) -> tuple[Sequence[str], Sequence[str | None]]:
    """Return a name for each source, for people who have several, and its file if it has one."""
    if names is None:
        own = [s.name if isinstance(s, Source) else "" for s in sources]
        names = [name or f"source {i}" for i, name in enumerate(own)]
    if paths is None:
        files = [s.path if isinstance(s, Source) else None for s in sources]
        paths = [None if file is None else str(file) for file in files]
    if not len(names) == len(paths) == len(sources):
        raise ValueError(
            f"names and paths must have one entry for each of the {len(sources)} sources, got "
            f"{len(names)} names and {len(paths)} paths"
        )
    return names, paths


def _take_planes(sources: Sequence[ArrayLike | Source], names: Sequence[str]) -> list[NDArray[Any]]:
    """Return the pixels of the sources, and refuse planes that lie at different places."""
    planes = [require_plane(s) if isinstance(s, Source) else None for s in sources]
    first, first_name = None, ""
    for plane, name in zip(planes, names, strict=True):
        if plane is None:
            continue
        if first is None:
            first, first_name = plane, name
        same = plane.units == first.units and np.allclose(plane.affine, first.affine)
        if not same:
            raise ValueError(
                f"{name} and {first_name} lie at different places or in different units; bring "
                "them to one grid first with sources.grid.resample_to_reference"
            )
    return [
        np.asarray(source) if plane is None else plane.to_numpy()
        for source, plane in zip(sources, planes, strict=True)
    ]


def _describe(
    arrays: Sequence[NDArray[Any]],
    windows: Sequence[Window],
    names: Sequence[str],
    paths: Sequence[str | None],
) -> tuple[dict[str, Any], ...]:
    return tuple(
        describe_source(array, window, name=name, path=path)
        for array, window, name, path in zip(arrays, windows, names, paths, strict=True)
    )


def _check(array: NDArray[Any], name: str) -> NDArray[Any]:
    if array.dtype.kind not in "iuf":
        raise ValueError(
            f"{name} must hold integers or floats, got {array.dtype}; "
            "convert masks with .astype('uint8')"
        )
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise ValueError(
            f"{name} must have shape (M, N), (M, N, 3) or (M, N, 4), got {array.shape}; "
            "choose one plane of a stack"
        )
    if array.size == 0:
        raise ValueError(f"{name} is empty: its shape is {array.shape}")
    array = array[..., :3] if array.ndim == 3 else array
    if array.dtype.kind == "f":
        bad = array.size - np.count_nonzero(np.isfinite(array))
        if bad:
            raise ValueError(
                f"{name} has {bad} NaN or infinite values of {array.size}; replace them "
                "first, for example with numpy.nan_to_num"
            )
    return array


def _spread_intensity(intensity: Intensity, count: int) -> tuple[str | Window, ...]:
    check_intensity(intensity)
    if isinstance(intensity, str):
        return (intensity,) * count
    if len(intensity) != count:
        raise ValueError(
            f"intensity must have one entry for each of the {count} sources, got {len(intensity)}"
        )
    return intensity


def _find_window(array: NDArray[Any], mode: str | Window, percentiles: Window, name: str) -> Window:
    if not isinstance(mode, str):
        return float(mode[0]), float(mode[1])
    if mode == "auto":
        mode = "dtype" if array.dtype == np.uint8 else "minmax"
    if mode == "dtype":
        if array.dtype.kind == "f":
            return 0.0, 1.0
        limits = np.iinfo(array.dtype)
        return float(limits.min), float(limits.max)
    if mode == "minmax":
        low, high = float(array.min()), float(array.max())
    elif mode == "percentiles":
        low, high = map(float, np.percentile(array, percentiles))
    else:
        raise ValueError(f"intensity must be one of {', '.join(INTENSITY_MODES)}, got {mode!r}")
    if not low < high:
        what = "has its percentiles at one value" if mode == "percentiles" else "is constant"
        raise ValueError(
            f"{name} {what} ({low:g}), so its {mode} intensity window is empty; "
            "leave it out or give an explicit window (low, high)"
        )
    return low, high


def _scale(array: NDArray[Any], window: Window) -> Floats:
    low, high = window
    # float64 keeps 32-bit integers and large offsets exact before the subtraction.
    scaled = (array.astype(np.float64) - low) / (high - low)
    return np.clip(scaled, 0, 1).astype(np.float32)


def _scale_own_pixels(
    sources: Sequence[ArrayLike | Source], windows: Sequence[Window]
) -> tuple[OwnPixels | None, ...]:
    """Return what the sources were interpolated from, with the values of prepared sources."""
    own = [s.own_pixels if isinstance(s, InterpolatedSource) else None for s in sources]
    if not any(own):
        return ()
    return tuple(None if o is None else _scale_own(o, w) for o, w in zip(own, windows, strict=True))


def _scale_own(own: OwnPixels, window: Window) -> OwnPixels:
    color = own.planes.ndim == 4
    scaled = _scale(own.planes[..., :3] if color else own.planes, window)
    # The target may pass by pixels that are not a number, such as those around a scanner's field.
    return replace(own, planes=np.nan_to_num(scaled @ LUMA if color else scaled, copy=False))


def _mix_chroma(colored: list[Floats]) -> Floats | None:
    """Mean chroma of the colored sources, weighted by distance from gray."""
    if not colored:
        return None
    chroma = np.stack([_compute_chroma(c) for c in colored])
    weight = np.abs(chroma).sum(axis=1, keepdims=True)
    total = weight.sum(axis=0)
    mixed: Floats = (weight * chroma).sum(axis=0) / np.where(total > 0, total, np.float32(1))
    return mixed


def _compute_chroma(rgb: Floats) -> Floats:
    luma = rgb @ LUMA
    return np.stack([(rgb[..., 2] - luma) / _CB, (rgb[..., 0] - luma) / _CR])


def _convert_chroma(chroma: Floats) -> Floats:
    blue, red = _CB * chroma[0], _CR * chroma[1]
    green = -(LUMA[0] * red + LUMA[2] * blue) / LUMA[1]
    return np.stack([red, green, blue], axis=-1)
