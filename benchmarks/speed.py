"""Seconds per iteration and of whole runs, beside the published set-up in the same process.

    python benchmarks/speed.py [--data DIR] [--size 256] [--rounds 5] [--threads N] [-o FOLDER]

The reference is the published set-up as its code runs: ten random channels in and out, 128
features, bilinear, float32 in contiguous memory, plain Adam, and a loss summed over the sources.
All take turns, so that whatever else the machine does slows every one down; figures are medians.
An iteration that follows a change of turn is not counted. What the command gains by keeping its
heap is measured in processes of their own, since that cannot be taken back; they take turns too.
Processor time, summed over the threads, suffers less from other work than seconds do. The closed
form of a clean 2048x2048 pair is timed beside one Gaussian filter; that alone: --closed-form.
Writes speed.md, speed.png and speed.json to FOLDER.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import closed_form
import numpy as np
import torch
from pairs import SIZE, Floats, chosen, parse_noise
from skimage.transform import resize

from napari_dip_fusion.cli.heap import keep_freed_memory
from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.fusion import Preview, fuse, iter_fuse
from napari_dip_fusion.prior.devices import resolve_device, resolve_precision
from napari_dip_fusion.prior.fit import Fit
from napari_dip_fusion.prior.network import SkipNetwork, draw_input
from napari_dip_fusion.sensor.analysis import analyze

REFERENCE = "reference"
PUBLISHED_ITERATIONS = 2000
LARGE = 2048
"""Side of the pair whose closed form is timed."""


class PublishedFit:
    """The published network and loss, without anything that this program adds."""

    def __init__(self, images: Floats, device: str) -> None:
        config = FusionConfig.preset("paper")
        generator = torch.Generator().manual_seed(0)
        channels = config.network.channels
        self._network = SkipNetwork(channels, channels, generator=generator).to(device)
        self._input = draw_input((channels, *images.shape[1:]), generator).to(device)
        gains = analyze(images, config).model.gains
        self._sources = torch.tensor(images, device=device)[:, None]
        self._gains = torch.tensor(gains, device=device)[:, None]
        self._optimizer = torch.optim.Adam(self._network.parameters(), lr=config.fit.learning_rate)

    def run(self, iterations: int) -> Iterator[float]:
        """Yield the loss of each iteration."""
        for _ in range(iterations):
            self._optimizer.zero_grad()
            output = self._network(self._input)[0]
            loss = (self._sources - self._gains * output).square().sum(dim=0).mean()
            loss.backward()
            self._optimizer.step()
            yield loss.item()


@dataclass
class Runner:
    """One of those that take turns."""

    name: str
    steps: Callable[[int], Iterator[object]]
    count: int
    """Iterations of a turn: more where they are short."""
    seconds: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    def turn(self) -> None:
        """Make some iterations and keep the time of all but the first."""
        steps = self.steps(1 + self.count)
        next(steps)
        for _ in range(self.count):
            start, start_processor = perf_counter(), process_time()
            next(steps)
            self.seconds.append(perf_counter() - start)
            self.processor.append(process_time() - start_processor)

    @property
    def median(self) -> float:
        return median(self.seconds)


class Alone(Runner):
    """The preset fast in a process of its own, whose heap is kept as the command keeps it."""

    def __init__(self, precision: str, keep: bool, size: int, device: str) -> None:
        preset = "fast" if precision == "auto" else f"fast in {precision}"
        name = f"{preset}, own process, heap {'kept' if keep else 'not kept'}"
        super().__init__(name, lambda count: iter(()), 10)
        self._arguments = json.dumps([precision, keep, size, device, torch.get_num_threads()])

    def turn(self) -> None:
        command = [sys.executable, __file__, "--alone", self._arguments]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        seconds, processor = json.loads(done.stdout)
        self.seconds += seconds
        self.processor += processor


def measure_alone(precision: str, keep: bool, size: int, device: str, threads: int) -> None:
    """Print the times that the process of an Alone takes."""
    torch.set_num_threads(threads)
    images = np.random.default_rng(0).random((2, size, size), dtype=np.float32)
    config = FusionConfig.preset("fast", precision=precision, device=device)
    if keep:
        keep_freed_memory()
    runner = Runner("", fitted(images, config), 12)
    runner.turn()
    print(json.dumps([runner.seconds[2:], runner.processor[2:]]))


def fitted(images: Floats, config: FusionConfig) -> Callable[[int], Iterator[object]]:
    """Return a function that makes iterations of this program's own fit."""
    analysis = analyze(images, config)
    return Fit(analysis.target, analysis.weight, analysis.guides, config).run


def runners(images: Floats, device: str) -> list[Runner]:
    fast = FusionConfig.preset("fast", device=device)
    single = fast.replace(precision="float32")
    ours = [
        ("paper", FusionConfig.preset("paper", device=device), 2),
        ("fast", fast, 10),
        ("fast in float32", single, 10),
    ]
    return [
        Runner(REFERENCE, PublishedFit(images, device).run, 1),
        *(Runner(name, fitted(images, config), n) for name, config, n in ours),
        *(Alone(p, k, len(images[0]), device) for p in ("auto", "float32") for k in (True, False)),
    ]


def noisy(images: Floats) -> Floats:
    return parse_noise("gaussian-25").added(images)


def whole_runs(images: Floats, device: str) -> dict[str, Callable[[], object]]:
    """Return what is timed from arrays in to the end, by what it is called."""
    config = FusionConfig.preset("fast", device=device, intensity="dtype")
    large = np.stack([resize(i, (1024, 1024), order=1) for i in images]).astype(np.float32)
    rough = noisy(images)
    side = images.shape[1]
    return {
        f"fast, {side}x{side}, clean": lambda: fuse(list(images), config),
        f"fast, {side}x{side}, noise of 25/255": lambda: fuse(list(rough), config),
        "first preview, 1024x1024": lambda: until_preview(large, config, 0),
        f"first preview of the network, {side}x{side}": lambda: until_preview(rough, config, 1),
    }


