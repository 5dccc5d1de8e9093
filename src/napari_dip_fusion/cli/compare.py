"""dip-fusion compare."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from napari_dip_fusion.cli import console
from napari_dip_fusion.cli.options import (
    Choice,
    Device,
    Force,
    IntensityOption,
    Iterations,
    Quiet,
    Settings,
    parse_intensity,
    parse_settings,
)
from napari_dip_fusion.cli.run import check_count, read_sources
from napari_dip_fusion.comparison.events import Finished, Outcomes, Row, Running, SourceSet
from napari_dip_fusion.comparison.report import (
    Summary,
    cell,
    contact_sheet,
    marks,
    summarize,
    to_csv,
    to_markdown,
)
from napari_dip_fusion.comparison.runs import iter_compare, method_labels
from napari_dip_fusion.config import FusionConfig, Intensity
from napari_dip_fusion.io import write_atomically, write_text
from napari_dip_fusion.io.formats import list_endings
from napari_dip_fusion.methods import METHODS
from napari_dip_fusion.metrics import DEFAULT_METRICS, METRICS
from napari_dip_fusion.sources.prepare import prepare_sources

_SLOW = ("dip-quality", "dip-paper")
_DEFAULT = [name for name in method_labels() if name not in _SLOW]
_NOT_SET = {
    "intensity": "use --intensity",
    "percentiles": "use --intensity with a window LOW:HIGH for each source",
    "seed": "use --seeds",
    "preset_name": "choose the preset by the method's name",
    "method": "use --methods",
}
_PARTNER = re.compile(r"(?P<set>.+)[-_](?P<source>[^-_]+)")


def compare(
    sources: Annotated[
        list[Path] | None, typer.Argument(help="Two or more aligned images of one scene.")
    ] = None,
    *,
    pairs_from: Annotated[
        Path | None,
        typer.Option(
            help="Folder of sets in place of one: files whose names differ only after the last "
            "- or _, like 11_ct.png and 11_mr.png. Each of its subfolders is a kind."
        ),
    ] = None,
    methods: Annotated[
        list[str] | None,
        typer.Option(
            help="Methods, with commas or repeated, or all. "
            f"One of {', '.join(method_labels())}. By default all but {' and '.join(_SLOW)}."
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the results; made if needed.")
    ] = Path("dip-fusion-comparison"),
    csv: Annotated[bool, typer.Option("--csv", help="Write comparison.csv, a line a run.")] = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Write comparison.md, the averages of each kind.")
    ] = False,
    figure: Annotated[
        bool, typer.Option("--figure", help="Write a contact sheet of each set into figures/.")
    ] = False,
    seeds: Annotated[
        int, typer.Option(help="Runs of each method that has a seed, for mean and spread.")
    ] = 1,
    which: Annotated[
        list[str] | None,
        typer.Option(help="Metric (repeatable), or all. By default those of the paper."),
    ] = None,
    intensity: IntensityOption = None,
    iterations: Iterations = None,
    device: Device = None,
    settings: Settings = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(metavar="METHOD=FILE", help="Weights of a method (repeatable)."),
    ] = None,
    download: Annotated[
        bool, typer.Option("--download", help="Download missing VGG-19 weights (548 MB).")
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Run everything again, in place of going on.")
    ] = False,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Run fusion methods on one or many sets of sources, and rank them.

    Each result is kept in the output folder, so that an interrupted comparison goes on where it
    stopped, and one with more methods or sets runs only what is new.
    """
    chosen = _methods(methods)
    windows = parse_intensity(intensity)
    changes = {"iterations": iterations, "device": device}
    settings_of_dip = _settings(changes, settings)
    options = _options(weights, download)
    sets = _sets(sources, pairs_from, output, quiet)
    texts = {"comparison.csv": csv, "comparison.md": markdown}
    written = [output / name for name, wanted in texts.items() if wanted]
    sheets = [output / "figures" / f"{s.kind}-{s.name}.png" for s in sets] if figure else []
    _refuse_existing([*written, *sheets], force)
    output.mkdir(parents=True, exist_ok=True)
    events = iter_compare(
        sets,
        chosen,
        seeds=seeds,
        options=options,
        settings=settings_of_dip,
        intensity=windows,
        which=_metrics(which),
        folder=output,
        fresh=fresh,
    )
    draw = partial(_draw, sets=sets, folder=output, intensity=windows, force=force)
    try:
        result = _watch(events, draw if figure else None, quiet)
    except KeyboardInterrupt:
        console.message(f"what is finished is in {output}; the same command goes on from there")
        raise
    _report_failures(result)
    for path in written:
        text = to_csv(result.rows) if path.suffix == ".csv" else to_markdown(result.rows)
        write_text(path, text, overwrite=force)
    if not quiet:
        _print(summarize(result.rows))
        console.message(f"results in {output}")


