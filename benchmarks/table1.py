"""The paper's Table 1 again, beside the paper's figures.

    python benchmarks/table1.py DATA [--methods NAMES] [--dip] [--set NAME=VALUE] [-o FOLDER]

DATA is the folder of benchmark images: ``paper/uncamp_20_ir.bmp`` and ``_vis.bmp``,
``paper/clocks_a.jpg`` and ``_b.jpg``, and CT-MR pairs in ``ct_mr``. The infrared-visible row is
that of the paper exactly: same pair, same metrics, and the non-convex method reproduces its
figures to the last digit. The clocks are the paper's, but how they were reduced from 512x512 to
256x256 is not known. The paper's nine CT-MR pairs and its MR-ultrasound phantom are not public:
other pairs and a synthetic phantom stand in, so only the order of the methods can be compared.

The Deep Image Prior takes minutes a pair in its fast preset and most of an hour in ``paper``, and
runs only with --dip (fast) or if it is named in --methods. Finished results are kept in FOLDER;
the same command goes on where it was interrupted.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from skimage.transform import resize

from napari_dip_fusion.cli.options import build_config
from napari_dip_fusion.comparison.events import Finished, Outcomes, Row, SourceSet
from napari_dip_fusion.comparison.labels import label_methods as labels
from napari_dip_fusion.comparison.report import summarize
from napari_dip_fusion.comparison.runs import iter_compare
from napari_dip_fusion.io import read_image
from napari_dip_fusion.methods import METHODS
from napari_dip_fusion.samples import noisy_head_phantom

METRICS = ("petrovic", "mutual_information_renyi", "piella", "cvejic")
HEADINGS = ("Pe", "MI", "Q", "Cv")

# Copied from Table 1 of Ma et al., ICIP 2022, arXiv:2110.09490.
PAPER = {
    "infrared-visible": {
        "gmc": (0.4606, 1.4172, 0.6932, 0.6941),
        "base-detail": (0.4639, 1.2546, 0.7279, 0.7085),
        "densefuse": (0.4338, 1.4817, 0.6657, 0.6126),
        "dip-paper": (0.4464, 1.3017, 0.6658, 0.6785),
    },
    "multi-focus": {
        "gmc": (0.6297, 3.1107, 0.8843, 0.7278),
        "base-detail": (0.6483, 3.0852, 0.9049, 0.7909),
        "densefuse": (0.6291, 3.0052, 0.8916, 0.7779),
        "dip-paper": (0.6375, 3.0630, 0.8487, 0.6991),
    },
    "MR-US phantom (synthetic)": {
        "gmc": (0.5468, 1.9511, 0.8078, 0.5555),
        "base-detail": (0.4957, 1.6075, 0.7932, 0.6005),
        "densefuse": (0.5934, 1.8493, 0.8310, 0.5476),
        "dip-paper": (0.6625, 1.9533, 0.8474, 0.6152),
    },
    "CT-MR (other pairs)": {
        "gmc": (0.5349, 1.9769, 0.7761, 0.4325),
        "base-detail": (0.4383, 1.6052, 0.7263, 0.3798),
        "densefuse": (0.5723, 1.6962, 0.7994, 0.3664),
        "dip-paper": (0.6548, 1.8177, 0.8176, 0.4223),
    },
}


def read_gray(path: Path, size: int | None = None) -> NDArray[np.uint8]:
    """Read a picture in gray, reduced by area to so many pixels a side."""
    pixels = np.asarray(read_image(path).data)
    if pixels.ndim == 3:
        pixels = np.rint(pixels[..., :3] @ [0.299, 0.587, 0.114])
    if size is not None and pixels.shape != (size, size):
        pixels = np.rint(resize(pixels.astype(float), (size, size), anti_aliasing=True))
    return pixels.astype(np.uint8)


def files(*paths: Path, size: int | None = None) -> Callable[[], list[NDArray[np.uint8]]]:
    return lambda: [read_gray(path, size) for path in paths]


def source_sets(data: Path) -> list[SourceSet]:
    infrared, focus, phantom, ct_mr = PAPER
    paper = data / "paper"
    uncamp = files(paper / "uncamp_20_ir.bmp", paper / "uncamp_20_vis.bmp")
    clocks = files(paper / "clocks_a.jpg", paper / "clocks_b.jpg", size=256)
    heads = [
        SourceSet(ct.stem[:-3], ct_mr, files(ct, ct.with_name(ct.name.replace("_ct", "_mr"))))
        for ct in sorted((data / "ct_mr").glob("*_ct.png"))
    ]
    return [
        SourceSet("uncamp 20", infrared, uncamp),
        SourceSet("clocks", focus, clocks),
        SourceSet("head", phantom, lambda: noisy_head_phantom().sources),
        *heads,
    ]


def run(sets: list[SourceSet], methods: list[str], **options: object) -> Outcomes:
    result = Outcomes()
    for event in iter_compare(sets, methods, which=METRICS, eight_bit=True, **options):
        if isinstance(event, Finished):
            result.add(event.outcome)
            name = f"{event.outcome.kind} {event.outcome.name}: {event.outcome.method}"
            print(f"{event.done}/{event.total} {name}", file=sys.stderr, flush=True)
    return result


def print_table(rows: list[Row]) -> None:
    summaries = summarize(rows)
    for kind, published in PAPER.items():
        ours = {s.method: s for s in summaries if s.kind == kind}
        if not ours:
            continue
        sets = max(s.sets for s in ours.values())
        print(f"\n### {kind}: {sets} set{'s' if sets > 1 else ''}\n")
        print(f"| method | {' | '.join(HEADINGS)} | paper's {' | '.join(HEADINGS)} | seconds |")
        print(f"|---|{'---:|' * 9}")
        best = [max(s.metrics[m] for s in ours.values()) for m in METRICS]
        for method, s in ours.items():
            cells = [_marked(s.metrics[m], b) for m, b in zip(METRICS, best, strict=True)]
            cells += [f"{v:.4f}" for v in published.get(method, ())] or ["-"] * 4
            print(f"| {labels()[method]} | {' | '.join(cells)} | {s.seconds:.2f} |")
        _print_behind(ours, published)


def _marked(value: float, best: float) -> str:
    return f"**{value:.4f}**" if round(value, 4) == round(best, 4) else f"{value:.4f}"


def _print_behind(ours: dict, published: dict) -> None:
    """Say where our own method is behind: the paper's figures, and the other methods."""
    for name in [m for m in ours if m.startswith("dip-")]:
        values = [ours[name].metrics[m] for m in METRICS]
        paper = [
            f"{h} {v:.4f} < {p:.4f}"
            for h, v, p in zip(HEADINGS, values, published["dip-paper"], strict=True)
            if round(v, 4) < p
        ]
        others = [
            f"{h} ({', '.join(better)})"
            for h, m, v in zip(HEADINGS, METRICS, values, strict=True)
            if (better := [o for o, s in ours.items() if o != name and s.metrics[m] > v])
        ]
        print(f"\n{name} is behind the paper's own figures in: {'; '.join(paper) or 'nothing'}.")
        print(f"{name} is behind other methods here in: {'; '.join(others) or 'nothing'}.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--dip", action="store_true", help="add dip-fast")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--weights", metavar="FILE", help="VGG-19 weights for base-detail")
    parser.add_argument("-o", "--output", type=Path, default=Path("table1"))
    given = parser.parse_args()
    methods = given.methods.split(",") + ["dip-fast"] * given.dip
    config = build_config("fast", {}, None, given.set)
    settings = {n: getattr(config, n) for n in (text.partition("=")[0] for text in given.set)}
    options = {"base-detail": {"weights": given.weights}} if given.weights else {}
    result = run(
        source_sets(given.data),
        list(dict.fromkeys(methods)),
        options=options,
        settings=settings,
        folder=given.output,
    )
    print_table(result.rows)
    for method, reason in dict.fromkeys((f.method, f.reason) for f in result.failures):
        print(f"\n{method} was left out: {reason}")


if __name__ == "__main__":
    main()
