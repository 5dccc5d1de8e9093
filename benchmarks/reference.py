"""Quality of the published set-up along a run, stored for quality.py to compare with.

    python benchmarks/reference.py PAIR [--noise SIGMA] [--iterations N] [--data DIR]

PAIR is ``KIND/NAME`` as in quality.py, for example ``ct_mr/23``. The preset ``paper`` is run, and
every 50 iterations its output is compared with its own clean T: the consensus image of the clean
sources under the gain settings of that preset, clipped to [0, 1]. What is stored, in
figures/reference.json, is the last output and the best one along the way, which no one could
have picked without the clean image:

    {KIND: {NOISE: {NAME: {"shape", "iterations", "settings", "noisy_t": {psnr, ssim},
        "last": {iteration, psnr, ssim, metrics}, "best_psnr": {...}, "best_ssim": {...}}}}}

The metrics are those of the output against the clean sources. 2000 iterations at 256x256 take
most of an hour.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pairs import SIZE, Floats, Noise, Pair, chosen, likeness, parse_noise

from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.metrics import evaluate
from napari_dip_fusion.sensor.analysis import analyze

FIGURES = Path(__file__).parent / "figures" / "reference.json"
EVERY = 50


def outputs(noisy: Floats, config: FusionConfig) -> dict[int, Floats]:
    """Run the network and return its output (that with the smallest loss) at some iterations."""
    from napari_dip_fusion.prior.fit import Fit

    analysis = analyze(noisy, config)
    fit = Fit(analysis.target, analysis.weight, analysis.guides, config)
    kept = {}
    for step in fit.run(config.fit.iterations):
        if step.iteration % EVERY == 0 or step.iteration == config.fit.iterations:
            assert fit.image is not None
            kept[step.iteration] = fit.image
            print(f"{step.iteration}/{config.fit.iterations}", file=sys.stderr, flush=True)
    return kept


def entry(
    images: Mapping[int, Floats], clean: Floats, noisy: Floats, config: FusionConfig
) -> dict[str, Any]:
    """Return the figures of outputs by iteration, as they are stored."""
    truth = analyze(clean, config).consensus.clip(0, 1)
    rows = {n: {"iteration": n, **likeness(image, truth)} for n, image in images.items()}
    last = max(rows)
    best = {f"best_{m}": max(rows, key=lambda n: rows[n][m]) for m in ("psnr", "ssim")}
    return {
        "shape": list(clean.shape[1:]),
        "iterations": last,
        "settings": {n: getattr(config, n) for n in ("precision", "seed", "threads")},
        "noisy_t": likeness(analyze(noisy, config).target.clip(0, 1), truth),
        **{
            name: {**rows[n], "metrics": evaluate(clean, images[n], data_range=1.0)}
            for name, n in {"last": last, **best}.items()
        },
    }


def stored(path: Path = FIGURES) -> dict[str, dict[str, dict[str, dict[str, Any]]]]:
    """Return the stored entries by kind, noise and name."""
    return json.loads(path.read_text()) if path.exists() else {}


def store(figures: dict[str, Any], pair: Pair, noise: Noise, path: Path = FIGURES) -> None:
    """Add an entry to the file, in place of an older one."""
    everything = stored(path)
    everything.setdefault(pair.kind, {}).setdefault(noise.name, {})[pair.name] = figures
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(everything, indent=1, sort_keys=True) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("pair", metavar="PAIR", help="KIND/NAME")
    parser.add_argument("--data", type=Path, help="folder of pairs; synthetic samples without it")
    parser.add_argument("--noise", type=float, default=0, metavar="SIGMA", help="of 255")
    parser.add_argument("--iterations", type=int, default=2000)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--own-size", action="store_true", help="not reduced to 256x256")
    parser.add_argument("-o", "--output", type=Path, default=FIGURES, metavar="FILE")
    given = parser.parse_args()
    pair = next(iter(chosen(given.data, given.pair).values()))[0]
    noise = parse_noise(f"gaussian-{given.noise:g}" if given.noise else "clean")
    config = FusionConfig.preset(
        "paper",
        iterations=given.iterations,
        precision=given.precision,
        threads=given.threads,
    )
    clean = pair.images(None if given.own_size else SIZE)
    noisy = noise.added(clean)
    figures = entry(outputs(noisy, config), clean, noisy, config)
    store(figures, pair, noise, given.output)
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
