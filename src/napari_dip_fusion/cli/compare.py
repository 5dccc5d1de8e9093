"""The command dip-fusion compare, which runs methods on sets of sources and ranks them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from napari_dip_fusion import comparison
from napari_dip_fusion.cli import console
from napari_dip_fusion.cli.contact_sheets import ContactSheets
from napari_dip_fusion.cli.options import (
    Choice,
    Device,
    Force,
    Fwhm,
    IntensityOption,
    Iterations,
    Mask,
    Quiet,
    SetOption,
    Slice,
    Yes,
    parse_intensity,
    parse_settings,
)
from napari_dip_fusion.cli.reading import confirm_count
from napari_dip_fusion.cli.source_sets import collect_sets
from napari_dip_fusion.comparison import (
    Finished,
    Outcomes,
    Running,
    Summary,
    format_heading,
    label_methods,
    summarize,
    to_csv,
    to_markdown,
    to_plane_csv,
)
from napari_dip_fusion.comparison.report import format_average, mark_best
from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.io import write_text
from napari_dip_fusion.methods import METHODS
from napari_dip_fusion.metrics import DEFAULT_METRICS, METRICS

# A pair takes it minutes and up to an hour: it is run only when it is asked for.
_SLOW = "dip-paper"
_DEFAULT = [name for name in label_methods() if name != _SLOW]
# Settings that mean something else in a comparison, and the option to use in their place.
_NOT_SET = {
    "intensity": "use --intensity",
    "percentiles": "use --intensity with a window LOW:HIGH for each source",
    "seed": "use --seeds",
    "preset_name": "choose the preset by the method's name",
    "method": "use --methods",
}

_PLANES = "comparison-planes.csv"
# The files of --csv and of --markdown, and what is written into each.
_TABLES = {"comparison.csv": to_csv, _PLANES: to_plane_csv}
_REPORTS = {"comparison.md": to_markdown}


_SetSources = Annotated[
    list[Path] | None, typer.Argument(help="Two or more aligned images of one scene.")
]
_PairsFrom = Annotated[
    Path | None,
    typer.Option(
        help="Folder of sets in place of one: files whose names differ only after the last "
        "- or _, like 11_ct.png and 11_mr.png. Each of its subfolders is a kind."
    ),
]
_Methods = Annotated[
    list[str] | None,
    typer.Option(
        help="Methods, with commas or repeated, or all. "
        f"One of {', '.join(label_methods())}. By default all but {_SLOW}."
    ),
]
_Folder = Annotated[
    Path, typer.Option("--output", "-o", help="Folder for the results; made if needed.")
]
_Csv = Annotated[
    bool,
    typer.Option(
        "--csv",
        help="Write comparison.csv, a line a run; of volumes and series comparison-planes.csv too, "
        "a line a plane.",
    ),
]
_Markdown = Annotated[
    bool, typer.Option("--markdown", help="Write comparison.md, the averages of each kind.")
]
_Figure = Annotated[
    bool, typer.Option("--figure", help="Write a contact sheet of each set into figures/.")
]
_Seeds = Annotated[
    int, typer.Option(help="Runs of each method that has a seed, for mean and spread.")
]
_Which = Annotated[
    list[str] | None,
    typer.Option(help="Metric (repeatable), or all. By default those of the paper."),
]
_Weights = Annotated[
    list[str] | None,
    typer.Option(metavar="METHOD=FILE", help="Weights of a method (repeatable)."),
]
_Download = Annotated[
    bool, typer.Option("--download", help="Download missing VGG-19 weights (548 MB).")
]
_Fresh = Annotated[
    bool, typer.Option("--fresh", help="Run everything again, in place of going on.")
]


def compare_files(
    sources: _SetSources = None,
    *,
    pairs_from: _PairsFrom = None,
    methods: _Methods = None,
    output: _Folder = Path("dip-fusion-comparison"),
    csv: _Csv = False,
    markdown: _Markdown = False,
    figure: _Figure = False,
    seeds: _Seeds = 1,
    which: _Which = None,
    plane: Slice = None,
    fwhm: Fwhm = None,
    mask: Mask = None,
    intensity: IntensityOption = None,
    iterations: Iterations = None,
    device: Device = None,
    settings: SetOption = None,
    weights: _Weights = None,
    download: _Download = False,
    fresh: _Fresh = False,
    force: Force = False,
    yes: Yes = False,
    quiet: Quiet = False,
) -> None:
    """Run fusion methods on one or many sets of sources, and rank them.

    Volumes and series are fused whole, unless --slice chooses a part; their metrics are means over
    their planes. What sensors lost is restored by dip and consensus alone. Each result is kept in
    the output folder, so that an interrupted comparison goes on where it stopped, and one with more
    methods or sets runs only what is new.
    """
    chosen = _choose_methods(methods)
    windows = parse_intensity(intensity)
    changes = {"iterations": iterations, "device": device}
    settings_of_dip = _choose_settings(changes, settings)
    options = _choose_options(weights, download)
    confirm_count(sources or [], yes=yes)
    # A sheet shows the sources once more.
    kept = 1 if figure else 0
    choice = Choice(plane=plane, fwhm=tuple(fwhm or ()), mask=tuple(mask or ()))
    choice.check(FusionConfig())
    sets = collect_sets(sources, pairs_from, output, choice=choice, kept=kept, quiet=quiet)
    sheets = ContactSheets(sets, output, windows, overwrite=force) if figure else None
    texts = {**(_TABLES if csv else {}), **(_REPORTS if markdown else {})}
    written = [output / name for name in texts]
    _refuse_existing([*written, *(sheets.paths if sheets else [])], force)
    output.mkdir(parents=True, exist_ok=True)
    events = comparison.iter_compare(
        sets,
        chosen,
        seeds=seeds,
        options=options,
        settings=settings_of_dip,
        intensity=windows,
        which=_choose_metrics(which),
        folder=output,
        fresh=fresh,
    )
    try:
        outcomes = _watch(events, sheets, quiet=quiet)
    except KeyboardInterrupt:
        console.message(f"what is finished is in {output}; the same command goes on from there")
        raise
    _report_failures(outcomes)
    for path in written:
        text = texts[path.name](outcomes.rows)
        # Of planes there are no figures plane by plane.
        if path.name != _PLANES or any(row.plane_metrics for row in outcomes.rows):
            write_text(path, text, overwrite=force)
    if not quiet:
        _print(summarize(outcomes.rows))
        console.message(f"results in {output}")


def _refuse_existing(paths: Sequence[Path], force: bool) -> None:
    for path in paths:
        if path.exists() and not force:
            raise FileExistsError(f"{path} exists; choose another folder or add --force")


def _choose_methods(given: list[str] | None) -> list[str]:
    names = [n for text in given or [] for n in text.split(",") if n]
    if names == ["all"]:
        return list(label_methods())
    return list(dict.fromkeys(names)) or _DEFAULT


def _choose_metrics(given: list[str] | None) -> Sequence[str]:
    names = list(METRICS) if given == ["all"] else given or DEFAULT_METRICS
    for name in names:
        if name not in METRICS:
            raise ValueError(f"unknown metric {name!r}; choose from {', '.join(METRICS)}")
    return names


def _choose_settings(changes: dict[str, Any], settings: list[str] | None) -> dict[str, Any]:
    """Return what the options change in every preset."""
    given = parse_settings(settings or [])
    for name, instead in _NOT_SET.items():
        if name in given:
            raise ValueError(f"--set {name} has no meaning for all methods; {instead}")
    given |= {name: value for name, value in changes.items() if value is not None}
    FusionConfig.preset("fast", **given)  # its error is told before any source is read
    return given


def _choose_options(weights: list[str] | None, download: bool) -> dict[str, dict[str, Any]]:
    options: dict[str, dict[str, Any]] = {"base-detail": {"download": True}} if download else {}
    for text in weights or []:
        name, separator, file = text.partition("=")
        if not separator or name not in METHODS or "weights" not in METHODS[name].options():
            takers = "base-detail or densefuse"
            raise ValueError(f"--weights takes METHOD=FILE with {takers}, got {text!r}")
        options.setdefault(name, {})["weights"] = file
    return options


def _watch(
    events: Iterator[Running | Finished], sheets: ContactSheets | None, *, quiet: bool
) -> Outcomes:
    """Drain a comparison, with a progress bar, and draw the results of each set."""
    outcomes = Outcomes()
    with _show_progress(quiet) as show:
        for event in events:
            show(event)
            if isinstance(event, Finished):
                outcomes.add(event.outcome)
                if sheets is not None:
                    sheets.add(event)
    return outcomes


@contextmanager
def _show_progress(quiet: bool) -> Iterator[Callable[[Running | Finished], None]]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[part]}"),
        TimeElapsedColumn(),
    )
    off = quiet or not console.err.is_terminal
    with Progress(*columns, console=console.err, transient=True, disable=off) as progress:
        task = progress.add_task("comparing", total=None, part="")

        def show(event: Running | Finished) -> None:
            progress.update(task, completed=event.done, total=event.total)
            if isinstance(event, Running):
                progress.update(
                    task,
                    description=escape(f"{event.kind} {event.name}: {event.method}"),
                    part=f"{event.stage} {event.part:.0%}".strip() if event.part else "",
                )

        yield show


def _report_failures(outcomes: Outcomes) -> None:
    """Warn once for each method and reason; nothing but failures is an error."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for f in outcomes.failures:
        reasons.setdefault((f.method, f.reason), []).append(f"{f.kind} {f.name}")
    if not outcomes.rows:
        raise ValueError(next(iter(reasons))[1])
    for (method, reason), where in reasons.items():
        more = f" and {len(where) - 1} more" if len(where) > 1 else ""
        console.warn(f"{method} left out for {where[0]}{more}: {reason}")


def _print(summaries: Sequence[Summary]) -> None:
    for kind in dict.fromkeys(s.kind for s in summaries):
        _print_kind([s for s in summaries if s.kind == kind])
    console.out.print("higher is better in every metric: * best, + second best")


def _print_kind(summaries: Sequence[Summary]) -> None:
    count = max(s.sets for s in summaries)
    table = Table(title=escape(format_heading(summaries)))
    table.add_column("method")
    metrics = list(summaries[0].metrics)
    for heading in [*(METRICS[m].label for m in metrics), "mean rank", "seconds"]:
        table.add_column(heading, justify="right")
    marked = {m: mark_best(summaries, m) for m in metrics}
    for i, s in enumerate(summaries):
        cells = [format_average(s, m) + " *+"[marked[m][i]] for m in metrics]
        name = s.method if s.sets == count else f"{s.method} ({s.sets} of {count} sets)"
        table.add_row(name, *cells, f"{s.rank:.1f}", f"{s.seconds:.2f}")
    console.out.print(table)