def until_preview(images: Floats, config: FusionConfig, iteration: int) -> None:
    with closing(iter_fuse(list(images), config, preview_rate=4.0)) as events:
        for event in events:
            if isinstance(event, Preview) and event.iteration >= iteration:
                return


def time_iterations(all_runners: list[Runner], rounds: int) -> None:
    for n in range(rounds):
        for runner in all_runners:
            runner.turn()
            report(f"round {n + 1} of {rounds}: {runner.name} {runner.median:.3f} s")


def time_runs(
    tasks: dict[str, Callable[[], object]], reference: Runner, repeats: int
) -> dict[str, list[float]]:
    """Time whole runs in turn, each after iterations of the reference."""
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(repeats):
        for name, task in tasks.items():
            reference.turn()
            start = perf_counter()
            task()
            seconds[name].append(perf_counter() - start)
            report(f"{name}: {seconds[name][-1]:.2f} s")
    return seconds


def report(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def table(figures: dict[str, Any]) -> str:
    steps, runs, processor = (figures[n] for n in ("iterations", "runs", "processor"))
    whole = PUBLISHED_ITERATIONS * median(figures["reference_beside_runs"])
    lines = [
        figures["conditions"],
        "",
        "| iteration | seconds | reference / this | processor seconds | reference / this |",
        "|---|---:|---:|---:|---:|",
        *(f"| {n} | {_with_ratio(steps, n)} | {_with_ratio(processor, n)} |" for n in steps),
    ]
    lines += ["", *closed_form.table(figures["closed_form"])]
    if runs:
        lines += [
            "",
            f"| whole run | seconds | {PUBLISHED_ITERATIONS} reference iterations / this |",
            "|---|---:|---:|",
            *(
                f"| {n} | {median(s):.2f} | {_ratio(n, whole / median(s))} |"
                for n, s in runs.items()
            ),
        ]
    return "\n".join(lines) + "\n"


def _with_ratio(times: dict[str, list[float]], name: str) -> str:
    own = median(times[name])
    return f"{own:.4f} | {median(times[REFERENCE]) / own:.1f}"


def _ratio(name: str, ratio: float) -> str:
    """A preview is not a run: it is no match for one."""
    return "" if "preview" in name else f"{ratio:.0f}"


def plot(figures: dict[str, Any], path: Path) -> None:
    from matplotlib.figure import Figure

    steps = figures["iterations"]
    names = list(reversed(steps))
    values = [median(steps[n]) for n in names]
    figure = Figure(figsize=(8, 3.5), layout="constrained")
    axes = figure.subplots()
    axes.plot(values, names, "o")
    for name, value in zip(names, values, strict=True):
        text = f"{value:.3f} s, 1/{values[-1] / value:.1f}"
        axes.annotate(text, (value, name), (6, -3), textcoords="offset points", fontsize=9)
    axes.set_xscale("log")
    axes.set_xlim(min(values) / 1.5, max(values) * 4)
    axes.set_xlabel("seconds per iteration, and as a part of the reference")
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def conditions(images: Floats, device: str, rounds: int) -> str:
    rows, columns = images.shape[1:]
    precision = resolve_precision("auto", device)
    return (
        f"{rows}x{columns} pixels, {len(images)} sources, {device} ({platform.machine()}, "
        f"{os.cpu_count()} cores), torch {torch.__version__}, {torch.get_num_threads()} threads; "
        f"precision auto is {precision}. Medians of {rounds} rounds."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, help="folder of pairs; a synthetic one without it")
    parser.add_argument("--kinds", metavar="KIND[/NAME]", help="which pair; the first by default")
    parser.add_argument("--size", type=int, default=SIZE)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=2, help="of each whole run; 0 for none")
    parser.add_argument("--threads", type=int, default=0, help="0 leaves torch's own choice")
    parser.add_argument("--device", default="auto")
    parser.add_argument("-o", "--output", type=Path, default=Path("speed"))
    parser.add_argument("--closed-form", action="store_true", help="time the closed form only")
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.alone:
        measure_alone(*json.loads(given.alone))
        return
    if given.closed_form:
        print("\n".join(closed_form.table(closed_form.measure(LARGE, given.rounds))))
        return
    if given.threads:
        torch.set_num_threads(given.threads)
    device = resolve_device(given.device)
    pair = next(iter(chosen(given.data, given.kinds).values()))[0]
    images = pair.images(given.size)

    all_runners = runners(images, device)
    time_iterations(all_runners, given.rounds)
    steps = {r.name: list(r.seconds) for r in all_runners}
    processor = {r.name: list(r.processor) for r in all_runners}
    reference = all_runners[0]
    reference.seconds.clear()
    runs = time_runs(whole_runs(images, device), reference, given.repeats)
    figures = {
        "conditions": f"{pair.key}: {conditions(images, device, given.rounds)}",
        "iterations": steps,
        "processor": processor,
        "closed_form": closed_form.measure(LARGE, given.rounds),
        "reference_beside_runs": reference.seconds or steps[REFERENCE],
        "runs": {n: s for n, s in runs.items() if s},
    }
    given.output.mkdir(parents=True, exist_ok=True)
    (given.output / "speed.json").write_text(json.dumps(figures, indent=1) + "\n")
    text = table(figures)
    (given.output / "speed.md").write_text(text)
    plot(figures, given.output / "speed.png")
    print(text, end="")


if __name__ == "__main__":
    main()
