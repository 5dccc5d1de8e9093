"""dip-fusion fuse."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from numpy.typing import NDArray

from napari_dip_fusion.cli import console
from napari_dip_fusion.cli.options import (
    Device,
    Force,
    IntensityOption,
    Iterations,
    Preset,
    Quiet,
    Seed,
    Settings,
    build_config,
)
from napari_dip_fusion.cli.outputs import (
    Outputs,
    check_folders,
    gain_paths_in,
    output_kind,
    refuse_existing,
    refuse_sources_as_output,
)
from napari_dip_fusion.cli.run import check_count, read_arrays, run_fusion
from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.errors import FusionError
from napari_dip_fusion.record import array_sha256, read_record


def fuse(
    sources: Annotated[
        list[Path] | None, typer.Argument(help="Two or more aligned images: PNG, JPEG or TIFF.")
    ] = None,
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Fused image: a .png or .tif file.")
    ],
    preset: Preset = "fast",
    iterations: Iterations = None,
    seed: Seed = None,
    device: Device = None,
    intensity: IntensityOption = None,
    settings: Settings = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            help="Pixel type of the output: uint8, uint16 or float32 (TIFF only). By default "
            "float32 in TIFF, and in PNG uint8 if all sources are, otherwise uint16."
        ),
    ] = None,
    like: Annotated[
        int | None,
        typer.Option(help="Write in the units and type of this source (0 is the first)."),
    ] = None,
    gains_dir: Annotated[
        Path | None, typer.Option(help="Folder for the gain map of each source, as float32 TIFF.")
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
    changes = {"iterations": iterations, "seed": seed, "device": device}
    if replay is not None:
        if sources or iterations or seed is not None or intensity or settings:
            raise ValueError("--replay takes sources and settings from the record; give only -o")
        paths, config, hashes = _from_record(replay)
        config = config if device is None else config.replace(device=device)
    else:
        paths, hashes = list(sources or []), None
        config = build_config(preset, changes, intensity, settings)
    check_count(paths)
    record = output.with_name(f"{output.stem}.record.json") if record is None else record
    kind = output_kind(output, dtype, like)
    gain_paths = gain_paths_in(gains_dir, paths)
    check_folders([output, record])
    refuse_existing([output, record, *gain_paths], force)
    refuse_sources_as_output([output, record, *gain_paths], paths)
    arrays = read_arrays(paths)
    _warn_of_changes(arrays, paths, hashes)
    write = Outputs(output, record, gain_paths, kind, like, force)
    try:
        result = run_fusion(arrays, paths, config, quiet=quiet)
    except FusionError as error:
        if error.result is None:
            raise
        write(error.result)
        raise FusionError(f"{error}; the best image so far is in {output}") from error
    write(result)
    if not quiet:
        console.print_metrics({"fused": result.metrics})
        console.out.print(
            f"{output} after {len(result.losses)} iterations ({result.stop_reason}), "
            f"{result.record['seconds']['total']:.1f} s; record in {record}",
            markup=False,
            soft_wrap=True,
        )


def _from_record(path: Path) -> tuple[list[Path], FusionConfig, list[str]]:
    """Return sources, settings and hashes of a run record."""
    record = read_record(path)
    entries = record["sources"]
    missing = [str(e.get("name")) for e in entries if not e.get("path")]
    if missing:
        raise ValueError(
            f"{path} names no files for {', '.join(missing)}: it was run on arrays, not on files"
        )
    # Exactly the iterations that were run, whatever ended them.
    config = FusionConfig.from_dict(record["config"]).replace(
        iterations=record["iterations"], stop="iterations"
    )
    return [Path(e["path"]) for e in entries], config, [e["sha256"] for e in entries]


def _warn_of_changes(
    arrays: Sequence[NDArray[Any]], paths: Sequence[Path], hashes: Sequence[str] | None
) -> None:
    for array, path, expected in zip(arrays, paths, hashes or [], strict=False):
        if array_sha256(array) != expected:
            console.warn(f"{path} has changed since the record was written; the result will differ")
