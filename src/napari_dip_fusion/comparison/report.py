"""What a comparison shows: averages, ranks and marks, as CSV, Markdown and contact sheets."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.comparison.events import Row
from napari_dip_fusion.comparison.labels import label_methods
from napari_dip_fusion.metrics import (
    METRICS,
    count_planes,
    describe_mean,
    read_planes,
    tabulate_planes,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "Summary",
    "draw_contact_sheet",
    "find_middle_plane",
    "find_zoom_window",
    "format_heading",
    "mark_best",
    "summarize",
    "to_csv",
    "to_markdown",
    "to_plane_csv",
]

NamedImages = Mapping[str, NDArray[Any]]

_DECIMALS = 4  # as in the paper's tables
_PANELS = 6  # a row of a contact sheet


@dataclass(frozen=True)
class Summary:
    """One method on all sets of one kind."""

    kind: str
    method: str
    label: str
    sets: int
    """Sets of sources that the averages are over."""
    metrics: dict[str, float]
    """Averages over the sets."""
    spread: dict[str, float]
    """Standard deviation of those averages over the seeds; empty for a single run."""
    rank: float
    """Mean rank over sets and metrics; 1 is the best of all methods."""
    seconds: float
    """Average time of a run."""
    mean: str = ""
    """What a metric of one set is, where sources are more than a plane: a mean over planes."""


def summarize(rows: Sequence[Row]) -> list[Summary]:
    """Average the rows of a comparison over the sets of each kind.

    Parameters
    ----------
    rows : sequence of Row

    Returns
    -------
    list of Summary
        Kinds and methods in the order of the rows.

    Notes
    -----
    Ranks are given within a set, metric by metric, to the means over the seeds; equal values
    share the mean of their ranks.
    """
    ranks = _rank_methods(rows)
    labels = label_methods()
    summaries = []
    for kind, method in dict.fromkeys((r.kind, r.method) for r in rows):
        mine = [r for r in rows if (r.kind, r.method) == (kind, method)]
        by_seed = [
            {name: float(np.mean([r.metrics[name] for r in chosen])) for name in mine[0].metrics}
            for seed in dict.fromkeys(r.seed for r in mine)
            if (chosen := [r for r in mine if r.seed == seed])
        ]
        summaries.append(
            Summary(
                kind,
                method,
                labels.get(method, method),
                sets=len({r.name for r in mine}),
                metrics={n: float(np.mean([m[n] for m in by_seed])) for n in by_seed[0]},
                spread={n: float(np.std([m[n] for m in by_seed], ddof=1)) for n in by_seed[0]}
                if len(by_seed) > 1
                else {},
                rank=float(np.mean(ranks[kind, method])),
                seconds=float(np.mean([r.seconds for r in mine])),
                mean=_describe_means(mine),
            )
        )
    return summaries


def _describe_means(rows: Sequence[Row]) -> str:
    stacks = [read_planes(r.plane_metrics) for r in rows if r.plane_metrics]
    texts = list(dict.fromkeys(map(describe_mean, stacks)))
    # Sets of many depths are named without them.
    return "mean over planes" if len(texts) > 1 else "".join(texts)


def _rank_methods(rows: Sequence[Row]) -> dict[tuple[str, str], list[float]]:
    """Return the ranks of each method on the sets of a kind, for every set and metric."""
    ranks: dict[tuple[str, str], list[float]] = {}
    for kind, name in dict.fromkeys((r.kind, r.name) for r in rows):
        here = [r for r in rows if (r.kind, r.name) == (kind, name)]
        methods = list(dict.fromkeys(r.method for r in here))
        for metric in here[0].metrics:
            means = [
                # Rounded, so that the rounding of a mean does not part equal values.
                np.mean([r.metrics[metric] for r in here if r.method == method]).round(10)
                for method in methods
            ]
            sign = -1 if METRICS[metric].higher_is_better else 1
            for method, rank in zip(methods, _rank(sign * np.array(means)), strict=True):
                ranks.setdefault((kind, method), []).append(float(rank))
    return ranks


def _rank(values: NDArray[Any]) -> NDArray[np.float64]:
    """Rank from 1 for the smallest; equal values share the mean of their ranks."""
    others = values[:, np.newaxis]
    below, equal = (others > values).sum(axis=1), (others == values).sum(axis=1)
    return np.asarray(below + (equal + 1) / 2)


def mark_best(summaries: Sequence[Summary], metric: str) -> list[int]:
    """Return 1 for the best, 2 for the second best and 0 for the rest, as they are printed."""
    sign = -1 if METRICS[metric].higher_is_better else 1
    values = [sign * round(s.metrics[metric], _DECIMALS) for s in summaries]
    places = sorted(set(values))[:2]
    return [places.index(v) + 1 if v in places and len(values) > 1 else 0 for v in values]


def format_average(summary: Summary, metric: str) -> str:
    """Return a metric's average, with its spread over the seeds where there is one."""
    value = f"{summary.metrics[metric]:.{_DECIMALS}f}"
    if metric in summary.spread:
        value += f" ± {summary.spread[metric]:.{_DECIMALS}f}"
    return value


def to_csv(rows: Sequence[Row]) -> str:
    """Return every run as one line, with full precision.

    Where sources are more than a plane, ``planes`` says over how many the metrics are means.
    """
    lines = []
    for r in rows:
        planes = {"planes": count_planes(read_planes(r.plane_metrics))} if r.plane_metrics else {}
        lines.append({**_name_run(r), **r.metrics, "seconds": r.seconds, **planes})
    metrics = list(rows[0].metrics) if rows else []
    stacks = ["planes"] if any(r.plane_metrics for r in rows) else []
    return _write_lines(lines, [*_RUN, *metrics, "seconds", *stacks])


