"""Quality of the presets on clean and noisy pairs, beside closed forms and the published set-up.

    python benchmarks/quality.py [--data DIR] [--pairs N] [-o FOLDER]

DATA holds registered pairs: ``ct_mr/N_ct.png`` and ``_mr.png``, ``ir_vis/N_ir.png`` and
``_vis.png``, ``multi_focus/N-A.jpg`` and ``-B.jpg``, ``mr_mr/N_t1.tif`` and ``_t2.tif``. Without
it, synthetic samples are used. All are made gray and reduced to 256x256 pixels.

Noise is Gaussian on every source (standard deviation of 255; clipped to [0, 1] or not) or speckle
on the second source (a factor of mean 1, standard deviation 0.2, clipped). Sources that are not
clipped come with one intensity window that holds them all. PSNR and SSIM compare a fused image
with the clean T: the consensus image that ``fast`` takes from the clean sources under the same
window, for a white of 1 in the sources' own units. The metrics compare a fused image with the
clean sources. Non-local means and BM3D are told the true noise, and know nothing of clipping;
``fast`` estimates both. "Quick denoiser, then T" is what the program makes of the noisy sources
without a network, and "fitted to T" what it makes of them when it restores none: the network of
the paper is fitted to T then.

Finished results are kept in FOLDER (results.json); the same command goes on where it was
interrupted. It writes quality.md and quality.png there. The figures of the published set-up come
from figures/reference.json, made by reference.py.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from statistics import mean
from time import perf_counter
from typing import Any

import numpy as np
from pairs import CLEAN, SIZE, Floats, Noise, Pair, Window, chosen, likeness, parse_noise
from reference import FIGURES, stored

from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.fusion import Done, iter_fuse
from napari_dip_fusion.methods import METHODS, fuse_stack
from napari_dip_fusion.metrics import evaluate
from napari_dip_fusion.sensor.analysis import Analysis, analyze

HEADINGS = {"petrovic": "Pe", "mutual_information": "MI", "piella": "Q", "cvejic": "Cv"}
# On clean sources, a measure that the gains were never tuned for stands beside the four.
CLEAN_HEADINGS = {**HEADINGS, "vif": "VIF"}
NOISES = (
    *(f"gaussian-{n}" for n in (10, 25, 50)),
    *(f"gaussian-{n}-unclipped" for n in (10, 25, 50)),
    "speckle",
)
# Under this noise all methods are compared by the metrics.
COMPARED = "gaussian-10"

FAST = "fast"
CLEAN_T, NOISY_T, QUICK_T = "T", "T of noisy sources", "quick denoiser, then T"
NLM_T, BM3D_T = "non-local means, then T", "BM3D, then T"
FITTED = f"{FAST}, fitted to T"
SHOWN_NOISY = (FAST, FITTED, QUICK_T, NLM_T, BM3D_T, NOISY_T)
SHOWN_CLEAN = ("average", "maximum", "wavelet", "laplacian", "gmc", "densefuse")
NEEDS_WEIGHTS = tuple(m.name for m in METHODS.values() if m.needs_weights)
REGISTERED = tuple(m for m in METHODS if m not in NEEDS_WEIGHTS)

Figures = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One pair under one noise."""

    pair: Pair
    noise: Noise
    size: int | None
    compute: dict[str, Any]

    @cached_property
    def clean(self) -> Floats:
        return self.pair.images(self.size)

    @cached_property
    def noisy(self) -> Floats:
        return self.noise.added(self.clean)

    @cached_property
    def window(self) -> Window:
        """The intensities that become 0 and 1: those of all noisy sources if not clipped."""
        if self.noise.clipped:
            return 0.0, 1.0
        return float(self.noisy.min()), float(self.noisy.max())

    def config(self, preset: str) -> FusionConfig:
        """Return a preset as shipped: what is added is the scale of the data and the machine."""
        windows = (self.window,) * len(self.clean)
        return FusionConfig.preset(preset, intensity=windows, **self.compute)

    def windowed(self, images: Floats) -> Floats:
        low, high = self.window
        return ((images - low) / (high - low)).clip(0, 1).astype(np.float32)

    def in_source_units(self, image: Floats) -> Floats:
        low, high = self.window
        return (low + image * (high - low)).astype(np.float32)

    def analysis(self, images: Floats, **changes: Any) -> Analysis:
        return analyze(self.windowed(images), self.config(FAST).replace(**changes))

    @cached_property
    def of_clean(self) -> Analysis:
        return self.analysis(self.clean)

    def score(self, image: Floats) -> Figures:
        """Return the figures of a fused image in [0, 1] of the window."""
        fused = self.in_source_units(image.clip(0, 1))
        truth = self.in_source_units(self.of_clean.consensus.clip(0, 1))
        return {
            **likeness(fused, truth),
            **evaluate(self.clean, fused, data_range=1.0, which=tuple(CLEAN_HEADINGS)),
        }