def _refuse_existing(paths: Sequence[Path], force: bool) -> None:
    for path in paths:
        if path.exists() and not force:
            raise FileExistsError(f"{path} exists; choose another folder or add --force")


def _methods(given: list[str] | None) -> list[str]:
    names = [n for text in given or [] for n in text.split(",") if n]
    if names == ["all"]:
        return list(method_labels())
    return list(dict.fromkeys(names)) or _DEFAULT


def _metrics(given: list[str] | None) -> Sequence[str]:
    names = list(METRICS) if given == ["all"] else given or DEFAULT_METRICS
    for name in names:
        if name not in METRICS:
            raise ValueError(f"unknown metric {name!r}; choose from {', '.join(METRICS)}")
    return names


def _settings(changes: dict[str, Any], settings: list[str] | None) -> dict[str, Any]:
    """Return what the options change in every preset."""
    given = parse_settings(settings or [])
    for name, instead in _NOT_SET.items():
        if name in given:
            raise ValueError(f"--set {name} has no meaning for all methods; {instead}")
    given |= {name: value for name, value in changes.items() if value is not None}
    FusionConfig.preset("fast", **given)  # its error is told before any source is read
    return given


def _options(weights: list[str] | None, download: bool) -> dict[str, dict[str, Any]]:
    options: dict[str, dict[str, Any]] = {"base-detail": {"download": True}} if download else {}
    for text in weights or []:
        name, separator, file = text.partition("=")
        if not separator or name not in METHODS or "weights" not in METHODS[name].options():
            takers = "base-detail or densefuse"
            raise ValueError(f"--weights takes METHOD=FILE with {takers}, got {text!r}")
        options.setdefault(name, {})["weights"] = file
    return options


def _sets(
    sources: Sequence[Path] | None, folder: Path | None, output: Path, quiet: bool
) -> list[SourceSet]:
    if folder is None:
        paths = list(sources or [])
        check_count(paths)
        kind = paths[0].resolve().parent.name or "sources"
        return [_source_set("-".join(p.stem for p in paths), kind, paths, quiet)]
    if sources:
        raise ValueError("give source files or --pairs-from, not both")
    if not folder.is_dir():
        raise ValueError(f"--pairs-from takes a folder, got {folder}")
    # What an earlier comparison wrote there are no sources.
    written = [(output / name).resolve() for name in ("results", "figures")]
    found = [
        _source_set(name, _kind(folder, inner), paths, quiet)
        for inner in [folder, *sorted(p for p in folder.rglob("*") if p.is_dir())]
        if inner.resolve() not in written
        for name, paths in find_sets(inner).items()
    ]
    if not found:
        raise ValueError(
            f"{folder} has no sets of sources: no two images whose names differ only after the "
            "last - or _, like 11_ct.png and 11_mr.png"
        )
    return found


def _kind(folder: Path, inner: Path) -> str:
    return "-".join(inner.relative_to(folder).parts) or folder.resolve().name


def find_sets(folder: Path) -> dict[str, list[Path]]:
    """Return the image files of a folder that belong together, by the name of the set."""
    sets: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        match = _PARTNER.fullmatch(path.name.partition(".")[0])
        if match and path.is_file() and path.name.lower().endswith(list_endings()):
            sets.setdefault(match["set"], []).append(path)
    return {name: paths for name, paths in sets.items() if len(paths) > 1}


def _source_set(name: str, kind: str, paths: Sequence[Path], quiet: bool) -> SourceSet:
    def read() -> list[NDArray[Any]]:
        return read_sources(paths, Choice(), quiet=quiet).arrays

    return SourceSet(name, kind, read, tuple(p.stem for p in paths))


