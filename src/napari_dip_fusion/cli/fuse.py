"""The command dip-fusion fuse, which fuses files into one."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from numpy.typing import NDArray

from napari_dip_fusion.cli import console
from napari_dip_fusion.cli.options import (
    Channel,
    Choice,
    Device,
    Force,
    IntensityOption,
    Interpolation,
    Iterations,
    Level,
    MethodOption,
    Preset,
    Quiet,
    Reference,
    Seed,
    SetOption,
    Slice,
    TimeBudget,
    build_config,
)
from napari_dip_fusion.cli.outputs import (
    Outputs,
    base_gain_paths,
    check_outputs,
    gain_paths_in,
    output_kind,
    record_beside,
)
from napari_dip_fusion.cli.run import check_count, read_sources, run_fusion
from napari_dip_fusion.config import DIP, FusionConfig
from napari_dip_fusion.errors import FusionError
from napari_dip_fusion.record import array_sha256, read_record
from napari_dip_fusion.sources.grid import GridSources


def fuse_files(
    sources: Annotated[
        list[Path] | None,
        typer.Argument(help="Two or more images of one scene: files, or folders of DICOM."),
    ] = None,
    *,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="Fused image: .png, .tif, .ome.tif, .nii.gz, .ome.zarr, or all layers as "
            ".fusion.ome.tif.",
        ),
    ],
    preset: Preset = "fast",
    method: MethodOption = None,
    time_budget: TimeBudget = None,
    iterations: Iterations = None,
    seed: Seed = None,
    device: Device = None,
    intensity: IntensityOption = None,
    settings: SetOption = None,
    channel: Channel = None,
    plane: Slice = None,
    level: Level = None,
    reference: Reference = 0,
    interpolation: Interpolation = "linear",
    dtype: Annotated[
        str | None,
        typer.Option(
            help="Pixel type of the output: uint8, uint16 or float32 (not PNG). By default "
            "float32, and in PNG uint8 if all sources are, otherwise uint16."
        ),
    ] = None,
    like: Annotated[
        int | None,
        typer.Option(help="Write in the units and type of this source (0 is the first)."),
    ] = None,
    gains_dir: Annotated[
        Path | None, typer.Option(help="Folder for the gain maps of each source, as float32 TIFF.")
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option(help="Run record, JSON. By default beside the output, as NAME.record.json."),
    ] = None,
    replay: Annotated[
        Path | None,
        typer.Option(help="Run a record again: its sources and settings; only -o is needed."),
    ] = None,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Fuse two or more aligned images into one, with its metrics and run record."""
    changes = {
        "method": method,
        "time_budget": time_budget,
        "iterations": iterations,
        "seed": seed,
        "device": device,
    }
    choice = Choice(
        channel=tuple(channel or ()),
        plane=plane,
        level=level,
        reference=reference,
        interpolation=interpolation,
    )
    # The device is the one choice that a replay leaves open: it is another machine's, perhaps.
    if replay is not None:
        changed = [v is not None for name, v in changes.items() if name != "device"]
        given = [sources, intensity, settings, *changed]
        if any(given) or preset != "fast" or choice != Choice():
            raise ValueError("--replay takes sources and settings from the record; give only -o")
        paths, config, choice, hashes = _from_record(replay)
        config = config if device is None else config.replace(device=device)
    else:
        paths, hashes = list(sources or []), []
        config = build_config(preset, changes, intensity, settings)
    check_count(paths)
    if gains_dir is not None and config.method != DIP:
        raise ValueError(
            f"--gains-dir is for method dip, which alone estimates gains, got {config.method}"
        )
    kind = output_kind(output, dtype, like)
    gains = gain_paths_in(gains_dir, paths)
    outputs = Outputs(
        fused=output,
        record=record_beside(output) if record is None else record,
        gains=gains,
        base_gains=base_gain_paths(gains, config),
        dtype=kind,
        like=like,
        overwrite=force,
    )
    check_outputs(outputs, paths)
    read = read_sources(paths, choice, quiet=quiet)
    outputs.check_formats(read, [p.name for p in paths])
    _warn_of_changes(read.arrays, paths, hashes)
    _fuse_and_write(read, paths, config, choice, outputs, quiet=quiet)


def _fuse_and_write(
    read: GridSources,
    paths: Sequence[Path],
    config: FusionConfig,
    choice: Choice,
    outputs: Outputs,
    *,
    quiet: bool,
) -> None:
    names = [p.name for p in paths]
    try:
        notes = {"choice": dataclasses.asdict(choice)}
        result = run_fusion(read.arrays, paths, config, quiet=quiet, notes=notes)
    except FusionError as error:
        if error.result is None:
            raise
        outputs.write(error.result, read, names)
        raise FusionError(f"{error}; the best image so far is in {outputs.fused}") from error
    outputs.write(result, read, names)
    if not quiet:
        console.print_metrics({"fused": result.metrics})
        console.out.print(
            f"{outputs.fused} after {len(result.losses)} iterations ({result.stop_reason}), "
            f"{result.record['seconds']['total']:.1f} s; record in {outputs.record}",
            markup=False,
            soft_wrap=True,
        )


def _from_record(path: Path) -> tuple[list[Path], FusionConfig, Choice, list[str]]:
    """Return sources, settings, choice of images and hashes of a run record."""
    record = read_record(path)
    try:
        entries = record["sources"]
        missing = [str(e.get("name")) for e in entries if not e.get("path")]
        if missing:
            raise ValueError(
                f"{path} names no files for {', '.join(missing)}: it was run on arrays, not files"
            )
        config = _recorded_settings(record, path)
        paths, hashes = [Path(e["path"]) for e in entries], [e["sha256"] for e in entries]
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error}); use another record") from error
    return paths, config, _choice(record.get("choice", {}), path), hashes


def _recorded_settings(record: dict[str, Any], path: Path) -> FusionConfig:
    # Exactly the iterations that were run, whatever ended them.
    made = {"iterations": record["iterations"], "stop": "iterations"}
    try:
        return FusionConfig.from_dict(record["config"]).replace(**made)
    except ValueError as error:
        raise ValueError(f"{path} has settings that cannot be used: {error}") from error


def _choice(values: Any, path: Path) -> Choice:
    try:
        return Choice(**values)
    except TypeError as error:
        raise ValueError(f"{path} has a choice of images that is not known: {values}") from error


def _warn_of_changes(
    arrays: Sequence[NDArray[Any]], paths: Sequence[Path], hashes: Sequence[str]
) -> None:
    for array, path, expected in zip(arrays, paths, hashes, strict=False):
        if array_sha256(array) != expected:
            console.warn(f"{path} has changed since the record was written; the result will differ")
