"""Whole volumes: time, memory, what the third dimension is worth, and flicker.

    python benchmarks/volumes.py [--size 128x256x256] [--quick] [-o FOLDER]

The pair is the synthetic head: a CT volume of the size given, and an MR volume of the same anatomy
on a coarser grid that lies oblique to it and does not cover it all. Both are fused on the grid of
CT, resampling and metrics included, with the default preset on two threads: as they are, and under
Gaussian noise (standard deviation of 25/255, clipped to 0 and 255). Beside it, eight planes in the
middle are fused one by one, each as a run of its own with all that goes with it (noise, gains,
network). Every row is a process of its own, since peak memory does not fall again. The gains, which
take more memory than the sources, are not kept, as the command does not without --gains-dir.

PSNR compares a fused image with the whole fusion of the clean sources. Flicker is the mean
absolute change from a fused slice to the next, as a multiple of that of the same clean fusion. Both
are given for all planes, and for the eight. The metrics are means over slices, against the sources
that were fused, their noise included. Memory is what the process has taken at most since its
libraries were imported, the sources included, in multiples of one source in float32.

Finished runs are kept in FOLDER; the same command goes on where it was interrupted. It writes
volumes.md and volumes.png there. ``--quick`` takes a small volume, to try it; in still coarser
ones the folds of the brain are as fine as noise, and clean sources are denoised, too.
"""

import argparse
import json
import resource
import subprocess
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion import FusionConfig, Source, fuse, iter_fuse
from napari_dip_fusion.fusion import Done
from napari_dip_fusion.metrics import average_planes
from napari_dip_fusion.samples import head_phantom, head_volume

Figures = dict[str, Any]
Images = dict[str, NDArray[np.float32]]

NOISE = 25.0
HEADINGS = {"petrovic": "Pe", "mutual_information": "MI", "piella": "Q", "cvejic": "Cv"}
WHOLE, PLANES, NOISY, NOISY_PLANES = "clean", "clean, planes", "noisy", "noisy, planes"
RUNS = {
    WHOLE: (0.0, True),
    PLANES: (0.0, False),
    NOISY: (NOISE, True),
    NOISY_PLANES: (NOISE, False),
}
"""Noise of the sources, and whether they are fused whole, of every run."""

FEW = 8
"""Planes that are fused one by one."""


