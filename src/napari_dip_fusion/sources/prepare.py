"""Arrays of any real type, gray or color, to sources in [0, 1], and the way back."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from napari_dip_fusion.config import (
    FusionConfig,
    Intensity,
    Window,
)
from napari_dip_fusion.record import describe_source
from napari_dip_fusion.sources.axes import (
    find_plane_axes,
    is_placeless,
)
from napari_dip_fusion.sources.axis_kinds import find_kind
from napari_dip_fusion.sources.color import LUMA, Chroma, add_chroma
from napari_dip_fusion.sources.coverage import measure_pixel
from napari_dip_fusion.sources.grid import GridSources
from napari_dip_fusion.sources.observation import (
    Observation,
    ObservedFrames,
    take_observation,
)
from napari_dip_fusion.sources.own_frames import OwnFrames, find_own_values
from napari_dip_fusion.sources.own_pixels import (
    OwnPixels,
    ResampledSource,
)
from napari_dip_fusion.sources.parts import drop_single_axes
from napari_dip_fusion.sources.resample import NOTHING_SEEN
from napari_dip_fusion.sources.restorable import observe_source, widen_window
from napari_dip_fusion.sources.scaling import (
    PART_PIXELS,
    cut_parts,
    find_limits,
    find_window,
    rescale_values,
    scale_values,
    spread_intensity,
)
from napari_dip_fusion.sources.source import Source, make_source
from napari_dip_fusion.sources.units import find_factor

Floats = NDArray[np.float32]
T = TypeVar("T")

_DEFAULT = FusionConfig()

# A source is flat where all but so few of its pixels differ by less than one of 256 gray levels.
_ONE_LEVEL, _FEW = 1 / 255, 1e-4


@dataclass(frozen=True, eq=False)
class PreparedSources:
    """Sources as the method takes them, and what leads back to the user's units.

    Attributes
    ----------
    images : ndarray of shape (K, ..., M, N), float32
        Gray values, or the luma of colored sources, in [0, 1]: of planes, volumes or series.
    windows : tuple of (low, high)
        For each source the values that became 0 and 1, in the source's units.
    dtypes : tuple of numpy.dtype
        The type of each source.
    chroma : ndarray of shape (2, ..., M, N) or None
        Cb and Cr in [-0.5, 0.5]; None when all sources are gray.
    descriptions : tuple of dict
        What a run record says of each source; see :func:`.describe_source`.
    own_pixels : tuple of OwnPixels, OwnFrames or None
        What each source was interpolated from, in gray and in [0, 1] as the images; None for a
        source that was not. Empty where none was.
    inside : tuple of ndarray of shape (..., M, N), bool, or None
        Which pixels each source saw; None for a source that saw all. Empty where all did.
    observations : tuple of Observation, ObservedFrames or None
        What each source saw on its own pixels, and what its sensor lost of what these pixels could
        show; None for a source that lost nothing. Empty where none did.
    place : Source or None
        The source whose pixels these are, by its axes, affine and units; None where nothing is
        known of them.
    grid : dict
        What a run record says of how the sources were brought to this place; empty where they
        lay there.
    axes : tuple of str
        Names of the axes of an image.
    steps : tuple of float
        Distance between neighbors along each of these axes, in pixels of a plane: 1 for rows and
        columns. Infinite along axes that are none of space, whose frames share nothing.
    """

    images: Floats
    windows: tuple[Window, ...]
    dtypes: tuple[np.dtype[Any], ...]
    chroma: Floats | None = None
    descriptions: tuple[dict[str, Any], ...] = ()
    own_pixels: tuple[OwnPixels | OwnFrames | None, ...] = ()
    inside: tuple[NDArray[np.bool_] | None, ...] = ()
    observations: tuple[Observation | ObservedFrames | None, ...] = ()
    place: Source | None = None
    grid: dict[str, Any] = field(default_factory=dict)
    axes: tuple[str, ...] = ("y", "x")
    steps: tuple[float, ...] = (1.0, 1.0)

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes of an image, the last of which are rows and columns."""
        return self.images.shape[1:]

    @property
    def stack_axes(self) -> tuple[str, ...]:
        """Names of the axes that come before rows and columns; none for planes."""
        return self.axes[:-2]

    @property
    def plane_count(self) -> int:
        """Number of planes."""
        return math.prod(self.shape[:-2])

    def take(self, index: tuple[int, ...]) -> "PreparedSources":
        """Return what lies at an index along the first axes: a plane, or a frame of a series.

        Parameters
        ----------
        index : tuple of int
            One number for each of the first axes.
        """
        count = len(index)
        there: tuple[Any, ...] = (slice(None), *index)
        images: Floats = self.images[there]
        chroma: Floats | None = None if self.chroma is None else self.chroma[there]
        return replace(
            self,
            images=images,
            chroma=chroma,
            own_pixels=tuple(take_own(own, index) for own in self.own_pixels),
            inside=tuple(None if i is None else i[index] for i in self.inside),
            observations=tuple(take_observation(o, index) for o in self.observations),
            axes=self.axes[count:],
            steps=self.steps[count:],
        )

    def add_color(self, luma: Floats) -> Floats:
        """Give a luma image of shape (..., M, N) the chroma of the sources.

        Returns
        -------
        ndarray of shape (..., M, N, 3) or (..., M, N)
            In [0, 1]. Chroma that leaves the range is reduced, so that the
            luma of the result is exactly `luma`. Gray sources: `luma` itself.
        """
        if self.chroma is None:
            return luma
        rgb = np.empty((*luma.shape, 3), dtype=np.float32)
        for index in np.ndindex(luma.shape[:-2]):
            rgb[index] = add_chroma(luma[index], self.chroma[:, *index])
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
        kind = np.dtype(self.dtypes[like] if dtype is None else dtype)
        rescaled = np.empty(image.shape, dtype=kind)
        for part in cut_parts(image):
            rescaled[part] = rescale_values(image[part], self.windows[like], kind)
        return rescaled


