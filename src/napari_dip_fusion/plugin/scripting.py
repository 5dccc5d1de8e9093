"""Fusions in a scripted napari session: the widget's layers without the widget."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from napari.components import ViewerModel
from napari.layers import Layer

from napari_dip_fusion.blocks import BlockDone, BlocksBegun, BlocksDone, BlocksResult
from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.fusion import Control, FusionResult, fuse
from napari_dip_fusion.plugin.layers.acquisition import Acquisition, get_declared_fwhm
from napari_dip_fusion.plugin.layers.layer_record import note_sources
from napari_dip_fusion.plugin.layers.layer_report import is_stacked
from napari_dip_fusion.plugin.layers.restored_layers import (
    add_coverage_layers,
    add_restored_layers,
)
from napari_dip_fusion.plugin.layers.result_layers import (
    ROLE,
    add_fused_layer,
    add_gain_layers,
    make_metadata,
    name_consensus,
    name_fused,
    show_consensus,
)
from napari_dip_fusion.plugin.running.block_choice import BlockChoice
from napari_dip_fusion.plugin.running.block_run import BlockRun, iter_block_events
from napari_dip_fusion.plugin.running.plan import Plan, make_plan
from napari_dip_fusion.plugin.running.provenance import read_sources
from napari_dip_fusion.prior.devices import resolve_device


def fuse_layers(
    viewer: ViewerModel,
    layers: Sequence[str | Layer],
    preset: str = "fast",
    *,
    config: FusionConfig | None = None,
    reference: str | Layer | None = None,
    interpolation: str = "linear",
    level: int | str = "auto",
    whole: bool = False,
    fwhm: Mapping[str, float | Sequence[float]] | None = None,
    masks: Mapping[str, str | Layer] | None = None,
    gains: bool = True,
    consensus: bool = False,
    restored: bool = False,
    coverage: bool = False,
    control: Control | None = None,
    **changes: Any,
) -> FusionResult:
    """Fuse layers of a viewer and add the result to it, in the calling thread.

    Parameters
    ----------
    viewer : napari.Viewer
    layers : sequence of str or Layer
        Two or more image layers or their names. Of layers with more than two
        dimensions, the plane now shown is fused, in a thick slice the projection of
        several planes that is shown; or all planes, by `whole`.
    preset : str
        Settings to start from.
    config : FusionConfig, optional
        Settings to start from in place of a preset.
    reference : str or Layer, optional
        The layer whose grid and place the result takes, and to which the
        others are resampled; by default the one with the finest pixels, so that
        nothing is lost.
    interpolation : {"linear", "nearest"}
        For layers on other grids.
    level : int or "auto"
        Level of a multiscale reference; the finest that fits by default.
    whole : bool
        Whether to fuse whole stacks: volumes in three dimensions, and series frame by
        frame with the same settings. The reference must then be one of the layers.
    fwhm : mapping of str to float or sequence of float, optional
        How wide the sensor of a layer, by its name, blurs a point: full width at half maximum in
        the units of the layer, everywhere or along each of its axes. By default as the layer's
        metadata say it under ``"fwhm"``, or no wider than its pixels, which is 0.
    masks : mapping of str to str or Layer, optional
        For a layer, by its name, another one of the same pixels that is not 0 where the first saw
        something.
    gains, consensus : bool
        Whether to add the gain maps (of base and details, in two bands), and the
        closed-form image T.
    restored, coverage : bool
        Whether to add the sources that were restored, as they then are, and, as labels, which
        pixels each source saw, where one did not see all.
    control : Control, optional
        Stops or pauses the run from another thread.
    **changes
        Fields of :class:`~napari_dip_fusion.config.FusionConfig` that differ.

    Returns
    -------
    FusionResult
        The run record and metrics are also in the fused layer's
        ``metadata["dip_fusion"]``.

    Raises
    ------
    ValueError
        If there is no such layer, or layers or settings cannot be used; the
        message says what to do.
    FusionError
        If the run fails on the way.

    Warns
    -----
    UserWarning
        If a layer covers little of the reference, or has other dimensions.

    Examples
    --------
    >>> from napari.components import ViewerModel
    >>> from napari_dip_fusion.samples import head_phantom
    >>> viewer = ViewerModel()
    >>> for name, image in zip(("CT", "MR"), head_phantom(shape=(32, 32)).sources):
    ...     _ = viewer.add_image(image, name=name)
    >>> result = fuse_layers(viewer, ["CT", "MR"], iterations=2, width=4, band_sigma=0.0)
    >>> [layer.name for layer in viewer.layers]
    ['CT', 'MR', 'CT gain', 'MR gain', 'fused CT + MR']
    """
    plan = _make_plan(
        viewer,
        layers,
        _choose_settings(preset, config, changes),
        reference=reference,
        fwhm=fwhm,
        masks=masks,
        level=level,
        interpolation=interpolation,
        whole=whole,
    )
    sources, provenance = read_sources(plan)
    notes = {**plan.notes, **provenance.notes}
    result = fuse(sources, plan.config, control=control, notes=notes, **plan.grid)
    names, place = plan.names, plan.place
    if gains and result.gains is not None:
        add_gain_layers(viewer, result.gains, names, place, base_gains=result.base_gains)
    if consensus and result.consensus is not None:
        image = show_consensus(result.sources, result.consensus)
        name = name_consensus(names)
        add_fused_layer(viewer, image, name, place, metadata={ROLE: "consensus"})
    if restored:
        add_restored_layers(viewer, result, names, place)
    if coverage:
        add_coverage_layers(viewer, result, names, place)
    # The fused image is the last, and so the topmost.
    metadata = make_metadata(result.record, result.metrics, place)
    fused = add_fused_layer(viewer, result.image, name_fused(names), place, metadata=metadata)
    note_sources(fused, plan.layer_ids)
    return result


def fuse_layer_blocks(
    viewer: ViewerModel,
    layers: Sequence[str | Layer],
    output: str | Path,
    preset: str = "fast",
    *,
    config: FusionConfig | None = None,
    reference: str | Layer | None = None,
    interpolation: str = "linear",
    level: int = 0,
    whole: bool = True,
    fwhm: Mapping[str, float | Sequence[float]] | None = None,
    masks: Mapping[str, str | Layer] | None = None,
    block: int = 0,
    workers: int = 0,
    resume: bool = False,
    control: Control | None = None,
    **changes: Any,
) -> BlocksResult:
    """Fuse layers of a viewer block by block into a file, and add that as a layer.

    Images may be larger than the memory: of those that dask or zarr read, and of files that this
    plugin opened, one block after the other is read.

    Parameters
    ----------
    viewer, layers, preset, config, reference, interpolation, fwhm, masks, control, **changes
        As for :func:`fuse_layers`. The reference must be one of the layers.
    output : path-like
        The OME-Zarr folder, whose name ends in ``.ome.zarr``, or the bundle of sources and fused
        image, ``.fusion.ome.tif``.
    level : int
        Level of a multiscale reference.
    whole : bool
        Whether to fuse all planes of stacks, and not the one that is shown.
    block : int
        Rows and columns of a block; by default as :func:`~napari_dip_fusion.fuse_blocks` does.
    workers : int
        Processes that compute; 0 for this one alone.
    resume : bool
        Whether to go on with a run into this file that was not finished.

    Returns
    -------
    BlocksResult
        The run record and metrics are also in the layer's ``metadata["dip_fusion"]``.

    Raises
    ------
    ValueError
        If there is no such layer, layers or settings cannot be used, or the output exists.
    FusionError
        If the run fails on the way: what is done is kept, and `resume` goes on with it.

    Warns
    -----
    UserWarning
        As :func:`fuse_layers`.
    """
    choice = BlockChoice(Path(output).absolute(), block, workers, resume)
    choice.refuse_output()
    plan = _make_plan(
        viewer,
        layers,
        _choose_settings(preset, config, changes),
        reference=reference,
        fwhm=fwhm,
        masks=masks,
        level=level,
        interpolation=interpolation,
        whole=whole and any(is_stacked(_find_layer(viewer, layer)) for layer in layers),
        blocks=choice,
    )
    run = BlockRun(viewer, plan, None)
    try:
        control = Control() if control is None else control
        for event in iter_block_events(plan.drop_layers(), control, run.focus):
            if isinstance(event, BlocksBegun | BlockDone):
                run.take(event)
            elif isinstance(event, BlocksDone):
                run.finish(event.result)
                return event.result
    finally:
        run.close()
    raise AssertionError("a run block by block ends with BlocksDone")


def _choose_settings(
    preset: str, config: FusionConfig | None, changes: Mapping[str, Any]
) -> FusionConfig:
    """Return settings, or without any those of a preset, with some of them changed."""
    start = FusionConfig.preset(preset) if config is None else config
    return start.replace(**changes)


def _make_plan(
    viewer: ViewerModel,
    layers: Sequence[str | Layer],
    settings: FusionConfig,
    *,
    reference: str | Layer | None,
    fwhm: Mapping[str, float | Sequence[float]] | None,
    masks: Mapping[str, str | Layer] | None,
    **options: Any,
) -> Plan:
    """Return the plan of a run on layers, or on those of these names, and warn of what it warns."""
    sources = [_find_layer(viewer, layer) for layer in layers]
    # This imports torch: the memory that level auto has to fit may be a GPU's.
    resolve_device(settings.compute.device)
    plan = make_plan(
        sources,
        None if reference is None else _find_layer(viewer, reference),
        viewer.dims,
        settings,
        acquisitions=_find_acquisitions(viewer, sources, fwhm or {}, masks or {}),
        **options,
    )
    # Python's warnings and not napari's: a script may have no window to show them in.
    for text in plan.warnings:
        warnings.warn(text, stacklevel=3)
    return plan


def _find_acquisitions(
    viewer: ViewerModel,
    layers: Sequence[Layer],
    fwhm: Mapping[str, float | Sequence[float]],
    masks: Mapping[str, str | Layer],
) -> list[Acquisition]:
    """Return how each of the layers was taken."""
    names = [layer.name for layer in layers]
    for name in (*fwhm, *masks):
        if name not in names:
            raise ValueError(f"{name!r} is not fused; the layers are {', '.join(names)}")
    found = []
    for layer in layers:
        width = fwhm.get(layer.name, get_declared_fwhm(layer))
        mask = masks.get(layer.name)
        found.append(
            Acquisition(
                width if isinstance(width, float | int) else tuple(width),
                None if mask is None else _find_layer(viewer, mask),
            )
        )
    return found


def _find_layer(viewer: ViewerModel, layer: str | Layer) -> Layer:
    names = [existing.name for existing in viewer.layers]
    if isinstance(layer, str):
        if layer not in names:
            raise ValueError(f"no layer is called {layer!r}; the layers are {', '.join(names)}")
        return viewer.layers[layer]
    if layer not in viewer.layers:
        raise ValueError(f"{layer.name!r} is not in the viewer; the layers are {', '.join(names)}")
    return layer
