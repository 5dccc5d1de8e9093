"""Fusion block by block: time per pixel, memory, workers, resuming, beside dask's map_overlap.

    python benchmarks/scale.py [--sizes 1024,2048,4096,8192,16384] [--runs NAMES] [-o FOLDER]

The pair is the synthetic head of CT and MR, side by side as often as it takes, each copy in a
brightness of its own, of 16 bits in OME-Zarr with chunks of 512x512. It is fused to OME-Zarr of 16
bits with the default preset and blocks of 1536x1536: as it is, and under Gaussian noise (standard
deviation of a tenth of the range, clipped). Every row is a process of its own, since peak memory
does not fall again; that of workers is the largest of them. Workers share the cores: one on one
core, one with threads on two, and two. Of the largest noisy pair four blocks
are made, which is what its peak memory takes. No metrics are computed, of no row.

For map_overlap, as multiview-stitcher and dask-image filter images of any size, on dask's threads
in chunks of 1536x1536: six Gaussian filters of standard deviation 4.5, as many as the closed form
takes the time of on two threads (benchmarks/closed_form.py), summed; and as much work exactly, the
closed form itself, by windows whose ends dask finds first as the survey does.

A run of 4096x4096 in blocks of 512x512 is killed (SIGKILL) after a third of its blocks and resumed;
the blocks of both runs are counted.

Finished rows are kept in FOLDER; the same command goes on where it was interrupted. It writes
scale.md and scale.png there.
"""

import argparse
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion import Control, FusionConfig, Source, iter_fuse_blocks, read_image
from napari_dip_fusion.blocks import BlockDone, BlocksBegun, BlocksDone
from napari_dip_fusion.io.zarr.growing import GrowingImage
from napari_dip_fusion.samples import head_phantom

Figures = dict[str, Any]

SIZES = (1024, 2048, 4096, 8192, 16384)
BLOCK, CHUNK, PIECE, KILLED_BLOCK = 1536, 512, 1024, 512
NOISE = 0.1
FEW = 4
"""Blocks of the largest noisy pair that are made."""

GAUSSIANS, SIGMA = 6, 4.5
RUNS = ("clean", "noisy", "workers", "dask", "resume")


def peak() -> int:
    """Return the peak resident memory of this process in bytes (Linux)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def peak_of_children() -> int:
    """Return the largest peak resident memory of the processes that this one waited for."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024


def name_source(folder: Path, size: int, noisy: bool, number: int) -> Path:
    return folder / f"source-{size}{'-noisy' if noisy else ''}-{number}.ome.zarr"


def save_pair(folder: Path, size: int, noisy: bool) -> None:
    """Write a pair of so many rows and columns, a block at a time."""
    sources = head_phantom().sources
    for number, source in enumerate(sources):
        path = name_source(folder, size, noisy, number)
        if path.exists():
            continue
        blank = Source(np.broadcast_to(np.uint16(0), (size, size)), name=path.name)
        block = min(PIECE, size)
        image = GrowingImage.create(path.with_suffix(".part"), blank, (block, block))
        tile = np.asarray(source, np.float32) / np.float32(np.max(source))
        for row in range(0, size, block):
            for column in range(0, size, block):
                pixels = draw(tile, block, seed=(number, row, column), noisy=noisy)
                image.take((row, column), image.writer.write((row, column), pixels))
        image.finish({})
        path.with_suffix(".part").rename(path)


