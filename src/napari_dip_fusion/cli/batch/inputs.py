"""What a batch is given, a folder, a table or patterns, is turned into sets of sources."""

from collections.abc import Sequence
from pathlib import Path

from napari_dip_fusion.cli.batch.patterns import MATCHES, is_pattern, match_patterns
from napari_dip_fusion.cli.batch.sets import (
    BatchSet,
    Found,
    LeftOut,
    make_name,
    refuse_equal_names,
)
from napari_dip_fusion.cli.batch.table import read_table
from napari_dip_fusion.cli.source_sets import find_sets, list_folders, name_kind
from napari_dip_fusion.io.formats import list_endings, strip_ending

# More images than this whose names differ in their end only are slices, or days, sooner than
# sources of one scene. A table or patterns say how many sources there are.
_MOST_SOURCES = 8


def collect_batch(inputs: Sequence[str], output: Path, match: str) -> Found:
    """Return the sets of a batch.

    Parameters
    ----------
    inputs : sequence of str
        One folder, one table in CSV, or two or more patterns.
    output : Path
        Folder of the results, in which no sources are looked for.
    match : {"name", "order"}
        How the files of patterns are matched.

    Raises
    ------
    ValueError
        If the inputs are nothing of this, or no sets are found.
    """
    if match not in MATCHES:
        raise ValueError(f"--match must be one of {', '.join(MATCHES)}, got {match!r}")
    patterns = [text for text in inputs if is_pattern(text)]
    if len(inputs) > 1 and len(patterns) == len(inputs):
        found = match_patterns(inputs, match)
    elif match != "name":
        raise ValueError("--match order is for two or more patterns, in quotes")
    elif len(inputs) == 1 and not patterns:
        found = _collect_one(Path(inputs[0]), output)
    else:
        raise ValueError(_explain(inputs, patterns))
    refuse_equal_names(found.sets)
    return found


def _explain(inputs: Sequence[str], patterns: Sequence[str]) -> str:
    quoted = "batch 'ct/*.nii.gz' 'mr/*.nii.gz' -o fused"
    if len(inputs) == 1:
        return f"one pattern finds one source a set; give a pattern for each source: {quoted}"
    plain = next(text for text in inputs if text not in patterns)
    return (
        f"several inputs must be patterns, got {plain} among {len(inputs)}; put each pattern in "
        f"quotes, so that the shell leaves it as it is: {quoted}; for one set of files use fuse"
    )


def _collect_one(path: Path, output: Path) -> Found:
    if path.is_dir():
        return _collect_folder(path, output)
    if not path.exists():
        raise ValueError(f"{path} does not exist; give a folder, a table in CSV, or patterns")
    if path.suffix.lower() not in (".csv", ".tsv"):
        raise ValueError(
            f"{path} is neither a folder nor a table (.csv); give one of them, or patterns"
        )
    return read_table(path)


def _collect_folder(folder: Path, output: Path) -> Found:
    """Return the sets of a folder and of those below it."""
    if output.resolve() == folder.resolve():
        raise ValueError(
            f"{folder} cannot hold the sources and the results, which would be taken for sources "
            "the next time; choose another folder for -o"
        )
    sets: list[BatchSet] = []
    left_out: list[LeftOut] = []
    for inner in list_folders(folder, skip=[output]):
        prefix = "" if inner == folder else f"{name_kind(folder, inner)}-"
        found = find_sets(inner)
        for name, paths in found.items():
            if len(paths) <= _MOST_SOURCES:
                sets.append(BatchSet(make_name(prefix + name), tuple(paths)))
            else:
                left_out.append(_leave_out_series(make_name(prefix + name), paths))
        taken = {path for paths in found.values() for path in paths}
        left_out += [
            LeftOut(make_name(prefix + strip_ending(p)), (p,), "has no partner")
            for p in sorted(inner.iterdir())
            if p not in taken and p.is_file() and p.name.lower().endswith(list_endings())
        ]
    if not sets:
        series = [each for each in left_out if len(each.paths) > 1]
        if series:
            raise ValueError(f"{folder}: {series[0].name} {series[0].reason}")
        raise ValueError(
            f"{folder} has no sets of sources: no two images whose names differ only after the "
            "last - or _, like 11_ct.png and 11_mr.png; give patterns or a table"
        )
    return Found(sets, "by names that differ only after the last - or _", left_out)


def _leave_out_series(name: str, paths: Sequence[Path]) -> LeftOut:
    return LeftOut(
        name,
        (paths[0], paths[-1]),
        f"has {len(paths)} images, from {paths[0].name} to {paths[-1].name}, and looks like a "
        "series; name them in a table if they are sources of one scene",
    )