Job = Callable[[Case], Figures]
"""Takes a case and returns the figures of one row of a table."""


def by_preset(preset: str, **changes: Any) -> Job:
    """Run a preset with some settings changed."""

    def job(case: Case) -> Figures:
        start = perf_counter()
        config = case.config(preset).replace(**changes)
        events = iter_fuse(list(case.noisy), config, keep_state=False)
        result = next(e.result for e in events if isinstance(e, Done))
        seconds = perf_counter() - start
        low, high = case.window
        run = {
            "seconds": seconds,
            "iterations": len(result.losses),
            "stop_reason": result.stop_reason,
            "noise": [255 * s * (high - low) for s in result.noise],
        }
        return {**case.score(result.image), **run}

    return job


def scored(image: Callable[[Case], Floats]) -> Job:
    return lambda case: case.score(image(case))


def noisy_t(case: Case) -> Floats:
    return case.analysis(case.noisy, noise="none").target


def quick_t(case: Case) -> Floats:
    return case.analysis(case.noisy).consensus


def t_after(denoiser: Callable[[Floats, float], Floats]) -> Callable[[Case], Floats]:
    """Return T of sources that are denoised one by one, with the true level of the noise."""

    def image(case: Case) -> Floats:
        sigmas = case.noise.sigmas(case.clean)
        noisy = zip(case.noisy, sigmas, strict=True)
        images = np.stack([denoiser(i, s) if s else i for i, s in noisy])
        return case.analysis(images.astype(np.float32), noise="none").target

    return image


def non_local_means(image: Floats, sigma: float) -> Floats:
    from skimage.restoration import denoise_nl_means

    smooth: Floats = denoise_nl_means(
        image, patch_size=5, patch_distance=6, h=0.8 * sigma, sigma=sigma, fast_mode=True
    )
    return smooth


def bm3d(image: Floats, sigma: float) -> Floats:
    import bm3d

    smooth: Floats = bm3d.bm3d(image.astype(np.float64), sigma_psd=sigma)
    return smooth


def by_method(name: str) -> Job:
    return scored(lambda case: fuse_stack(name, case.windowed(case.noisy)))


def jobs(noise: Noise) -> Iterator[tuple[str, Job]]:
    """Yield the rows that a case needs, and what makes them."""
    yield FAST, by_preset(FAST)
    if noise == CLEAN:
        yield CLEAN_T, scored(lambda case: case.of_clean.consensus)
    else:
        yield FITTED, by_preset(FAST, restore="never")
        yield QUICK_T, scored(quick_t)
        yield NOISY_T, scored(noisy_t)
        yield NLM_T, scored(t_after(non_local_means))
        if find_spec("bm3d"):
            yield BM3D_T, scored(t_after(bm3d))
    for name in SHOWN_CLEAN if noise == CLEAN else REGISTERED if noise.name == COMPARED else ():
        yield name, by_method(name)


class Results:
    """Figures by pair, noise and row, kept in a file."""

    def __init__(self, path: Path, settings: Figures) -> None:
        self._path = path
        kept = json.loads(path.read_text()) if path.exists() else {"settings": settings, "rows": {}}
        if kept["settings"] != settings:
            raise SystemExit(f"{path} holds results of other settings; choose another --output")
        self._kept = kept

    def __contains__(self, key: tuple[str, str, str]) -> bool:
        return " | ".join(key) in self._kept["rows"]

    def __getitem__(self, key: tuple[str, str, str]) -> Figures:
        return self._kept["rows"][" | ".join(key)]

    def add(self, key: tuple[str, str, str], figures: Figures) -> None:
        self._kept["rows"][" | ".join(key)] = figures
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps(self._kept, indent=1) + "\n")

    def averages(self, pairs: Sequence[Pair], noise: str, row: str) -> Figures | None:
        """Return the means over pairs; None unless all of them have this row."""
        keys = [(p.key, noise, row) for p in pairs]
        if not all(k in self for k in keys):
            return None
        names = ("psnr", "ssim", *CLEAN_HEADINGS)
        return {n: mean(self[k][n] for k in keys) for n in names}


def fill(results: Results, cases: Sequence[Case]) -> None:
    for n, case in enumerate(cases):
        for row, job in jobs(case.noise):
            key = (case.pair.key, case.noise.name, row)
            if key in results:
                continue
            start = perf_counter()
            results.add(key, job(case))
            text = f"{n + 1}/{len(cases)} {case.pair.key} {case.noise.name}: {row}"
            print(f"{text} ({perf_counter() - start:.1f} s)", file=sys.stderr, flush=True)


