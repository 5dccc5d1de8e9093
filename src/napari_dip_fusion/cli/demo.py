"""The command dip-fusion demo, which fuses a synthetic pair and shows what is restored of it."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from numpy.typing import NDArray

from napari_dip_fusion import fusion
from napari_dip_fusion.cli import console
from napari_dip_fusion.cli.options import (
    Device,
    Force,
    Iterations,
    Preset,
    Quiet,
    Seed,
    SetOption,
    build_config,
)
from napari_dip_fusion.cli.output_names import name_base_gains
from napari_dip_fusion.cli.outputs import Outputs, check_outputs
from napari_dip_fusion.cli.run import run_fusion
from napari_dip_fusion.cli.run_bar import watch
from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.errors import TorchMissingError
from napari_dip_fusion.fusion.figures import draw_fusion
from napari_dip_fusion.fusion.result import FusionResult
from napari_dip_fusion.io import write_atomically
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.grid import GridSources, resample_to_reference

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Of the networks, so that a demonstration ends within two minutes where the processor is slow or
# busy; elsewhere they have made all iterations by then.
_SECONDS = 75.0

# PET, and the fused image.
_Pictures = tuple[NDArray[Any], NDArray[Any]]


def run_demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the results; made if needed.")
    ] = Path("dip-fusion-demo"),
    *,
    preset: Preset = "fast",
    iterations: Iterations = None,
    seed: Seed = None,
    device: Device = None,
    settings: SetOption = None,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Fuse a synthetic pair, an MR and a coarse and blurred PET, and show what is restored."""
    changes = {"iterations": iterations, "seed": seed, "device": device}
    config = build_config(preset, changes, None, settings)
    if not (config.fit.iterations or config.fit.time_budget):
        config = config.replace(time_budget=_SECONDS)
    # Its images come with SciPy and scikit-image, which no other command waits for.
    from napari_dip_fusion.samples import SAMPLES

    sample = SAMPLES["head-pet"]()
    names = list(sample.source_names)
    outputs = _name_outputs(output, names, config, force=force)
    output.mkdir(parents=True, exist_ok=True)
    check_outputs(outputs, [])
    sources = resample_to_reference([s for s in sample.sources if isinstance(s, Source)])
    result, config = _fuse(sources, names, config, quiet=quiet)
    # The place is that of millimeters, which pictures drop with a warning.
    outputs.write(result, replace(sources, place=Source(sources.place.data)), names)
    rows = {**_fuse_more_simply(sources, config, quiet=quiet), "result": result}
    true = fusion.fuse(sample.undegraded, _leave_out_restoration(config))
    pictures = {name: _take_pictures(row) for name, row in {**rows, "truth": true}.items()}
    drawn = {"figure.png": draw_fusion(result, names), "comparison.png": _draw(pictures)}
    for name, figure in drawn.items():
        with write_atomically(output / name, overwrite=force) as temporary:
            figure.savefig(temporary, format="png", dpi=110)
    if not quiet:
        _print_likeness(pictures)
        console.print_end(result.record, f"look at {' and '.join(str(output / n) for n in drawn)}")


def _name_outputs(folder: Path, names: list[str], config: FusionConfig, *, force: bool) -> Outputs:
    gains = [folder / f"gain_{n}.tif" for n in names]
    return Outputs(
        fused=folder / "fused.png",
        record=folder / "fused.record.json",
        gains=gains,
        base_gains=name_base_gains(gains, config),
        figure=folder / "figure.png",
        dtype="uint8",
        overwrite=force,
    )


def _fuse(
    sources: GridSources, names: list[str], config: FusionConfig, *, quiet: bool
) -> tuple[FusionResult, FusionConfig]:
    """Return the result and its settings, without a network where it is not asked for by name."""
    try:
        return run_fusion(sources, names, config, quiet=quiet), config
    except TorchMissingError as error:
        if config.fit.network != "auto":
            raise
        console.warn(str(error))
    config = config.replace(network="never")
    return run_fusion(sources, names, config, quiet=quiet), config


def _fuse_more_simply(
    sources: GridSources, config: FusionConfig, *, quiet: bool
) -> dict[str, FusionResult]:
    """Return what other programs do, and what comes before a network that restores."""
    simpler = {"linear interpolation": _leave_out_restoration(config)}
    if config.restoration.restore != "never" and config.fit.network != "never":
        simpler["denoiser"] = config.replace(network="never")
    return {
        name: watch(fusion.iter_fuse(sources, changed), quiet=quiet, announce=lambda decided: None)
        for name, changed in simpler.items()
    }


def _leave_out_restoration(config: FusionConfig) -> FusionConfig:
    return config.replace(restore="never", network="never")


def _take_pictures(result: FusionResult) -> _Pictures:
    images = result.sources.images if result.restored is None else result.restored
    return images[1], result.image


def _draw(pictures: Mapping[str, _Pictures]) -> "Figure":
    """Draw PET above the fused image, as each way makes them."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3 * len(pictures), 6.4), layout="constrained")
    axes = figure.subplots(2, len(pictures))
    for column, (name, pair) in zip(axes.T, pictures.items(), strict=True):
        for ax, kind, image in zip(column, ("PET", "fused"), pair, strict=True):
            ax.imshow(image, cmap="gray", vmin=0, vmax=1)
            ax.set_title(f"{kind}, {name}", fontsize=10)
            ax.set_axis_off()
    return figure


def _print_likeness(pictures: Mapping[str, _Pictures]) -> None:
    """Print how like the true images are those of each other way."""
    truth = pictures["truth"]
    scores = {n: _compare(pair, truth) for n, pair in pictures.items() if pair is not truth}
    console.out.print("Likeness to the true PET, and to the fusion of it with MR (PSNR in dB):")
    console.print_scores(scores)


def _compare(pictures: _Pictures, truth: _Pictures) -> dict[str, float]:
    """Return what can be measured where the truth is known."""
    from skimage import metrics

    psnr: Any = metrics.peak_signal_noise_ratio
    ssim: Any = metrics.structural_similarity
    scores = {}
    for kind, image, true in zip(("PET", "fused"), pictures, truth, strict=True):
        scores[f"{kind} PSNR"] = float(psnr(true, image, data_range=1.0))
        scores[f"{kind} SSIM"] = float(ssim(true, image, data_range=1.0))
    return scores
