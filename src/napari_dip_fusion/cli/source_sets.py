"""Which files of the command line, or of a folder, belong together as the sources of one scene."""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path

from napari_dip_fusion.cli.options import Choice
from napari_dip_fusion.cli.reading import check_count, read_sources
from napari_dip_fusion.comparison import SourceSet
from napari_dip_fusion.io.formats import list_endings, strip_ending
from napari_dip_fusion.sources import Source

# What partners have in common, and what tells them apart: 11_ct.png and 11_mr.png.
_PARTNER = re.compile(r"(?P<set>.+)[-_](?P<source>[^-_]+)")


def collect_sets(
    sources: Sequence[Path] | None,
    folder: Path | None,
    output: Path,
    *,
    choice: Choice,
    kept: int,
    quiet: bool,
) -> list[SourceSet]:
    """Return the set of the named files, or all sets of a folder and of those below it.

    Parameters
    ----------
    sources : sequence of Path, or None
    folder : Path or None
        In place of `sources`. Each of its subfolders is a kind.
    output : Path
        Folder of results: what an earlier comparison wrote there is no source.
    choice : Choice
        Which images of the files are compared.
    kept : int
        Sets whose images are kept after they were read, for those who look at them again.
    quiet : bool
        Whether it is not told that sources are resampled.

    Raises
    ------
    ValueError
        If both or none are given, or the folder holds no sets.
    """

    @lru_cache(maxsize=kept)
    def read(*paths: Path) -> list[Source]:
        return read_sources(paths, choice, quiet=quiet, bar=False).images

    if folder is None:
        paths = list(sources or [])
        check_count(paths)
        kind = paths[0].resolve().parent.name or "sources"
        return [_make_set("-".join(map(strip_ending, paths)), kind, paths, read)]
    if sources:
        raise ValueError("give source files or --pairs-from, not both")
    if not folder.is_dir():
        raise ValueError(f"--pairs-from takes a folder, got {folder}")
    written = [output / name for name in ("results", "figures")]
    found = [
        _make_set(name, name_kind(folder, inner), paths, read)
        for inner in list_folders(folder, skip=written)
        for name, paths in find_sets(inner).items()
    ]
    if not found:
        raise ValueError(
            f"{folder} has no sets of sources: no two images whose names differ only after the "
            "last - or _, like 11_ct.png and 11_mr.png"
        )
    return found


def list_folders(folder: Path, *, skip: Sequence[Path]) -> list[Path]:
    """Return a folder and all below it, without those to skip and what is in them."""
    # A folder around this one is not skipped: this one is what was asked for.
    around = folder.resolve().parents
    skipped = {path.resolve() for path in skip} - set(around)
    inner = [folder, *sorted(p for p in folder.rglob("*") if p.is_dir())]
    return [p for p in inner if not skipped & {p.resolve(), *p.resolve().parents}]


def name_kind(folder: Path, inner: Path) -> str:
    """Return the name of what is in a folder, or in one below it."""
    return "-".join(inner.relative_to(folder).parts) or folder.resolve().name


def find_sets(folder: Path) -> dict[str, list[Path]]:
    """Return the image files of a folder that belong together, by the name of the set."""
    sets: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        match = _PARTNER.fullmatch(strip_ending(path))
        if match and path.is_file() and path.name.lower().endswith(list_endings()):
            sets.setdefault(match["set"], []).append(path)
    return {name: paths for name, paths in sets.items() if len(paths) > 1}


def _make_set(
    name: str, kind: str, paths: Sequence[Path], read: Callable[..., list[Source]]
) -> SourceSet:
    files = tuple(str(p.resolve()) for p in paths)
    return SourceSet(name, kind, partial(read, *paths), tuple(map(strip_ending, paths)), files)