def peak() -> int:
    """Return the peak resident memory of this process in bytes (Linux)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def configure(iterations: int | None = None) -> FusionConfig:
    """Return the default preset; values of the sources are those of eight bits, noise or not."""
    changes = {} if iterations is None else {"iterations": iterations}
    return FusionConfig.preset("fast", intensity=((0.0, 255.0),) * 2, threads=2, **changes)


def add_noise(data: NDArray[Any], sigma: float, seed: int) -> NDArray[np.uint8]:
    """Return values of eight bits under Gaussian noise, a slice at a time."""
    rng = np.random.default_rng(seed)
    noisy = np.empty(data.shape, np.uint8)
    for plane, values in zip(noisy, data, strict=True):
        plane[:] = np.rint(values + sigma * rng.standard_normal(values.shape)).clip(0, 255)
    return noisy


def save_pair(folder: Path, shape: Sequence[int]) -> None:
    """Write the clean pair and the noisy one, and where they lie."""
    places = {}
    for number, source in enumerate(head_volume(shape=shape).sources):
        places[source.name] = source.affine.tolist()
        np.save(folder / f"{source.name}-0.npy", source.data)
        np.save(folder / f"{source.name}-{NOISE:g}.npy", add_noise(source.data, NOISE, number))
    (folder / "places.json").write_text(json.dumps(places))


def load_pair(folder: Path, noise: float) -> list[Source]:
    places = json.loads((folder / "places.json").read_text())
    return [
        Source(
            np.load(folder / f"{name}-{noise:g}.npy"),
            axes=("z", "y", "x"),
            affine=np.array(affine),
            units=("mm",) * 3,
            name=name,
        )
        for name, affine in places.items()
    ]


def make_run(folder: Path, name: str, iterations: int | None) -> None:
    """Fuse the pair once, in a process of its own, and write image and figures."""
    noise, whole = RUNS[name]
    config = configure(iterations)
    for library in ("napari_dip_fusion.prior.crops", "napari_dip_fusion.sensor.analysis"):
        import_module(library)
    before = peak()
    sources = load_pair(folder, noise)
    start = perf_counter()
    if whole:
        events = iter_fuse(sources, config, reference=0, keep_gains=False)
        (result,) = (event.result for event in events if isinstance(event, Done))
        image, metrics, planes = result.image, result.metrics, result.plane_metrics
    else:
        image, planes = fuse_few(sources, config)
        metrics = average_planes(planes)
    figures = {
        "seconds": perf_counter() - start,
        "grown": peak() - before,
        "peak": peak(),
        "metrics": metrics,
        "planes": {key: list(map(float, v)) for key, v in planes.items()},
    }
    np.save(folder / f"{name}.npy", image)
    (folder / f"{name}.json").write_text(json.dumps(figures))


def find_few(count: int) -> slice:
    """Return the planes in the middle that are fused one by one."""
    return slice(max(count // 2 - FEW // 2, 0), count // 2 + FEW // 2)


def fuse_few(
    sources: Sequence[Source], config: FusionConfig
) -> tuple[NDArray[np.float32], dict[str, NDArray[np.float64]]]:
    """Return planes that were fused one by one, and their metrics; others are not a number."""
    shape = sources[0].shape
    image = np.full(shape, np.nan, dtype=np.float32)
    planes = {key: np.full(shape[0], np.nan) for key in HEADINGS}
    for number in range(shape[0])[find_few(shape[0])]:
        result = fuse(sources, config, reference=0, plane=f"z={number}")
        image[number] = result.image
        for key, value in result.metrics.items():
            planes[key][number] = value
    return image, planes


def measure(folder: Path, names: Sequence[str], iterations: int | None) -> dict[str, Figures]:
    """Return the figures of all runs; those that are there are not made again."""
    found = {}
    for name in names:
        file = folder / f"{name}.json"
        if not file.exists():
            print(f"{name} ...", file=sys.stderr, flush=True)
            case = json.dumps([str(folder), name, iterations])
            subprocess.run([sys.executable, __file__, "--run", case], check=True)
        found[name] = json.loads(file.read_text())
    return found


def find_steps(image: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the mean absolute change from each slice to the next."""
    pairs = zip(image[1:], image[:-1], strict=True)
    return np.array([np.abs(upper - lower).mean(dtype=float) for upper, lower in pairs])