Kinds = dict[str, list[Pair]]


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def metric_cells(figures: Figures, names: Iterable[str] = HEADINGS) -> list[str]:
    return [f"{figures[m]:.3f}" for m in names]


def clean_tables(results: Results, kinds: Kinds) -> Iterator[str]:
    rows = (FAST, CLEAN_T, *SHOWN_CLEAN)
    yield "## Clean sources\n\nPSNR is to T; 100 dB stands for equal images.\n"
    for kind, pairs in kinds.items():
        found = {r: a for r in rows if (a := results.averages(pairs, CLEAN.name, r))}
        cells = [
            [r, *metric_cells(a, CLEAN_HEADINGS), f"{a['psnr']:.1f}"] for r, a in found.items()
        ]
        if cells:
            yield f"### {kind}: {counted(pairs)}\n"
            yield markdown_table(["", *CLEAN_HEADINGS.values(), "PSNR"], cells)


def noisy_tables(results: Results, kinds: Kinds, noises: Sequence[str]) -> Iterator[str]:
    yield "## Noisy sources\n\nPSNR in dB and SSIM to the clean T.\n"
    for kind, pairs in kinds.items():
        found = {
            r: a for r in SHOWN_NOISY if any(a := [results.averages(pairs, n, r) for n in noises])
        }
        if found:
            yield f"### {kind}: {counted(pairs)}\n"
            cells = [[r, *map(likeness_cell, [*a, mean_likeness(a)])] for r, a in found.items()]
            yield markdown_table(["", *noises, "mean"], cells)


def mean_likeness(averages: Sequence[Figures | None]) -> Figures | None:
    """Return the means over all noises; None unless all of them were measured."""
    there = [a for a in averages if a]
    if len(there) < len(averages):
        return None
    return {name: mean(a[name] for a in there) for name in ("psnr", "ssim")}


def likeness_cell(figures: Figures | None) -> str:
    return f"{figures['psnr']:.2f} {figures['ssim']:.3f}" if figures else "-"


def compared_tables(results: Results, kinds: Kinds) -> Iterator[str]:
    yield f"## Metrics under noise\n\n{COMPARED} on every source, against the clean sources.\n"
    for kind, pairs in kinds.items():
        rows = (FAST, FITTED, QUICK_T, *REGISTERED)
        found = {r: a for r in rows if (a := results.averages(pairs, COMPARED, r))}
        best = {m: max(a[m] for a in found.values()) for m in HEADINGS if found}
        cells = [[r, *(marked(a[m], best[m]) for m in HEADINGS)] for r, a in found.items()]
        if cells:
            yield f"### {kind}: {counted(pairs)}\n"
            yield markdown_table(["", *HEADINGS.values()], cells)


def marked(value: float, best: float) -> str:
    return f"**{value:.3f}**" if round(value, 3) == round(best, 3) else f"{value:.3f}"


def published(
    reference: Figures, kinds: Kinds, shape: tuple[int, int] | None
) -> Iterator[tuple[Pair, str, Figures]]:
    """Yield the stored figures of the published set-up for these pairs, at this size."""
    for kind, noises in reference.items():
        for noise, entries in noises.items():
            for pair in kinds.get(kind, []):
                figures = entries.get(pair.name)
                if figures and shape in (None, tuple(figures["shape"])):
                    yield pair, noise, figures


def published_tables(
    results: Results, reference: Figures, kinds: Kinds, shape: tuple[int, int] | None
) -> Iterator[str]:
    """Compare pair by pair with the published set-up, each with the T of its own gains."""
    likenesses, metrics = [], []
    for pair, noise, figures in published(reference, kinds, shape):
        if (pair.key, noise, FAST) not in results:
            continue
        ours, last = results[pair.key, noise, FAST], figures["last"]
        best = figures["best_psnr"]
        likenesses.append(
            [
                f"{pair.key} {noise}",
                likeness_cell(figures["noisy_t"]),
                f"{likeness_cell(last)} ({last['iteration']})",
                f"{best['psnr']:.2f} ({best['iteration']})",
                f"{figures['best_ssim']['ssim']:.3f} ({figures['best_ssim']['iteration']})",
                likeness_cell(ours),
                f"{ours['psnr'] - best['psnr']:+.2f}",
            ]
        )
        metrics += [
            [f"{pair.key} {noise}: published", *metric_cells(last["metrics"])],
            [f"{pair.key} {noise}: {FAST}", *metric_cells(ours)],
        ]
    if not likenesses:
        return
    yield "## Beside the published set-up\n"
    yield "PSNR and SSIM of each to the clean T of its own gains; iterations in brackets.\n"
    head = ["", "its noisy T", "last", "best PSNR", "best SSIM", FAST, f"{FAST} - best PSNR"]
    yield markdown_table(head, likenesses)
    yield markdown_table(["against the clean sources", *HEADINGS.values()], metrics)


