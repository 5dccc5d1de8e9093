"""What is left of a degraded source: interpolation, classical priors, and this program.

    python benchmarks/restoration.py --data DIR [--pairs N] [--cases a,b] [--rows R,...] [-o FOLDER]

The second source of a registered pair of 256x256 pixels is degraded (see degraded.py for the
cases), restored in different ways (see restorers.py for the rows) and fused with the first one.
PSNR (dB) and SSIM compare the fused image with the fusion of the undegraded sources by the same
closed form. Noise that a source of DATA has by itself is removed beforehand, except in the case
"noisy". Where half a source is missing, so it is in the truth.

"linear" and "cubic" are what is fused after interpolation, with black where nothing was seen. Total
variation has the weight that is best by the truth, for each image. Plug and play is the denoiser of
this program in 8 or 24 steps of half-quadratic splitting; the better of both by the truth is what
"auto" is compared with. All but this program's own rows are told the true noise, and its own find
it out. "network=never" is its first image.

DATA is as for quality.py, and ``pet_mr/N_mr.png`` and ``_pet.png``. A kind with fewer than N pairs
has some the other way round as well. Finished results are kept in FOLDER (results.jsonl), and the
same command goes on where it was interrupted; several may run at once. It writes restoration.md and
restoration.png there. Seconds in the table are of processes of one thread that share the machine;
times, memory and volumes are measured with ``--runs``, which makes processes of their own.
"""

import argparse
import multiprocessing
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from degraded import CASES, FURTHER_CASES, MAIN_CASES, Scene, restored_pairs
from pairs import Pair
from restoration_report import Results, plot, report
from restoration_runs import RUNS, make_run
from restorers import (
    AUTO,
    BM3D,
    INTERPOLATED,
    LINEAR,
    QUICK,
    ROWS,
    TOTAL_VARIATION,
    Figures,
    measure,
)


@dataclass(frozen=True)
class Task:
    """One row of one case of one pair, which is the n-th of its kind."""

    data: Path | None
    pair: str
    number: int
    case: str
    row: str

    @property
    def key(self) -> tuple[str, str, str]:
        return self.case, self.pair, self.row

    def make(self) -> Figures:
        return measure(self.row, _make_scene(self.data, self.pair, self.case))


@lru_cache(maxsize=4)
def _make_scene(data: Path | None, pair: str, case: str) -> Scene:
    ((only,),) = restored_pairs(data, pair, 1).values()
    return Scene(only, CASES[case])


def tasks(
    data: Path | None, kinds: dict[str, list[Pair]], cases: Sequence[str], rows: Sequence[str]
) -> Iterator[Task]:
    """Yield what is to be measured: all kinds and cases with one pair before the next."""
    count = max(map(len, kinds.values()))
    for number in range(count):
        for case in cases:
            for pair in (pairs[number] for pairs in kinds.values() if number < len(pairs)):
                for row in rows:
                    if is_wanted(pair.kind, number, case, row):
                        yield Task(data, pair.key, number, case, row)


def is_wanted(kind: str, number: int, case: str, row: str) -> bool:
    """Tell whether a row says something in a case, and is worth its time there."""
    chosen = CASES[case]
    if chosen.kinds and kind not in chosen.kinds:
        return False
    if row == BM3D:
        return case == "a" and number == 0 and find_spec("bm3d") is not None
    if chosen in MAIN_CASES:
        return True
    if case in ("noisy", "same", "half"):
        return row in (LINEAR, INTERPOLATED, QUICK, AUTO)
    return row != TOTAL_VARIATION


def fill(results: Results, wanted: Sequence[Task], jobs: int) -> None:
    missing = [task for task in wanted if task.key not in results]
    # Begun anew, so that each has the threads that it is told before it loads its libraries.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        futures = {pool.submit(task.make): task for task in missing}
        try:
            for n, future in enumerate(as_completed(futures)):
                task, figures = futures[future], future.result()
                results.add(task.key, figures)
                text = f"{n + 1}/{len(missing)} {' | '.join(task.key)}: {figures['psnr']:.2f} dB"
                print(f"{text} ({figures['seconds']:.1f} s)", file=sys.stderr, flush=True)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def chosen(text: str | None, known: Sequence[str], what: str) -> list[str]:
    names = list(known) if text is None else text.split(",")
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SystemExit(f"there is no {what} {unknown[0]}; there are {', '.join(known)}")
    return names


def write(results: Results, folder: Path) -> str:
    text = report(results)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "restoration.md").write_text(text)
    plot(results, folder / "restoration.png")
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, help="folder of pairs; synthetic samples without it")
    parser.add_argument("--kinds", metavar="KIND[/NAME],...", help="all but focus by default")
    parser.add_argument("--pairs", type=int, default=3, metavar="N", help="of each kind")
    parser.add_argument("--cases", metavar="NAME,...", help=f"{', '.join(CASES)}; all by default")
    parser.add_argument("--rows", metavar="NAME,...", help=f"{', '.join(ROWS)}; all by default")
    parser.add_argument("--runs", action="store_true", help="times, memory and volumes instead")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes at once")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of each process")
    parser.add_argument("-o", "--output", type=Path, default=Path("restoration"), metavar="FOLDER")
    given = parser.parse_args()
    results = Results(given.output / "results.jsonl")
    try:
        if given.runs:
            for name in RUNS:
                if ("runs", "", name) not in results:
                    results.add(("runs", "", name), make_run(name, given.data))
        else:
            os.environ["OMP_NUM_THREADS"] = str(given.threads)
            cases = chosen(given.cases, [c.name for c in (*MAIN_CASES, *FURTHER_CASES)], "case")
            rows = chosen(given.rows, list(ROWS), "row")
            kinds = restored_pairs(given.data, given.kinds, given.pairs)
            fill(results, list(tasks(given.data, kinds, cases, rows)), given.jobs)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
    print(write(results, given.output), end="")


if __name__ == "__main__":
    main()
