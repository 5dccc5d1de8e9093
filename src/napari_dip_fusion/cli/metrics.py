"""The command dip-fusion metrics, which scores a fused image against its sources."""

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from napari_dip_fusion.cli import console
from napari_dip_fusion.cli.options import (
    Channel,
    Choice,
    IntensityOption,
    Level,
    Reference,
    Slice,
    Sources,
    parse_intensity,
)
from napari_dip_fusion.cli.run import check_count, read_sources
from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.io import read_images, read_plane
from napari_dip_fusion.metrics import evaluate
from napari_dip_fusion.sources.prepare import prepare_sources, scale_to_unit_range


def score_files(
    sources: Sources,
    *,
    fused: Annotated[Path, typer.Option(help="Fused image of any origin.")],
    which: Annotated[
        list[str] | None,
        typer.Option(help="Metric to compute (repeatable), or all. By default those of the paper."),
    ] = None,
    intensity: IntensityOption = None,
    channel: Channel = None,
    plane: Slice = None,
    level: Level = None,
    reference: Reference = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON in place of a table.")
    ] = False,
) -> None:
    """Print quality metrics of a fused image against its sources.

    Sources are prepared as for a fusion; unsigned integers of the fused image are
    divided by the largest of their type, floats are taken as they are.
    """
    check_count(sources)
    choice = Choice(channel=tuple(channel or ()), plane=plane, level=level, reference=reference)
    arrays = read_sources(sources, choice).arrays
    windows = FusionConfig(intensity=parse_intensity(intensity)).intensity
    names = [path.name for path in sources]
    prepared = prepare_sources(arrays, intensity=windows, names=names)
    image = _prepare_fused(_read_fused(fused), fused, prepared.shape)
    chosen = "all" if which == ["all"] else which
    values = evaluate(prepared.images, image, data_range=1.0, which=chosen)
    if as_json:
        typer.echo(json.dumps(values, indent=2))
    else:
        console.print_metrics({fused.name: values})


def _read_fused(path: Path) -> NDArray[Any]:
    """Read the one plane of a file, or the fused image of a bundle."""
    names = [image.name for image in read_images(path)]
    channel = "fused" if len(names) > 1 and names.count("fused") == 1 else None
    return read_plane(path, channel=channel).to_numpy()


def _prepare_fused(image: NDArray[Any], path: Path, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Bring a fused image to gray in [0, 1]."""
    if image.shape[:2] != shape:
        raise ValueError(
            f"the fused image must have the size of the sources, {shape[0]}x{shape[1]}, got "
            f"{image.shape[0]}x{image.shape[1]} in {path}"
        )
    # The metrics need gray levels from black to white, which only some types have by themselves.
    if image.dtype.kind == "i":
        raise ValueError(
            f"a fused image of signed integers ({image.dtype}) has no known range, got {path}; "
            "write it without --like, as unsigned integers or floats in [0, 1]"
        )
    if image.dtype.kind == "f" and not (image.min() >= 0 and image.max() <= 1):
        raise ValueError(
            "float values of a fused image must be finite and lie in [0, 1], got "
            f"{image.min():g} to {image.max():g} in {path}"
        )
    single: NDArray[np.float32] = scale_to_unit_range(image, intensity="dtype", name=path.name)
    return single