def notes(results: Results, kinds: Kinds) -> Iterator[str]:
    found = [
        f"{p.key} ({', '.join(f'{s:.1f}' for s in noise)} of 255)"
        for pairs in kinds.values()
        for p in pairs
        if (p.key, CLEAN.name, FAST) in results
        and any(noise := results[p.key, CLEAN.name, FAST]["noise"])
    ]
    if found:
        yield f"Noise was found in these clean sources: {'; '.join(found)}.\n"
    if not find_spec("bm3d"):
        yield "BM3D was left out: the package bm3d is not installed.\n"


def counted(pairs: Sequence[Pair]) -> str:
    return f"{len(pairs)} set{'s' if len(pairs) > 1 else ''}"


def plot(results: Results, kinds: Kinds, path: Path) -> None:
    """Draw PSNR and SSIM over Gaussian noise, clipped, for each kind."""
    from matplotlib.figure import Figure

    levels = (10, 25, 50)
    figure = Figure(figsize=(3.2 * max(len(kinds), 2), 6.2), layout="constrained")
    axes = figure.subplots(2, len(kinds), squeeze=False, sharex=True)
    marks = dict(zip(SHOWN_NOISY, ("o", "D", "s", "^", "v", "x"), strict=True))
    handles: dict[str, Any] = {}
    for column, (kind, pairs) in enumerate(kinds.items()):
        axes[0, column].set_title(f"{kind}: {counted(pairs)}", fontsize=10)
        axes[1, column].set_xlabel("noise, of 255")
        for i, measure in enumerate(("psnr", "ssim")):
            ax = axes[i, column]
            for color, row in enumerate(SHOWN_NOISY):
                found = [(n, results.averages(pairs, f"gaussian-{n}", row)) for n in levels]
                points = [(n, a[measure]) for n, a in found if a]
                if points:
                    style = {"color": f"C{color}", "marker": marks[row], "label": row}
                    (handles[row],) = ax.plot(*zip(*points, strict=True), **style)
            ax.set_xticks(levels)
            ax.set_xlim(5, 55)
            ax.grid(alpha=0.3)
    axes[0, 0].set_ylabel("PSNR to the clean T (dB)")
    axes[1, 0].set_ylabel("SSIM to the clean T")
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3)
    figure.savefig(path, dpi=150)


def settings_of(compute: dict[str, Any], own_size: bool) -> Figures:
    preset = FusionConfig.preset(FAST).to_dict()
    return {"preset": preset, "compute": compute, "own_size": own_size}


def selected(kinds: Kinds, count: int | None, reference: Figures) -> Kinds:
    """Take the first pairs of each kind, those with published figures before others."""

    def rank(pair: Pair) -> int:
        return -sum(pair.name in e for e in reference.get(pair.kind, {}).values())

    return {kind: sorted(pairs, key=rank)[:count] for kind, pairs in kinds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, help="folder of pairs; synthetic samples without it")
    parser.add_argument("--kinds", metavar="KIND[/NAME],...", help="all by default")
    parser.add_argument("--pairs", type=int, metavar="N", help="of each kind; all by default")
    parser.add_argument("--noise", default=",".join((CLEAN.name, *NOISES)), metavar="NAME,...")
    parser.add_argument("--own-size", action="store_true", help="not reduced to 256x256")
    parser.add_argument("--reference", type=Path, default=FIGURES, metavar="FILE")
    parser.add_argument("--threads", type=int, default=0, help="0 leaves torch's own choice")
    parser.add_argument("--device", default="auto")
    parser.add_argument("-o", "--output", type=Path, default=Path("quality"), metavar="FOLDER")
    given = parser.parse_args()
    noises = [parse_noise(name) for name in given.noise.split(",")]
    reference = stored(given.reference)
    kinds = selected(chosen(given.data, given.kinds), given.pairs, reference)
    compute = {"threads": given.threads, "device": given.device}
    results = Results(given.output / "results.json", settings_of(compute, given.own_size))
    size = None if given.own_size else SIZE
    cases = [Case(p, n, size, compute) for n in noises for pairs in kinds.values() for p in pairs]
    try:
        fill(results, cases)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
    shape = None if size is None else (size, size)
    names = [n.name for n in noises if n != CLEAN]
    parts = [
        *clean_tables(results, kinds),
        *noisy_tables(results, kinds, names),
        *compared_tables(results, kinds),
        *published_tables(results, reference, kinds, shape),
        *notes(results, kinds),
    ]
    text = "\n".join(parts)
    given.output.mkdir(parents=True, exist_ok=True)
    (given.output / "quality.md").write_text(text)
    plot(results, kinds, given.output / "quality.png")
    print(text, end="")


if __name__ == "__main__":
    main()