def to_plane_csv(rows: Sequence[Row]) -> str:
    """Return every plane of every volume and series as one line, with its scores by a method.

    A metric that says nothing of a plane, and an axis that a set of sources lacks, is left empty.
    """
    stacks = [r for r in rows if r.plane_metrics]
    lines = [
        {**_name_run(r), **plane}
        for r in stacks
        for plane in tabulate_planes(read_planes(r.plane_metrics), r.stack_axes)
    ]
    axes = dict.fromkeys(axis for r in stacks for axis in r.stack_axes)
    metrics = list(stacks[0].plane_metrics) if stacks else []
    return _write_lines(lines, [*_RUN, *axes, *metrics])


_RUN = ("kind", "set", "method", "seed")


def _name_run(row: Row) -> dict[str, Any]:
    return dict(zip(_RUN, (row.kind, row.name, row.method, row.seed), strict=True))


def _write_lines(lines: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def to_markdown(rows: Sequence[Row]) -> str:
    """Return one table of averages for each kind; best in bold, second best in italics."""
    summaries = summarize(rows)
    return "\n".join(
        _format_table([s for s in summaries if s.kind == kind])
        for kind in dict.fromkeys(s.kind for s in summaries)
    )


def _format_table(summaries: Sequence[Summary]) -> str:
    metrics = list(summaries[0].metrics)
    heading = ["method", *(METRICS[m].label for m in metrics), "mean rank", "seconds"]
    lines = [heading, ["---", *["---:"] * (len(heading) - 1)]]
    marked = {m: mark_best(summaries, m) for m in metrics}
    signs = ("", "**", "_")
    most = max(s.sets for s in summaries)
    for i, s in enumerate(summaries):
        cells = [f"{(sign := signs[marked[m][i]])}{format_average(s, m)}{sign}" for m in metrics]
        name = s.label if s.sets == most else f"{s.label} ({s.sets} of {most} sets)"
        lines.append([name, *cells, f"{s.rank:.1f}", f"{s.seconds:.2f}"])
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"### {format_heading(summaries)}\n\n{table}\n"


def format_heading(summaries: Sequence[Summary]) -> str:
    """Return what stands above the table of one kind: what its averages are over."""
    most = max(s.sets for s in summaries)
    means = dict.fromkeys(s.mean for s in summaries if s.mean)
    count = f"{most} set{'s' if most > 1 else ''} of sources"
    return ", ".join([f"{summaries[0].kind}: {count}", *means])


def find_middle_plane(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the plane that a figure shows of a volume or a series.

    Parameters
    ----------
    shape : sequence of int
        Sizes of all axes, rows and columns last, without colors.

    Returns
    -------
    tuple of int
        Index along the axes before rows and columns; empty for a plane.
    """
    return tuple(size // 2 for size in shape[:-2])


def find_zoom_window(images: Sequence[NDArray[Any]]) -> tuple[slice, slice]:
    """Return the quarter of the picture's sides where the images differ most.

    Parameters
    ----------
    images : sequence of ndarray of shape (M, N) or (M, N, 3)
    """
    from scipy import ndimage  # tables need none of it

    gray = np.stack([i if i.ndim == 2 else i.mean(axis=-1) for i in images])
    rows, columns = gray.shape[1:]
    height, width = (max(n // 4, min(n, 16)) for n in (rows, columns))
    # The mean over a window of how much the images differ from each other at a pixel.
    difference = ndimage.uniform_filter(gray.std(axis=0), (height, width), mode="constant")
    # Only windows that lie inside the picture, by their centers.
    inside = difference[height // 2 : rows - (height - 1) // 2, width // 2 :]
    inside = inside[:, : columns - width + 1]
    top, left = np.unravel_index(inside.argmax(), inside.shape)
    return slice(int(top), int(top) + height), slice(int(left), int(left) + width)


def draw_contact_sheet(
    sources: NamedImages,
    fused: NamedImages,
    *,
    scores: Mapping[str, str] | None = None,
    title: str = "",
) -> "Figure":
    """Draw sources and fused images, each with the same enlarged part below it.

    Parameters
    ----------
    sources, fused : mapping of name to ndarray of shape (M, N) or (M, N, 3)
        In [0, 1].
    scores : mapping of name to str, optional
        A second line for the title of a fused image.
    title : str
        Title of the sheet.

    Returns
    -------
    matplotlib.figure.Figure
        Save it with ``savefig``; no window is opened.
    """
    from matplotlib.figure import Figure

    images = {**sources, **fused}
    window = find_zoom_window(list(fused.values()))
    columns = min(len(images), _PANELS)
    rows = -(-len(images) // columns)
    figure = Figure(figsize=(2.6 * columns, 5.4 * rows + 0.4), layout="constrained")
    figure.suptitle(title)
    axes = figure.subplots(2 * rows, columns, squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    for i, (name, image) in enumerate(images.items()):
        row, column = divmod(i, columns)
        heading = "\n".join(filter(None, [name, (scores or {}).get(name)]))
        _draw(axes[2 * row, column], image, heading)
        _draw(axes[2 * row + 1, column], image[window], "")
        _outline(axes[2 * row, column], window)
    return figure


def _draw(ax: "Axes", image: NDArray[Any], heading: str) -> None:
    ax.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    ax.set_title(heading, fontsize=8)


def _outline(ax: "Axes", window: tuple[slice, slice]) -> None:
    from matplotlib.patches import Rectangle

    rows, columns = window
    corner = (columns.start - 0.5, rows.start - 0.5)
    size = (columns.stop - columns.start, rows.stop - rows.start)
    ax.add_patch(Rectangle(corner, *size, fill=False, edgecolor="tab:red"))