def draw(
    tile: NDArray[np.float32], block: int, *, seed: tuple[int, ...], noisy: bool
) -> NDArray[np.uint16]:
    """Return a block of copies of an image, each in a brightness of its own."""
    random = np.random.default_rng(seed)
    copies = -(-block // len(tile))
    bright = random.uniform(0.5, 0.9, (copies, copies)).astype(np.float32)
    values = np.kron(bright, tile)[:block, :block]
    if noisy:
        values += NOISE * random.standard_normal(values.shape, np.float32)
    return (65535 * values.clip(0, 1)).astype(np.uint16)


def read_pair(folder: Path, size: int, noisy: bool) -> list[Source]:
    return [read_image(name_source(folder, size, noisy, number)) for number in range(2)]


def fuse(
    folder: Path,
    size: int,
    *,
    noisy: bool = False,
    workers: int = 0,
    cores: int = 0,
    most: int = 0,
    block: int = BLOCK,
    kill: int = 0,
    resume: bool = False,
) -> Figures:
    """Fuse a pair; return times, memory and the number of blocks that were made."""
    output = folder / f"fused-{os.getpid() if not (kill or resume) else 'killed'}.ome.zarr"
    if cores:
        os.sched_setaffinity(0, range(cores))
    control, made, steps = Control(), 0, 0
    start = begun = ended = perf_counter()
    events = iter_fuse_blocks(
        read_pair(folder, size, noisy),
        output,
        FusionConfig(),
        block=block,
        dtype="uint16",
        workers=workers,
        which=(),
        control=control,
        resume=resume,
    )
    for event in events:
        if isinstance(event, BlocksBegun):
            begun = perf_counter()
        elif isinstance(event, BlockDone):
            made, ended = made + 1, perf_counter()
            if kill and made == kill:
                os.kill(os.getpid(), signal.SIGKILL)
            if most and made == most:
                control.stop()
        elif isinstance(event, BlocksDone):
            steps = len(event.result.record.get("losses", ()))
    figures = {
        "survey": begun - start,
        "blocks": ended - begun,
        "seconds": perf_counter() - start,
        "made": made,
        "steps": steps,
        "peak": peak_of_children() if workers else peak(),
    }
    for path in (output, output.with_name(f"{output.name}.part")):
        shutil.rmtree(path, ignore_errors=True)
    return figures


def filter_gaussians(one: NDArray[Any], two: NDArray[Any]) -> NDArray[np.float32]:
    """Return the sum of some Gaussian filters of two parts."""
    from scipy import ndimage

    total = np.zeros(one.shape, np.float32)
    for number in range(GAUSSIANS):
        values = (one, two)[number % 2].astype(np.float32) / 65535
        total += ndimage.gaussian_filter(values, SIGMA)
    return total


def fuse_closed_form(one: NDArray[Any], two: NDArray[Any]) -> NDArray[np.float32]:
    """Return the closed form of two parts, as this program's blocks have it."""
    from napari_dip_fusion.sensor.analysis import SourceNoise, analyze

    images = np.stack([one, two])
    none = (SourceNoise(),) * 2
    return analyze(images, FusionConfig(), none, keep_model=False).consensus


def map_overlap(folder: Path, size: int, work: str) -> Figures:
    """Map a function over a pair by dask, and store what it returns."""
    import dask
    import dask.array as da
    import zarr

    start = perf_counter()
    stores = [name_source(folder, size, False, number) / "0" for number in range(2)]
    arrays = [zarr.open_array(str(path), mode="r") for path in stores]
    function, reach = WORKS[work]
    lazy = [da.from_zarr(a).rechunk((BLOCK, BLOCK)) for a in arrays]
    if function is fuse_closed_form:
        with dask.config.set(scheduler="threads"):
            ends = dask.compute(*(end for a in lazy for end in (a.min(), a.max())))
        windows = zip(lazy, ends[::2], ends[1::2], strict=True)
        lazy = [
            ((a - float(low)) / float(high - low)).astype(np.float32) for a, low, high in windows
        ]
    mapped = da.map_overlap(function, *lazy, depth=reach, boundary="reflect", dtype=np.float32)
    whole = (65535 * mapped.clip(0, 1)).astype(np.uint16)
    output = folder / f"mapped-{os.getpid()}.zarr"
    stored = zarr.create_array(
        str(output), shape=(size, size), chunks=(CHUNK, CHUNK), dtype=np.uint16
    )
    with dask.config.set(scheduler="threads"):
        whole.store(stored, lock=False)
    figures = {"seconds": perf_counter() - start, "peak": peak()}
    shutil.rmtree(output)
    return figures


WORKS: dict[str, tuple[Callable[..., NDArray[np.float32]], int]] = {
    "Gaussians": (filter_gaussians, int(4 * SIGMA + 0.5)),
    "closed form": (fuse_closed_form, 36),
}
"""What is mapped by dask, and how far pixels bear on each other."""


def list_rows(sizes: list[int], names: list[str]) -> dict[str, dict[str, Any]]:
    """Return the rows of the table, each with what its process does."""
    rows: dict[str, dict[str, Any]] = {}
    largest = max(sizes)
    if "clean" in names:
        rows |= {f"clean {n}": {"size": n} for n in sizes}
    if "noisy" in names:
        for n in (n for n in sizes if n in (1024, 4096) or n == largest):
            most = FEW if n > 4096 else 0
            rows[f"noisy {n}"] = {"size": n, "noisy": True, "most": most}
    if "workers" in names:
        rows[f"1 worker on 1 core, {largest}"] = {"size": largest, "workers": 1, "cores": 1}
        rows |= {
            f"{k} worker{'s' * (k > 1)} on 2 cores, {largest}": {"size": largest, "workers": k}
            for k in (1, 2)
        }
    if "dask" in names:
        rows |= {
            f"map_overlap of {work} {n}": {"size": n, "work": work}
            for work in WORKS
            for n in sizes
            if n >= 4096
        }
    return rows


def run_row(folder: Path, task: dict[str, Any]) -> Figures:
    return map_overlap(folder, **task) if "work" in task else fuse(folder, **task)


def measure_resuming(folder: Path) -> Figures:
    """Kill a run after a third of its blocks, and resume it."""
    size = 4096
    count = (size // KILLED_BLOCK) ** 2
    task = {"size": size, "block": KILLED_BLOCK}
    killed = call(folder, {**task, "kill": count // 3}, check=False)
    assert killed is None, "the run was not killed"
    resumed = call(folder, {**task, "resume": True})
    assert resumed is not None
    return {"blocks": count, "before": count // 3, "after": resumed["made"]}


def call(folder: Path, task: dict[str, Any], *, check: bool = True) -> Figures | None:
    """Return the figures of a row, made in a process of its own; None of one that was killed."""
    text = json.dumps([str(folder), task])
    done = subprocess.run(
        [sys.executable, __file__, "--row", text], check=check, stdout=subprocess.PIPE, text=True
    )
    return json.loads(done.stdout) if done.returncode == 0 else None


def measure(folder: Path, sizes: list[int], names: list[str]) -> dict[str, Figures]:
    """Return the figures of all rows; those that are there are not made again."""
    found = {}

    def keep(name: str, make: Callable[[], Figures | None]) -> None:
        file = folder / f"{name.replace(' ', '-').replace(',', '')}.json"
        if not file.exists():
            print(f"{name} ...", file=sys.stderr, flush=True)
            file.write_text(json.dumps(make()))
        found[name] = json.loads(file.read_text())

    for name, task in list_rows(sizes, names).items():
        save_pair(folder, task["size"], bool(task.get("noisy")))
        keep(name, lambda task=task: call(folder, task))
    if "resume" in names and 4096 in sizes:
        save_pair(folder, 4096, False)
        keep("resume", lambda: measure_resuming(folder))
    return found


def tabulate(found: dict[str, Figures], sizes: list[int]) -> list[str]:
    """Return the table in Markdown."""
    lines = [
        "| run | survey, s | blocks, s | in all, s | microseconds a pixel | peak memory, GB |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in found.items():
        if name == "resume":
            continue
        size = int(name.split()[-1])
        pixels = size**2
        if row.get("made") == FEW and size > 4096:
            name, pixels = f"{name}, {FEW} blocks", FEW * BLOCK**2
        blocks = f"{row['blocks']:.1f}" if "blocks" in row else ""
        survey = f"{row['survey']:.1f}" if "survey" in row else ""
        lines.append(
            f"| {name} | {survey} | {blocks} | {row['seconds']:.1f} "
            f"| {1e6 * row['seconds'] / pixels:.3f} | {row['peak'] / 1e9:.2f} |"
        )
    if "resume" in found:
        row = found["resume"]
        lines += [
            "",
            f"Killed after {row['before']} of {row['blocks']} blocks, resumed: "
            f"{row['after']} blocks made.",
        ]
    return lines


def plot(found: dict[str, Figures], file: Path) -> None:
    """Draw time per pixel and peak memory against the size."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    time, memory = figure.subplots(1, 2)
    for kind in ("clean", *(f"map_overlap of {work}" for work in WORKS)):
        rows = {int(n.split()[-1]): r for n, r in found.items() if n.startswith(kind)}
        if rows:
            sizes = sorted(rows)
            time.plot(sizes, [1e6 * rows[n]["seconds"] / n**2 for n in sizes], "o-", label=kind)
            memory.plot(sizes, [rows[n]["peak"] / 1e9 for n in sizes], "o-", label=kind)
    noisy = {int(n.split()[-1]): r for n, r in found.items() if n.startswith("noisy")}
    memory.plot(sorted(noisy), [noisy[n]["peak"] / 1e9 for n in sorted(noisy)], "s:", label="noisy")
    time.set_ylabel("microseconds a pixel")
    memory.set_ylabel("peak memory, GB")
    for panel in (time, memory):
        panel.set_xscale("log", base=2)
        panel.set_xlabel("rows and columns")
        panel.set_ylim(bottom=0)
        panel.grid(alpha=0.3)
        panel.legend(fontsize=8)
    figure.savefig(file, dpi=110)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="rows of the images")
    parser.add_argument("--runs", default=",".join(RUNS), help=f"some of {', '.join(RUNS)} (all)")
    parser.add_argument("-o", "--output", type=Path, default=Path("scale"), help="folder (scale)")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    given = parse()
    if given.row:
        folder, task = json.loads(given.row)
        print(json.dumps(run_row(Path(folder), task)))
        return
    sizes, names = [int(n) for n in given.sizes.split(",")], given.runs.split(",")
    if not set(names) <= set(RUNS):
        raise SystemExit(f"--runs takes some of {', '.join(RUNS)}, got {given.runs}")
    given.output.mkdir(parents=True, exist_ok=True)
    found = measure(given.output, sizes, names)
    text = "\n".join(tabulate(found, sizes)) + "\n"
    (given.output / "scale.md").write_text(text)
    plot(found, given.output / "scale.png")
    print(text, end="")


if __name__ == "__main__":
    main()
