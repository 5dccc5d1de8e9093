"""Tables of sets in CSV: a row for each set, a column for each source."""

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

from napari_dip_fusion.cli.batch.sets import BatchSet, Found, make_name
from napari_dip_fusion.cli.masks import NONE
from napari_dip_fusion.io.formats import strip_ending

_DELIMITERS = ",;\t"  # spreadsheets of other languages write the others
_NAMES = ("name", "id")
_SOURCE = "source"
# A number or nothing: another word that starts so is a remark.
_SENSOR = re.compile(r"(fwhm|mask)([\s_]*\d*)")


def read_table(path: Path) -> Found:
    """Read the sets of a table.

    The first row has the names of the columns. Those that start with ``source`` hold the sources,
    in their order; where there are none, all do but the column ``name`` or ``id``. A relative path
    is taken from the folder of the table. An empty cell is no source, an empty row no set. What is
    known of the source in column ``source1`` stands in columns ``fwhm1`` and ``mask1``, as the
    options of these names take it.

    Raises
    ------
    ValueError
        If the table is not text in UTF-8, has no columns for two sources, no rows, a row with
        more cells than columns, or a column for the blur or the mask of a source it has not.
    """
    rows = _read_rows(path)
    header = [cell.strip().casefold() for cell in rows[0]] if rows else []
    columns = _find_sources(header)
    _refuse_stray_sensors(path, header)
    if len(columns) < 2:
        raise ValueError(
            f"{path} needs a first row with columns for two or more sources, such as "
            f"name,source1,source2, got {','.join(rows[0]) if rows else 'nothing'}"
        )
    sets = [
        _make_set(path, header, columns, row, line)
        for line, row in enumerate(rows[1:], start=2)
        if any(cell.strip() for cell in row)
    ]
    if not sets:
        raise ValueError(f"{path} has no row below its column names; a row is a set of sources")
    names = ", ".join(rows[0][i].strip() for i in columns)
    return Found(sets, f"by the rows of {path}, columns {names}")


def _read_rows(path: Path) -> list[list[str]]:
    try:
        # With or without the mark that spreadsheets put in front of UTF-8.
        text = path.read_text(encoding="utf-8-sig")
        first = text.partition("\n")[0]
        delimiter = max(_DELIMITERS, key=first.count)
        return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text in UTF-8; save it as CSV in UTF-8") from error
    except csv.Error as error:
        raise ValueError(f"{path} cannot be read as CSV ({error}); save it anew") from error


def _find_sources(header: Sequence[str]) -> list[int]:
    """Return the places of the columns that hold sources."""
    named = [i for i, title in enumerate(header) if title.startswith(_SOURCE)]
    return named or [i for i, title in enumerate(header) if title and title not in _NAMES]


def _refuse_stray_sensors(path: Path, header: Sequence[str]) -> None:
    """Raise ValueError if a blur or a mask stands in a column that belongs to no source.

    Other columns hold what only their author needs; these would be missed by the fusion.
    """
    known = {title.removeprefix(_SOURCE) for title in header if title.startswith(_SOURCE)}
    for title in header:
        found = _SENSOR.fullmatch(title)
        if found and found[2] not in known:
            raise ValueError(
                f"{path} has a column {title} that belongs to no source; name it as the column of "
                f"its source, such as {found[1]}2 for source2"
            )


def _make_set(
    path: Path, header: Sequence[str], columns: Sequence[int], row: Sequence[str], line: int
) -> BatchSet:
    if len(row) > len(header):
        raise ValueError(
            f"row {line} of {path} has {len(row)} cells for {len(header)} columns; put a path "
            "that holds a comma in quotes"
        )
    cells = [cell.strip() for cell in row]
    filled = [i for i in columns if i < len(row) and cells[i]]
    paths = tuple(_find(path, cells[i]) for i in filled)
    given = next((cell for title, cell in zip(header, cells, strict=False) if title in _NAMES), "")
    stems = "-".join(dict.fromkeys(strip_ending(p) for p in paths))
    sensors = dict(zip(header, cells, strict=False))
    # What is said of a source stands in the column whose title ends as that of the source does.
    ends = [header[i].removeprefix(_SOURCE) for i in filled]
    fwhm = [sensors.get(f"fwhm{end}", "") for end in ends]
    masks = [sensors.get(f"mask{end}", "") for end in ends]
    return BatchSet(
        make_name(given or stems or f"row{line}"),
        paths,
        fwhm=tuple(text or "0" for text in fwhm) if any(fwhm) else (),
        mask=tuple(_find_mask(path, text) for text in masks) if any(masks) else (),
    )


def _find_mask(table: Path, cell: str) -> str:
    return NONE if cell in ("", NONE) else str(_find(table, cell))


def _find(table: Path, cell: str) -> Path:
    """Return the file that a cell names."""
    return table.parent / Path(cell).expanduser()
