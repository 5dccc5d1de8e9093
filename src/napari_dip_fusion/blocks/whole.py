"""Images of any size are fused by one call: in memory where they fit, else block by block."""

import math
import shutil
import tempfile
import warnings
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.blocks.events import BlocksResult
from napari_dip_fusion.blocks.parts import prepare_part
from napari_dip_fusion.blocks.plan import Plan
from napari_dip_fusion.blocks.run import fuse_blocks
from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.errors import StoppedError
from napari_dip_fusion.fusion import steps
from napari_dip_fusion.fusion.control import Control
from napari_dip_fusion.fusion.memory import explain_lack
from napari_dip_fusion.fusion.preparation import Sources
from napari_dip_fusion.fusion.result import FusionResult
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.grid import GridSources
from napari_dip_fusion.sources.prepared import PreparedSources
from napari_dip_fusion.sources.steps import measure_steps

__all__ = ["find_lack", "fuse"]

Floats = NDArray[np.float32]


def fuse(
    sources: Sources,
    config: FusionConfig | None = None,
    *,
    names: Sequence[str] | None = None,
    paths: Sequence[str | None] | None = None,
    control: Control | None = None,
    notes: Mapping[str, Any] | None = None,
    reference: int | None = None,
    plane: int | str | None = None,
    interpolation: str = "linear",
) -> FusionResult:
    """Fuse images of one scene into one: planes, volumes, or series of either, of any size.

    It is :func:`napari_dip_fusion.fusion.fuse` for images that fit into memory. Larger ones are
    fused block by block, as :func:`~napari_dip_fusion.fuse_blocks` does, which a warning says.

    Parameters
    ----------
    sources, config, names, paths, control, notes, reference, plane, interpolation
        As for :func:`napari_dip_fusion.fusion.fuse`.

    Returns
    -------
    FusionResult
        Of images that do not fit into memory, image and prepared sources are arrays in temporary
        files, which are removed with them, and there are no gains.

    Raises
    ------
    ValueError, FusionError
        As :func:`napari_dip_fusion.fusion.fuse`.

    Examples
    --------
    >>> from napari_dip_fusion.samples import SAMPLES
    >>> fuse(SAMPLES["head"]().sources).image.shape
    (256, 256)
    """
    config = FusionConfig() if config is None else config
    choice: dict[str, Any] = {
        "reference": reference,
        "plane": plane,
        "interpolation": interpolation,
        "names": names,
        "paths": paths,
    }
    plan = _plan_blocks(sources, config, choice)
    lack = find_lack(plan) if plan else ""
    if plan is None or not lack:
        return steps.fuse(sources, config, control=control, notes=notes, **choice)
    warnings.warn(f"{lack}: they are fused block by block", stacklevel=2)
    return _fuse_on_disk(plan, sources, choice, control, notes)


def find_lack(plan: Plan) -> str:
    """Return how much memory the whole would need and how much is free; empty if that is enough.

    Parameters
    ----------
    plan : Plan
        Nothing of its sources is read.
    """
    distances = measure_steps(plan.cutter.place, len(plan.axes))[1]
    return explain_lack(plan.config, plan.shape, len(plan.cutter.sources), steps=distances)


def _plan_blocks(sources: Sources, config: FusionConfig, choice: dict[str, Any]) -> Plan | None:
    """Return how sources would be fused block by block; None where that cannot or need not be."""
    if isinstance(sources, GridSources | PreparedSources) or not len(sources):
        return None
    shapes = [s.shape if isinstance(s, Source) else np.shape(s) for s in sources]
    largest = max(shapes, key=math.prod)
    # The whole is no larger than its largest source.
    if len(largest) < 2 or not explain_lack(config, largest, len(shapes)):
        return None
    try:
        return Plan.make(sources, config, **choice)
    except ValueError:
        # Whoever fuses the whole says what is wrong.
        return None


def _fuse_on_disk(
    plan: Plan,
    sources: Any,
    choice: dict[str, Any],
    control: Control | None,
    notes: Mapping[str, Any] | None,
) -> FusionResult:
    """Return what was fused block by block, with its arrays in temporary files."""
    folder = Path(tempfile.mkdtemp(prefix="dip-fusion-"))
    try:
        done = fuse_blocks(
            sources,
            folder / "fused.ome.zarr",
            plan.config,
            control=control,
            notes=notes,
            **choice,
        )
        if not done.is_complete:
            raise StoppedError(
                f"stopped after {done.done} of {done.total} blocks, and nothing was kept; "
                "fuse_blocks keeps what is done, and takes it up"
            )
        image, prepared = _map_results(plan, done, folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    # The files go with the image, at the latest with this process.
    weakref.finalize(image, shutil.rmtree, folder, ignore_errors=True)
    return FusionResult(
        image=image,
        metrics=done.metrics,
        record=done.record,
        sources=prepared,
        stop_reason=done.stop_reason,
        noise=tuple(done.record["noise"]),
    )


def _map_results(plan: Plan, done: BlocksResult, folder: Path) -> tuple[Floats, PreparedSources]:
    """Return the fused image and the prepared sources as arrays in files."""
    place, fused = plan.cutter.place, done.to_source()
    colors = fused.data.shape[fused.ndim :]
    image = _map(folder / "image", (*plan.shape, *colors))
    images = _map(folder / "sources", (len(plan.cutter.sources), *plan.shape))
    windows = tuple(tuple(entry["intensity_window"]) for entry in done.record["sources"])
    layout = plan.choose_layout(None)
    for index in layout:
        core = layout.locate(index).core
        kept = (axis in plan.axes for axis in place.axes)
        there = tuple(part for part, is_kept in zip(core, kept, strict=True) if is_kept)
        sizes = tuple(part.stop - part.start for part in there)
        image[there] = np.asarray(fused.data[core]).reshape(*sizes, *colors)
        prepared = prepare_part(plan.cutter.cut(core), windows, plan.config)
        images[:, *there] = prepared.images.reshape(-1, *sizes)
    axes, distances = measure_steps(place, len(plan.axes))
    return image, PreparedSources(
        images=images,
        windows=windows,
        dtypes=tuple(source.dtype for source in plan.cutter.sources),
        descriptions=tuple(done.record["sources"]),
        place=place,
        grid=plan.cutter.describe(),
        axes=axes,
        steps=distances,
    )


def _map(path: Path, shape: tuple[int, ...]) -> Floats:
    """Return an array in a file, as large as the disk allows."""
    array: Floats = np.memmap(path, np.float32, "w+", shape=shape)
    return array
