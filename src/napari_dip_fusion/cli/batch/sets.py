"""The sets of a batch: which files are fused with each other, and which have no partner."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

Key = tuple[int | str, ...]


@dataclass(frozen=True)
class BatchSet:
    """Files that are fused with each other.

    Attributes
    ----------
    name : str
        Name of the output, without its ending.
    paths : tuple of Path
        Files or folders, in the order of the sources.
    fwhm, mask : tuple of str
        What options of these names say of each source, where it is said of this set alone.
    """

    name: str
    paths: tuple[Path, ...]
    fwhm: tuple[str, ...] = ()
    mask: tuple[str, ...] = ()


@dataclass(frozen=True)
class LeftOut:
    """Files that are not fused, and why."""

    name: str
    paths: tuple[Path, ...]
    reason: str


@dataclass(frozen=True)
class Found:
    """What was found for a batch.

    Attributes
    ----------
    sets : list of BatchSet
    how : str
        By what the files of a set were matched, as words that follow "matched".
    left_out : list of LeftOut
    """

    sets: list[BatchSet]
    how: str
    left_out: list[LeftOut] = field(default_factory=list)


def make_name(text: str) -> str:
    """Return a text as a name of a file: what no file system takes becomes "_".

    Examples
    --------
    >>> make_name("ward 3/007: CT")
    'ward_3_007_CT'
    """
    return re.sub(r"[^\w.+-]+", "_", text)


def make_sort_key(text: str) -> Key:
    """Return a key by which 2 comes before 10.

    Examples
    --------
    >>> sorted(["s10.png", "s2.png", "S1.png"], key=make_sort_key)
    ['S1.png', 's2.png', 's10.png']
    """
    # Texts and numbers take turns, so that a number is never compared with a text.
    parts = re.split(r"(\d+)", text)
    return tuple(int(p) if i % 2 else p.casefold() for i, p in enumerate(parts))


def refuse_equal_names(sets: Sequence[BatchSet]) -> None:
    """Raise ValueError if two sets would be written to one file."""
    seen: dict[str, BatchSet] = {}
    for each in sets:
        # Not every file system tells large letters from small ones.
        other = seen.setdefault(each.name.casefold(), each)
        if other is not each:
            raise ValueError(
                f"two sets have the name {each.name}: that of {other.paths[0]} and that of "
                f"{each.paths[0]}; names of sets must differ, as in a table's column name"
            )
