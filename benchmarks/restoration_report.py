"""The results of restoration.py: the file that keeps them, their tables and their plot."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from degraded import FURTHER_CASES, MAIN_CASES, Case
from quality import markdown_table
from restoration_runs import run_tables
from restorers import (
    AUTO,
    BM3D,
    CUBIC,
    INTERPOLATED,
    LINEAR,
    LONG,
    QUICK,
    SHORT,
    TOTAL_VARIATION,
    Figures,
)

BEST = "plug and play, the better of 8 and 24"
SHOWN = (LINEAR, CUBIC, INTERPOLATED, TOTAL_VARIATION, BEST, QUICK, AUTO)
MAIN = [case.name for case in MAIN_CASES]
WRONG = ("narrow", "wide")


Gains = dict[tuple[str, str], float]
"""Decibels by case and pair."""


class Results:
    """Figures by case, pair and row, each a line of a file to which several runs may add."""

    def __init__(self, path: Path) -> None:
        self._path = path
        lines = path.read_text().splitlines() if path.exists() else []
        self._kept = {tuple(key): figures for key, figures in map(json.loads, lines)}

    def __contains__(self, key: tuple[str, str, str]) -> bool:
        return self.get(*key) is not None

    def add(self, key: tuple[str, str, str], figures: Figures) -> None:
        self._kept[key] = figures
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a") as file:
            file.write(json.dumps([key, figures]) + "\n")

    def get(self, case: str, pair: str, row: str) -> Figures | None:
        if row != BEST:
            return self._kept.get((case, pair, row))
        both = [self._kept.get((case, pair, one)) for one in (SHORT, LONG)]
        found = [figures for figures in both if figures]
        return max(found, key=lambda f: f["psnr"]) if len(found) == len(both) else None

    def pairs(self, case: str, rows: Sequence[str], kind: str = "") -> list[str]:
        """Return the pairs of a kind that have all of some rows in a case."""
        names = {p for c, p, _ in self._kept if c == case and p.startswith(kind)}
        return sorted(p for p in names if all((case, p, row) in self for row in rows))

    def rows(self, case: str) -> list[str]:
        """Return which of the rows that are shown a case has at all."""
        return [row for row in SHOWN if self.pairs(case, (row,))]

    def kinds(self) -> list[str]:
        return sorted({pair.partition("/")[0] for case, pair, _ in self._kept if case in MAIN})

    def shared(self, case: str, kind: str = "") -> list[str]:
        """Return the pairs over which the rows of a case are compared."""
        needed = [row for row in (LINEAR, BEST, AUTO) if self.pairs(case, (row,))]
        return self.pairs(case, needed, kind)

    def average(self, case: str, row: str, kind: str = "") -> tuple[float, float] | None:
        """Return PSNR and SSIM of a row over the shared pairs of a case; None if one lacks it."""
        pairs = self.shared(case, kind)
        found = {(case, pair): f for pair in pairs if (f := self.get(case, pair, row))}
        if not pairs or len(found) < len(pairs):
            return None
        psnr, ssim = ({k: f[name] for k, f in found.items()} for name in ("psnr", "ssim"))
        return balance(psnr), balance(ssim)

    def gains(self, cases: Sequence[str], row: str, over: str) -> Gains:
        """Return how many dB a row is over another one."""
        found: Gains = {}
        for case in cases:
            for pair in self.pairs(case, ()):
                ours, others = self.get(case, pair, row), self.get(case, pair, over)
                if ours and others:
                    found[case, pair] = ours["psnr"] - others["psnr"]
        return found


def balance(values: Gains) -> float:
    """Return the mean of the means of each case and kind: kinds of more pairs weigh no more."""
    groups: dict[tuple[str, str], list[float]] = {}
    for (case, pair), value in values.items():
        groups.setdefault((case, pair.partition("/")[0]), []).append(value)
    return mean(mean(group) for group in groups.values())


def least(values: Gains) -> float:
    return min(values.values())


def report(results: Results) -> str:
    parts = [
        "# Restoration\n",
        *case_tables(results),
        *gain_tables(results),
        *goal_table(results),
        *further_tables(results),
        *run_tables(lambda name: results.get("runs", "", name)),
    ]
    return "\n".join(parts)


def case_tables(results: Results) -> Iterator[str]:
    """Yield the means of each row in each case, over all kinds and by kind."""
    yield "PSNR (dB) and SSIM of the fused image to the fusion of the undegraded sources.\n"
    yield "\n".join(f"- {case.name}: {case.text}" for case in MAIN_CASES) + "\n"
    for kind in ("", *results.kinds()):
        counts = [len(results.shared(case, kind)) for case in MAIN]
        if any(counts):
            yield f"## {kind or 'All kinds'}\n"
            head = [f"{c} ({n})" for c, n in zip(MAIN, counts, strict=True)]
            yield markdown_table(
                ["pairs in brackets", *head, "mean"],
                [[row, *_cells(results, row, kind)] for row in SHOWN],
            )


def _cells(results: Results, row: str, kind: str) -> Iterator[str]:
    averages = [results.average(case, row, kind) for case in MAIN]
    for average in averages:
        yield f"{average[0]:.2f} {average[1]:.3f}" if average else "-"
    if all(averages):
        yield f"{mean(a[0] for a in averages):.2f} {mean(a[1] for a in averages):.3f}"
    else:
        yield "-"


def gain_tables(results: Results) -> Iterator[str]:
    """Yield how far a row is over another one, case by case."""
    yield "## Gains in dB: mean, least (where), how often below 0\n"
    compared = ((AUTO, LINEAR), (AUTO, BEST), (AUTO, QUICK), (AUTO, BM3D), (QUICK, BEST))
    cells = []
    for row, over in compared:
        columns = [*([case] for case in MAIN), MAIN]
        gains = [_gain_cell(results.gains(cases, row, over)) for cases in columns]
        cells.append([f"{row} over {over}", *gains])
    yield markdown_table(["", *MAIN, "all"], cells)


def _gain_cell(gains: Gains) -> str:
    if not gains:
        return "-"
    below = sum(gain < 0 for gain in gains.values())
    return f"{balance(gains):+.2f}, {_least_cell(gains)}, {below}/{len(gains)}"


def _least_cell(gains: Gains) -> str:
    case, pair = min(gains, key=lambda key: gains[key])
    return f"{least(gains):+.2f} ({case} {pair})"


def goal_table(results: Results) -> Iterator[str]:
    """Yield the goals, what was reached, and whether that is enough."""
    yield "## Goals\n"
    linear, others = (results.gains(MAIN, AUTO, over) for over in (LINEAR, BEST))
    goals: list[tuple[str, Gains, Callable[[Gains], float], float]] = [
        ("over linear, mean of all cases", linear, balance, 3.0),
        ("over linear, least", linear, least, 0.0),
        ("over plug and play, mean of a", results.gains(["a"], AUTO, BEST), balance, 1.5),
        ("over plug and play, mean of all cases", others, balance, 1.0),
        ("over plug and play, least", others, least, -0.1),
    ]
    for case in WRONG:
        linear, others = (results.gains([case], AUTO, over) for over in (LINEAR, BEST))
        goals += [
            (f"{case}: over linear, mean", linear, balance, 1.5),
            (f"{case}: over linear, least", linear, least, 1.5),
            (f"{case}: over plug and play, mean", others, balance, -0.5),
            (f"{case}: over plug and play, least", others, least, -0.5),
        ]
    shifted = results.gains(["shifted"], AUTO, LINEAR)
    goals.append(("shifted: over linear, least", shifted, least, 0.0))
    cells = [_goal_cells(*goal) for goal in goals]
    found = [results.get("same", pair, AUTO) for pair in results.pairs("same", (AUTO,))]
    if found:
        worst = max(figures["difference"] for figures in found if figures)
        cells.append(["same: largest difference", "1e-6", f"{worst:.1e}", _verdict(worst <= 1e-6)])
    yield markdown_table([AUTO, "goal", "reached", ""], cells)


def _goal_cells(
    text: str, gains: Gains, summarize: Callable[[Gains], float], goal: float
) -> list[str]:
    if not gains:
        return [text, f"{goal:+.1f}", "-", ""]
    reached = summarize(gains)
    cell = _least_cell(gains) if summarize is least else f"{reached:+.2f}"
    return [text, f"{goal:+.1f}", cell, _verdict(reached >= goal)]


def _verdict(met: bool) -> str:
    return "met" if met else "**missed**"


def further_tables(results: Results) -> Iterator[str]:
    """Yield what was measured beside the main cases, each kind by itself."""
    yield "## Further cases\n"
    yield "\n".join(f"- {case.name}: {case.text}" for case in FURTHER_CASES) + "\n"
    for case in FURTHER_CASES:
        kinds = [kind for kind in results.kinds() if results.pairs(case.name, (), kind)]
        if kinds:
            yield f"### {case.name}\n"
            yield markdown_table(["", *kinds], list(_further_rows(results, case, kinds)))


def _further_rows(results: Results, case: Case, kinds: Sequence[str]) -> Iterator[list[str]]:
    for row in results.rows(case.name):
        averages = [results.average(case.name, row, kind) for kind in kinds]
        yield [row, *(f"{a[0]:.2f} {a[1]:.3f}" if a else "-" for a in averages)]


def plot(results: Results, path: Path) -> None:
    """Draw by how much each row is over linear interpolation in each case, pair by pair."""
    from matplotlib.figure import Figure

    rows = (CUBIC, TOTAL_VARIATION, BEST, QUICK, AUTO)
    figure = Figure(figsize=(10, 4.5), layout="constrained")
    axes: Any = figure.subplots()
    for number, row in enumerate(rows):
        gains = results.gains(MAIN, row, LINEAR)
        offset = 0.15 * (number - (len(rows) - 1) / 2)
        style = {"color": f"C{number}", "linestyle": "none"}
        places = [MAIN.index(case) + offset for case, _ in gains]
        axes.plot(places, list(gains.values()), marker=".", alpha=0.35, **style)
        means = {case: [g for (c, _), g in gains.items() if c == case] for case in MAIN}
        found = [(MAIN.index(c) + offset, mean(g)) for c, g in means.items() if g]
        if found:
            axes.plot(*zip(*found, strict=True), marker="D", label=row, **style)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xticks(range(len(MAIN)), MAIN)
    axes.set_xlabel("case")
    axes.set_ylabel("PSNR over linear interpolation (dB)")
    axes.grid(axis="y", alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=150)
