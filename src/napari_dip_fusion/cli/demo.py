"""The command dip-fusion demo, which fuses a synthetic pair and shows what comes out."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

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
from napari_dip_fusion.cli.outputs import Outputs, check_outputs, name_base_gains
from napari_dip_fusion.cli.run import run_fusion
from napari_dip_fusion.fusion.figures import draw_fusion
from napari_dip_fusion.io import write_atomically
from napari_dip_fusion.methods.baselines import make_baselines
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.grid import resample_to_reference


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
    """Fuse a synthetic pair, a CT with speckle and a noisy MR, and show what comes out."""
    changes = {"iterations": iterations, "seed": seed, "device": device}
    config = build_config(preset, changes, None, settings)
    # Its images come with SciPy and scikit-image, which no other command waits for.
    from napari_dip_fusion.samples import SAMPLES

    sample = SAMPLES["noisy-head"]()
    names = ["CT", "MR"]
    figure = output / "figure.png"
    gains = [output / f"gain_{n}.tif" for n in names]
    outputs = Outputs(
        fused=output / "fused.png",
        record=output / "fused.record.json",
        gains=gains,
        base_gains=name_base_gains(gains, config),
        figure=figure,
        dtype="uint8",
        overwrite=force,
    )
    output.mkdir(parents=True, exist_ok=True)
    check_outputs(outputs, [])
    sources = resample_to_reference([Source(a) for a in sample.sources])
    result = run_fusion(sources, names, config, quiet=quiet)
    outputs.write(result, sources, names)
    with write_atomically(figure, overwrite=force) as temporary:
        draw_fusion(result, names).savefig(temporary, format="png", dpi=110)
    if quiet:
        return
    baselines = make_baselines(result.sources.images, result.consensus)
    images = {"fused": result.image, **baselines}
    truth = np.asarray(sample.truth)
    console.out.print("Likeness to the true image, of which the sources are made:")
    console.print_scores({n: _compare(image, truth) for n, image in images.items()})
    console.print_end(result, f"look at {figure}")


def _compare(image: NDArray[Any], truth: NDArray[Any]) -> dict[str, float]:
    """Return what can be measured where the truth is known; its noise would please the metrics."""
    from skimage import metrics

    psnr: Any = metrics.peak_signal_noise_ratio
    ssim: Any = metrics.structural_similarity
    options = {"data_range": 1.0}
    return {
        "PSNR (dB)": float(psnr(truth, image, **options)),
        "SSIM": float(ssim(truth, image, **options)),
    }