def prepare_sources(
    sources: Sequence[ArrayLike | Source] | GridSources,
    *,
    intensity: Intensity = _DEFAULT.intensity,
    percentiles: Window = _DEFAULT.percentiles,
    restore: str = "auto",
    names: Sequence[str] | None = None,
    paths: Sequence[str | None] | None = None,
    parts: bool = False,
) -> PreparedSources:
    """Bring aligned images of any real type to single-channel sources in [0, 1].

    Parameters
    ----------
    sources : sequence of K >= 2 images, or GridSources
        Each a Source, or an array of integers or floats of any range: a plane of shape (M, N),
        (M, N, 3) or (M, N, 4), or a volume of shape (Z, M, N); see :func:`.make_source`. Color is
        reduced to luma, with the chroma kept apart; a fourth channel (alpha) is ignored. Never
        modified.
    intensity : str or one entry per source
        ``auto`` (8-bit unsigned by 255, otherwise minimum and maximum of the
        data), ``minmax``, ``dtype`` (the full range of an integer type; [0, 1]
        for floats), ``percentiles``, or a window ``(low, high)`` in the
        source's units. Values outside the window are clipped.
    percentiles : (float, float)
        For ``intensity="percentiles"``.
    restore : {"auto", "always", "never"}
        Of which sources there are observations: those of pixels at least 1.3 times as large as
        these, or with a blur that these pixels could show taken back; those of any larger pixels,
        too; or none.
    names : sequence of str, optional
        For the run record; by default those of the Source objects, or numbers.
    paths : sequence of str or None, optional
        Files of the sources, for the run record.
    parts : bool
        Whether the images are parts of larger ones, of which a source may have seen nothing. What
        was not seen is 0, where otherwise it is as dark as the darkest that was.

    Raises
    ------
    ValueError
        For fewer than two sources, shapes that differ, types that are not
        real numbers, NaN or infinite values where something was seen, a mask that leaves nothing,
        or a constant image whose window would be empty.
    """
    place: Source | None = None
    grid: dict[str, Any] = {}
    if isinstance(sources, GridSources):
        grid = sources.describe()
        place, sources = sources.place, sources.images
    names, paths = _name_sources(sources, names, paths)
    given = _take_images(sources, names)
    if len(given) < 2:
        raise ValueError(f"a fusion needs two or more sources, got {len(given)}")
    _check_shapes(given, names)
    place = _find_place(given) if place is None else place
    modes = spread_intensity(intensity, len(given))
    images = np.empty((len(given), *given[0].shape), dtype=np.float32)
    windows, descriptions, chroma = [], [], Chroma(given[0].shape)
    inside = [_read_inside(*pair, parts=parts) for pair in zip(given, names, strict=True)]
    for image, source, seen, mode, name, path in zip(
        images, given, inside, modes, names, paths, strict=True
    ):
        # One source after another: that of a file may be read here, and be let go of.
        masked = seen if _is_masked(source) else None
        array = _check(source.to_numpy(), name, masked, color=source.rgb)
        window = find_window(array, mode, percentiles, name, masked)
        windows.append(widen_window(window, source, mode, restore))
        # The pixels as they are read, whatever mask covers some of them.
        descriptions.append(describe_source(array, windows[-1], name=name, path=path))
        if masked is not None:
            array = _hide_unseen(array, masked)
        for part in cut_parts(image):
            scaled = scale_values(array[part], windows[-1])
            image[part] = scaled @ LUMA if source.rgb else scaled
            if source.rgb:
                chroma.add(part, scaled)
        if parts and seen is not None:
            image[~seen] = 0
    axes, steps = measure_steps(place, images.ndim - 1)
    own_pixels = [find_own_values(*pair) for pair in zip(given, windows, strict=True)]
    seen_by = zip(given, images, own_pixels, inside, strict=True)
    return PreparedSources(
        images=images,
        windows=tuple(windows),
        dtypes=tuple(source.dtype for source in given),
        chroma=chroma.mix(),
        descriptions=tuple(descriptions),
        own_pixels=_leave_out([_keep_for_noise(own) for own in own_pixels]),
        inside=_leave_out(inside),
        observations=_leave_out([observe_source(*each, steps, restore) for each in seen_by]),
        place=place,
        grid=grid,
        axes=axes,
        steps=steps,
    )