def find_errors(image: NDArray[np.float32], clean: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the mean squared difference of each slice."""
    pairs = zip(image, clean, strict=True)
    return np.array([((a - b) ** 2).mean(dtype=float) for a, b in pairs])


def format_pair(values: Sequence[float], digits: int) -> str:
    """Return the value of all planes, if there is one, and that of the few in brackets."""
    if not values:
        return ""
    everywhere, few = (f"{value:.{digits}f}" for value in values)
    return f"({few})" if everywhere == "nan" else f"{everywhere} ({few})"


def find_psnr(errors: NDArray[np.float64]) -> float:
    return float(-10 * np.log10(errors.mean()))


def compare_one_slice() -> dict[str, float]:
    """Return the largest difference of a volume of one slice from the plane itself."""
    planes = head_phantom(shape=(128, 128)).sources
    differences = {}
    config = configure(iterations=20)
    for name, sigma in (("clean", 0.0), ("noisy", NOISE)):
        volumes = [add_noise(plane[None], sigma, seed) for seed, plane in enumerate(planes)]
        flat = fuse([Source(volume[0]) for volume in volumes], config).image
        volume = fuse([Source(volume) for volume in volumes], config).image
        differences[name] = float(np.abs(volume - flat).max())
    return differences


def tabulate(runs: dict[str, Figures], images: Images, differences: dict[str, float]) -> list[str]:
    """Return the tables in Markdown."""
    clean = images[WHOLE]
    few, source, reference = find_few(len(clean)), clean.size * 4, find_steps(clean)
    lines = [
        f"CT of {'x'.join(map(str, clean.shape))}, MR on a grid of its own.",
        "",
        "| sources | seconds | peak memory, times one source in float32 | peak of the process, GB "
        f"| PSNR, dB (of the {FEW} planes) | flicker (of the {FEW} planes) "
        f"| {' | '.join(HEADINGS.values())} |",
        "|---" * (6 + len(HEADINGS)) + "|",
    ]
    for name, run in runs.items():
        image = images[name]
        errors, steps = find_errors(image, clean), find_steps(image)
        own = slice(few.start, few.stop - 1)
        flicker = [steps.mean() / reference.mean(), steps[own].mean() / reference[own].mean()]
        psnr = [find_psnr(errors), find_psnr(errors[few])] if name != WHOLE else []
        scores = " | ".join(f"{run['metrics'][key]:.3f}" for key in HEADINGS)
        lines.append(
            f"| {name} | {run['seconds']:.0f} | {run['grown'] / source:.1f} "
            f"| {run['peak'] / 1e9:.2f} | {format_pair(psnr, 2)} | {format_pair(flicker, 3)} "
            f"| {scores} |"
        )
    lines.append("")
    lines += [
        f"A volume of one slice differs from the plane by at most {value:.1e} ({name})."
        for name, value in differences.items()
    ]
    return lines


def plot(runs: dict[str, Figures], images: Images, file: Path) -> None:
    """Draw metrics, flicker and error against the slice."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6), layout="constrained")
    panels = figure.subplots(2, 3, sharex=True).ravel()
    for name, run in runs.items():
        style = {"ls": "-" if RUNS[name][1] else ":", "label": name, "lw": 1.2}
        style["color"] = "C1" if RUNS[name][0] else "C0"
        for panel, key in zip(panels, HEADINGS, strict=False):
            panel.plot(run["planes"][key], **style)
        panels[4].plot(255 * find_steps(images[name]), **style)
        if name != WHOLE:
            errors = np.maximum(find_errors(images[name], images[WHOLE]), 1e-12)
            panels[5].plot(-10 * np.log10(errors), **style)
    titles = (
        *HEADINGS.values(),
        "change to the next slice, of 255",
        "PSNR to the clean fusion, dB",
    )
    for panel, title in zip(panels, titles, strict=True):
        panel.set_title(title, fontsize=10)
        panel.grid(alpha=0.3)
    for panel in panels[3:]:
        panel.set_xlabel("slice")
    panels[0].legend(fontsize=8)
    figure.savefig(file, dpi=110)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", help="slices, rows and columns of CT (128x256x256)")
    parser.add_argument("--quick", action="store_true", help="a small volume: 24x128x128")
    parser.add_argument("--iterations", type=int, help="of the network (as the preset has them)")
    parser.add_argument("--runs", help=f"some of: {'; '.join(RUNS)} (all)")
    parser.add_argument("-o", "--output", type=Path, help="folder of results (volumes-SIZE)")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    given = parse()
    if given.run:
        folder, name, iterations = json.loads(given.run)
        make_run(Path(folder), name, iterations)
        return
    size = given.size or ("24x128x128" if given.quick else "128x256x256")
    names = list(RUNS) if given.runs is None else [n.strip() for n in given.runs.split(";")]
    if WHOLE not in names or not set(names) <= set(RUNS):
        raise SystemExit(f"--runs takes {WHOLE} and others of {'; '.join(RUNS)}, got {given.runs}")
    folder = given.output or Path(f"volumes-{size}")
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "places.json").exists():
        save_pair(folder, [int(n) for n in size.split("x")])
    runs = measure(folder, names, given.iterations)
    images = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in names}
    text = "\n".join(tabulate(runs, images, compare_one_slice())) + "\n"
    (folder / "volumes.md").write_text(text)
    plot(runs, images, folder / "volumes.png")
    print(text, end="")


if __name__ == "__main__":
    main()
