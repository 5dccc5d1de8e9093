"""Patterns such as ct/*.nii.gz: what fits them, and which files of several belong together.

A file's name in this module is the text that the wildcards of its pattern stand for: 007 for
ct/007.nii.gz of ct/*.nii.gz, and 01-02 for sub-01/ses-02/t1.nii of sub-*/ses-*/t1.nii. Files of
several patterns belong together if they have the same name. If no name is the same, what follows
the last - or _ is left out where it is the same for all files of a pattern: 007_ct and 007_mr of
ct/* and mr/* are then 007. Files are never matched by their order unless this is asked for.
"""

import glob
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath

from napari_dip_fusion.cli.batch.sets import (
    BatchSet,
    Found,
    LeftOut,
    make_name,
    make_sort_key,
)
from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io.formats import find_format, list_endings, strip_ending

Named = dict[str, Path]

MATCHES = ("name", "order")

# Wildcards that stand side by side are one: ??? is a number of three digits.
_WILDCARDS = re.compile(r"(?:\*\*/|\*|\?|\[!?\]?[^]]*\])+")
_LAST_WORD = re.compile(r"[^\W_]*$")
_LAST_PART = re.compile(r"(.+)[-_]([^-_]+)")


def is_pattern(text: str) -> bool:
    """Tell whether a text is a pattern, and not the name of a file that is there."""
    return _WILDCARDS.search(text) is not None and not Path(text).exists()


def match_patterns(patterns: Sequence[str], match: str) -> Found:
    """Return the sets of files that fit several patterns, one source for each pattern.

    Parameters
    ----------
    patterns : sequence of str
        Two or more, with the wildcards of a shell; ``**`` stands for any folders.
    match : {"name", "order"}

    Raises
    ------
    ValueError
        If nothing fits a pattern, two files of one pattern have the same name, no names are the
        same, or, by order, the numbers of files differ.
    """
    named = [_name_files(pattern) for pattern in patterns]
    if match == "order":
        return _match_by_order(patterns, named)
    names = named
    if not _share(names):
        names = [_drop_common_part(files) for files in named]
    shared = _share(names)
    if not shared:
        firsts = " and ".join(next(iter(files)) for files in named)
        raise ValueError(
            f"no names are the same for all of {_quote(patterns)}: * stands for {firsts}; write "
            "patterns whose * stands for what partners share, give a table, or --match order"
        )
    start = _find_common_start(patterns)
    sets = [BatchSet(make_name(start + n), tuple(files[n] for files in names)) for n in shared]
    return Found(sets, "by name, which is what * stands for", _list_rest(patterns, names, shared))


def _match_by_order(patterns: Sequence[str], named: Sequence[Named]) -> Found:
    counts = [len(files) for files in named]
    if len(set(counts)) > 1:
        found = ", ".join(f"{c} for {p!r}" for p, c in zip(patterns, counts, strict=True))
        raise ValueError(f"--match order needs as many files for each pattern, got {found}")
    rows = zip(*(files.items() for files in named), strict=True)
    sets = [
        BatchSet(
            make_name("-".join(dict.fromkeys(name for name, _ in row))),
            tuple(path for _, path in row),
        )
        for row in rows
    ]
    return Found(sets, "by order, whatever their names")


def _name_files(pattern: str) -> Named:
    """Return the images that fit a pattern by what its wildcards stand for, in natural order."""
    expression = _compile(PurePath(os.path.expanduser(pattern)).as_posix())
    named: Named = {}
    paths = (Path(p) for p in glob.glob(os.path.expanduser(pattern), recursive=True))
    for path in sorted((p for p in paths if _is_image(p)), key=lambda p: make_sort_key(str(p))):
        fit = expression.fullmatch(path.as_posix())
        assert fit is not None
        parts = (strip_ending(Path(part.strip("/"))) for part in fit.groups() if part)
        name = "-".join(part for part in parts if part)
        if name in named:
            raise ValueError(
                f"{pattern!r} finds {named[name]} and {path}, which both have the name {name!r}; "
                "write a pattern that finds one of them"
            )
        named[name] = path
    if not named:
        raise ValueError(f"no image fits {pattern!r}; check the pattern, from this folder")
    return named


def _find_common_start(patterns: Sequence[str]) -> str:
    """Return what all names lack at their start: results of img0*.png are img01, not 1."""
    before = (_WILDCARDS.split(PurePath(pattern).as_posix())[0] for pattern in patterns)
    starts = {_LAST_WORD.findall(text)[0] for text in before}
    return starts.pop() if len(starts) == 1 else ""


def _compile(pattern: str) -> re.Pattern[str]:
    """Return a regular expression for a pattern, with a group for its wildcards."""
    parts, start = [], 0
    for found in _WILDCARDS.finditer(pattern):
        parts += [re.escape(pattern[start : found.start()]), f"({_translate(found[0])})"]
        start = found.end()
    flags = re.IGNORECASE if os.name == "nt" else 0
    return re.compile("".join([*parts, re.escape(pattern[start:])]), flags)


def _translate(wildcards: str) -> str:
    """Return what wildcards side by side stand for, as a regular expression."""
    # glob has chosen the files: here it is only found out which part of a path is the wildcards'.
    if "**" in wildcards:
        return ".*"
    return "[^/]*" if "*" in wildcards else "[^/]+"


def _is_image(path: Path) -> bool:
    if path.is_dir() or path.name.lower().endswith(list_endings()):
        return True
    try:
        # Other files than these, a named pipe for one, may never end.
        return path.is_file() and bool(find_format(path))  # DICOM often has no ending
    except (ImageFileError, OSError):
        return False


def _share(names: Sequence[Named]) -> list[str]:
    """Return the names that all patterns have, in the order of the first."""
    return [name for name in names[0] if all(name in files for files in names[1:])]


def _drop_common_part(files: Named) -> Named:
    """Leave out what follows the last - or _, where it is the same in all names."""
    fits = {name: _LAST_PART.fullmatch(name) for name in files}
    ends = {fit[2] if fit else None for fit in fits.values()}
    if len(ends) > 1 or None in ends:
        return files
    return {fit[1]: files[name] for name, fit in fits.items() if fit}


def _list_rest(
    patterns: Sequence[str], names: Sequence[Named], shared: Sequence[str]
) -> list[LeftOut]:
    rest = dict.fromkeys(name for files in names for name in files if name not in set(shared))
    return [_describe_rest(patterns, names, name) for name in rest]


def _describe_rest(
    patterns: Sequence[str], names: Sequence[Mapping[str, Path]], name: str
) -> LeftOut:
    paths = tuple(files[name] for files in names if name in files)
    lacking = [p for p, files in zip(patterns, names, strict=True) if name not in files]
    return LeftOut(make_name(name), paths, f"has no partner in {_quote(lacking)}")


def _quote(patterns: Sequence[str]) -> str:
    return ", ".join(repr(pattern) for pattern in patterns)