def _watch(events: Iterator[Running | Finished], draw: Any, quiet: bool) -> Outcomes:
    """Drain a comparison, with a progress bar; `draw` gets the results of each set."""
    result = Outcomes()
    gathered: dict[str, Finished] = {}
    current: tuple[str, str] | None = None
    with _progress(quiet) as bar:
        for event in events:
            bar(event)
            if not isinstance(event, Finished):
                continue
            result.add(event.outcome)
            here = (event.outcome.kind, event.outcome.name)
            if here != current and draw is not None:
                _draw_gathered(draw, current, gathered)
            current = here
            gathered.setdefault(event.outcome.method, event)
    if draw is not None:
        _draw_gathered(draw, current, gathered)
    return result


def _draw_gathered(draw: Any, where: Any, gathered: dict[str, Finished]) -> None:
    drawn = {m: e for m, e in gathered.items() if e.image is not None}
    if drawn:
        draw(*where, drawn)
    gathered.clear()


@contextmanager
def _progress(quiet: bool) -> Iterator[Any]:
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
                    part=f"{event.part:.0%}" if event.part else "",
                )

        yield show


def _draw(
    kind: str,
    name: str,
    finished: dict[str, Finished],
    *,
    sets: Sequence[SourceSet],
    folder: Path,
    intensity: Intensity,
    force: bool,
) -> None:
    """Write the contact sheet of one set."""
    sources = next(s for s in sets if (s.kind, s.name) == (kind, name))
    shown = _as_seen([np.asarray(a) for a in sources.read()], intensity)
    names = sources.source_names or tuple(f"source {i}" for i in range(len(shown)))
    labels = method_labels()
    fused = {labels[m]: e.image for m, e in finished.items() if e.image is not None}
    scores = {labels[m]: _scores(e.outcome) for m, e in finished.items()}
    sheet = contact_sheet(
        dict(zip(names, shown, strict=True)), fused, scores=scores, title=f"{kind}, {name}"
    )
    path = folder / "figures" / f"{kind}-{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    with write_atomically(path, overwrite=force) as temporary:
        sheet.savefig(temporary, format="png", dpi=100)


def _as_seen(arrays: list[NDArray[Any]], intensity: Intensity) -> list[NDArray[Any]]:
    """Return the sources in [0, 1], those in colour and 8 bits in their colours."""
    grey = prepare_sources(arrays, intensity=intensity).images
    return [
        a[..., :3] / 255 if a.ndim == 3 and a.dtype == np.uint8 else g
        for a, g in zip(arrays, grey, strict=True)
    ]


def _scores(outcome: Any) -> str:
    assert isinstance(outcome, Row)
    return "  ".join(f"{METRICS[n].label.split()[0]} {v:.3f}" for n, v in outcome.metrics.items())


def _report_failures(result: Outcomes) -> None:
    """Warn once for each method and reason; nothing but failures is an error."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for f in result.failures:
        reasons.setdefault((f.method, f.reason), []).append(f"{f.kind} {f.name}")
    if not result.rows:
        raise ValueError(next(iter(reasons))[1])
    for (method, reason), where in reasons.items():
        more = f" and {len(where) - 1} more" if len(where) > 1 else ""
        console.warn(f"{method} left out for {where[0]}{more}: {reason}")


def _print(summaries: Sequence[Summary]) -> None:
    for kind in dict.fromkeys(s.kind for s in summaries):
        _print_kind(kind, [s for s in summaries if s.kind == kind])
    console.out.print("higher is better in every metric: * best, + second best")


def _print_kind(kind: str, summaries: Sequence[Summary]) -> None:
    count = max(s.sets for s in summaries)
    table = Table(title=escape(f"{kind}: {count} set{'s' if count > 1 else ''} of sources"))
    table.add_column("method")
    metrics = list(summaries[0].metrics)
    for heading in [*(METRICS[m].label for m in metrics), "mean rank", "seconds"]:
        table.add_column(heading, justify="right")
    marked = {m: marks(summaries, m) for m in metrics}
    for i, s in enumerate(summaries):
        cells = [cell(s, m) + " *+"[marked[m][i]] for m in metrics]
        name = s.method if s.sets == count else f"{s.method} ({s.sets} of {count} sets)"
        table.add_row(name, *cells, f"{s.rank:.1f}", f"{s.seconds:.2f}")
    console.out.print(table)