def scale_to_unit_range(
    image: NDArray[Any] | Source,
    *,
    intensity: str | Window | None = None,
    percentiles: Window = _DEFAULT.percentiles,
    name: str = "the image",
) -> Floats:
    """Bring an image of any origin to [0, 1], in gray.

    Parameters
    ----------
    image : ndarray or Source
        As :func:`prepare_sources` takes them.
    intensity, percentiles
        As for :func:`prepare_sources`. By default
        floats in [0, 1] and 8-bit values are taken as they are, others by
        their own minimum and maximum.
    name : str
        For the message of an error.
    """
    source = image if isinstance(image, Source) else make_source(image, name=name)
    values = source.to_numpy()
    if intensity is None:
        inside = values.dtype.kind == "f" and values.min() >= 0 and values.max() <= 1
        intensity = "dtype" if inside or values.dtype == np.uint8 else "minmax"
    mode = intensity if isinstance(intensity, str) else (intensity, intensity)
    prepared = prepare_sources(
        [source, source], intensity=mode, percentiles=percentiles, names=[name, name]
    )
    gray: Floats = prepared.images[0]
    return gray


def take_own(own: OwnPixels | OwnFrames | None, index: tuple[int, ...]) -> OwnPixels | None:
    """Return what a frame was interpolated from.

    Parameters
    ----------
    own : OwnPixels, OwnFrames or None
        Of all frames.
    index : tuple of int
        Of the frame; empty where there is but one.
    """
    if isinstance(own, OwnFrames):
        return own.take(index)
    # Of a volume that is taken apart into planes, what each was interpolated from is not known.
    return own if not index else None


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
    # Of a volume a million pixels tell as much as all, and without copies of it.
    every = max(prepared.images[0].size // PART_PIXELS, 1)
    samples = [image.ravel()[::every] for image in prepared.images]
    return [
        number
        for number, sample in enumerate(samples)
        if np.mean(np.abs(sample - np.median(sample)) > _ONE_LEVEL) < _FEW
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


def _take_images(sources: Sequence[ArrayLike | Source], names: Sequence[str]) -> list[Source]:
    """Return the sources without axes of size one, and refuse those at different places."""
    images = [
        drop_single_axes(s if isinstance(s, Source) else make_source(s, name=name))
        for s, name in zip(sources, names, strict=True)
    ]
    known = [
        (i, n) for i, n, s in zip(images, names, sources, strict=True) if isinstance(s, Source)
    ]
    for image, name in known:
        first, first_name = known[0]
        if image.units != first.units or not _is_same_place(image.affine, first.affine):
            raise ValueError(
                f"{name} and {first_name} lie at different places or in different units; bring "
                "them to one grid first with sources.grid.resample_to_reference"
            )
    return images


def _is_same_place(affine: NDArray[Any], other: NDArray[Any]) -> bool:
    return affine.shape == other.shape and np.allclose(affine, other)


def _check_shapes(images: Sequence[Source], names: Sequence[str]) -> None:
    first = images[0].shape
    for image, name in zip(images, names, strict=True):
        if image.shape != first:
            raise ValueError(
                f"sources must share one shape, got {first} for {names[0]} and {image.shape} for "
                f"{name}; resample them to one grid first"
            )


def _find_place(images: Sequence[Source]) -> Source:
    """Return where sources lie: the first of them, those that say something of it before others."""
    return next((image for image in images if not is_placeless(image)), images[0])


def measure_steps(place: Source, ndim: int) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Return names of the axes of images, and the distance of neighbors in pixels of a plane.

    Parameters
    ----------
    place : Source
        Where the images lie.
    ndim : int
        Number of axes of an image, without those of the place that are of size one.

    Returns
    -------
    axes, steps
        As of :class:`PreparedSources`.
    """
    plane = find_plane_axes(place)
    pixel = np.sqrt(measure_pixel(place.affine, plane))
    unit = place.units[plane[-1]]
    named: dict[str, float] = {}
    for number, (axis, size) in enumerate(zip(place.axes, place.shape, strict=True)):
        if number in plane:
            named[axis] = 1.0
        elif size > 1:
            factor = find_factor(place.units[number], unit)
            in_space = find_kind(axis, place.units[number]) == "space" and factor is not None
            named[axis] = place.spacing[number] * factor / pixel if in_space else np.inf
    return tuple(named)[-ndim:], tuple(float(step) for step in named.values())[-ndim:]


def _leave_out(found: Sequence[T | None]) -> tuple[T | None, ...]:
    """Return what was found of each source; nothing where nothing was found."""
    return () if all(each is None for each in found) else tuple(found)


def _read_inside(source: Source, name: str, *, parts: bool) -> NDArray[np.bool_] | None:
    """Return which pixels a source saw; None for all. Of a part it may be none."""
    inside = source.inside if isinstance(source, ResampledSource) else source.mask
    if inside is None:
        return None
    seen = np.asarray(inside)
    if not (parts or seen.any()):
        raise ValueError(f"{name}: {NOTHING_SEEN}")
    return None if seen.all() else seen


def _is_masked(source: Source) -> bool:
    return source.is_masked if isinstance(source, ResampledSource) else source.mask is not None


def _hide_unseen(array: NDArray[Any], seen: NDArray[np.bool_]) -> NDArray[Any]:
    """Return an image that is dark where nothing was seen, whatever the file holds there."""
    hidden = array.copy()
    hidden[~seen] = 0 if array.dtype == np.uint8 else find_limits(array, seen)[0]
    return hidden


def _check(
    array: NDArray[Any], name: str, seen: NDArray[np.bool_] | None, *, color: bool
) -> NDArray[Any]:
    if array.dtype.kind not in "iuf":
        raise ValueError(
            f"{name} must hold integers or floats, got {array.dtype}; "
            "convert masks with .astype('uint8')"
        )
    if array.size == 0:
        raise ValueError(f"{name} is empty: its shape is {array.shape}")
    array = array[..., :3] if color else array
    if array.dtype.kind == "f":
        parts = cut_parts(array)
        bad = sum(_count_bad(array[p], None if seen is None else seen[p]) for p in parts)
        if bad:
            raise ValueError(
                f"{name} has {bad} NaN or infinite values of {array.size}; replace them "
                "first, for example with numpy.nan_to_num"
            )
    return array


def _count_bad(array: NDArray[Any], seen: NDArray[np.bool_] | None) -> int:
    """Return how many values are no numbers where something was seen."""
    return int(np.count_nonzero(~np.isfinite(array if seen is None else array[seen])))


def _keep_for_noise(own: OwnPixels | OwnFrames | None) -> OwnPixels | OwnFrames | None:
    """Return what the noise of a source is found in; None where that is the image itself."""
    if isinstance(own, OwnPixels):
        return own.take_core() if own.tells_noise else None
    return own
