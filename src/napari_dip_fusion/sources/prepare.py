"""Arrays of any real type, gray or color, to sources in [0, 1]."""

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_dip_fusion.config import FusionConfig, Intensity, Window
from napari_dip_fusion.record import describe_source
from napari_dip_fusion.sources.checks import (
    check_shapes,
    check_values,
    find_place,
    hide_unseen,
    is_masked,
    name_sources,
    read_inside,
    take_images,
)
from napari_dip_fusion.sources.color import LUMA, Chroma
from napari_dip_fusion.sources.grid import GridSources
from napari_dip_fusion.sources.own_frames import OwnFrames, find_own_values
from napari_dip_fusion.sources.own_pixels import OwnPixels
from napari_dip_fusion.sources.prepared import PreparedSources
from napari_dip_fusion.sources.restorable import observe_source, widen_window
from napari_dip_fusion.sources.scaling import (
    cut_parts,
    find_window,
    scale_values,
    spread_intensity,
)
from napari_dip_fusion.sources.source import Source, make_source
from napari_dip_fusion.sources.steps import measure_steps

__all__ = ["prepare_sources", "scale_to_unit_range"]

Floats = NDArray[np.float32]
T = TypeVar("T")

_DEFAULT = FusionConfig()


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
    names, paths = name_sources(sources, names, paths)
    given = take_images(sources, names)
    if len(given) < 2:
        raise ValueError(f"a fusion needs two or more sources, got {len(given)}")
    check_shapes(given, names)
    place = find_place(given) if place is None else place
    modes = spread_intensity(intensity, len(given))
    images = np.empty((len(given), *given[0].shape), dtype=np.float32)
    windows, descriptions, chroma = [], [], Chroma(given[0].shape)
    inside = [read_inside(*pair, parts=parts) for pair in zip(given, names, strict=True)]
    for image, source, seen, mode, name, path in zip(
        images, given, inside, modes, names, paths, strict=True
    ):
        # One source after another: that of a file may be read here, and be let go of.
        masked = seen if is_masked(source) else None
        array = check_values(source.to_numpy(), name, masked, color=source.rgb)
        window = find_window(array, mode, percentiles, name, masked)
        windows.append(widen_window(window, source, mode, restore))
        # The pixels as they are read, whatever mask covers some of them. No record tells of parts.
        described = {"name": name}
        if not parts:
            described = describe_source(array, windows[-1], name=name, path=path)
        descriptions.append(described)
        if masked is not None:
            array = hide_unseen(array, masked)
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


def _leave_out(found: Sequence[T | None]) -> tuple[T | None, ...]:
    """Return what was found of each source; nothing where nothing was found."""
    return () if all(each is None for each in found) else tuple(found)


def _keep_for_noise(own: OwnPixels | OwnFrames | None) -> OwnPixels | OwnFrames | None:
    """Return what the noise of a source is found in; None where that is the image itself."""
    if isinstance(own, OwnPixels):
        return own.take_core() if own.tells_noise else None
    return own
