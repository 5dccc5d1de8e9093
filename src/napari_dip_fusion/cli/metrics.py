"""The command dip-fusion metrics, which scores a fused image against its sources."""

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from napari_dip_fusion.cli import console
from napari_dip_fusion.cli.options import (
    Channel,
    Choice,
    Force,
    IntensityOption,
    Level,
    PlanesCsv,
    Reference,
    Slice,
    Sources,
    parse_intensity,
)
from napari_dip_fusion.cli.planes import write_plane_scores
from napari_dip_fusion.cli.reading import check_count, read_sources
from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.io import read_image, read_images
from napari_dip_fusion.metrics import average_planes, describe_mean, evaluate_planes
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.parts import choose_plane, drop_single_axes
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
    planes_csv: PlanesCsv = None,
    force: Force = False,
) -> None:
    """Print quality metrics of a fused image against its sources.

    Sources are prepared as for a fusion; unsigned integers of the fused image are
    divided by the largest of their type, floats are taken as they are. The metrics of a volume
    or a series are the mean over its planes.
    """
    check_count(sources)
    if planes_csv is not None and planes_csv.exists() and not force:
        raise FileExistsError(f"{planes_csv} exists; choose another name or add --force")
    choice = Choice(channel=tuple(channel or ()), plane=plane, level=level, reference=reference)
    read = read_sources(sources, choice)
    windows = FusionConfig(intensity=parse_intensity(intensity)).intensity
    names = [path.name for path in sources]
    prepared = prepare_sources(read, intensity=windows, names=names)
    image = _prepare_fused(_read_fused(fused, plane), fused, prepared.shape)
    chosen = "all" if which == ["all"] else which
    scores = evaluate_planes(prepared.images, image, data_range=1.0, which=chosen)
    if planes_csv is not None:
        write_plane_scores(planes_csv, prepared.axes, scores, overwrite=force)
    values = average_planes(scores)
    if as_json:
        typer.echo(json.dumps(values, indent=2))
    else:
        console.print_metrics({fused.name: values}, title=describe_mean(scores))


def _read_fused(path: Path, plane: str | None) -> Source:
    """Read the image of a file, or the fused image of a bundle; of a stack the chosen part."""
    names = [image.name for image in read_images(path)]
    channel = "fused" if len(names) > 1 and names.count("fused") == 1 else None
    image = drop_single_axes(read_image(path, channel=channel))
    return image if plane is None or image.ndim == 2 else choose_plane(image, plane)


def _prepare_fused(image: Source, path: Path, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Bring a fused image to gray in [0, 1]."""
    if image.shape != tuple(n for n in shape[:-2] if n > 1) + shape[-2:]:
        sizes, found = ("x".join(map(str, s)) for s in (shape, image.shape))
        raise ValueError(
            f"the fused image must have the size of the sources, {sizes}, got {found} in {path}"
        )
    pixels = image.to_numpy()
    # The metrics need gray levels from black to white, which only some types have by themselves.
    if pixels.dtype.kind == "i":
        raise ValueError(
            f"a fused image of signed integers ({pixels.dtype}) has no known range, got {path}; "
            "write it without --like, as unsigned integers or floats in [0, 1]"
        )
    if pixels.dtype.kind == "f" and not (pixels.min() >= 0 and pixels.max() <= 1):
        raise ValueError(
            "float values of a fused image must be finite and lie in [0, 1], got "
            f"{pixels.min():g} to {pixels.max():g} in {path}"
        )
    # Planes that lie below each other are one to what looks at single pixels.
    tall = pixels.reshape(-1, *pixels.shape[image.ndim - 1 :])
    return scale_to_unit_range(tall, intensity="dtype", name=path.name).reshape(shape)
