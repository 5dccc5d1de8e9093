"""The planes of a volume or a series: how many there are, and the figures of each as CSV."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

from napari_dip_fusion.io import write_text
from napari_dip_fusion.metrics import PlaneScores, tabulate_planes

_SPACE = ("z", "y", "x")


def count_planes(shape: Sequence[int]) -> int:
    """Return how many planes there are in a shape (..., M, N).

    Examples
    --------
    >>> count_planes((256, 256)), count_planes((5, 20, 64, 64))
    (1, 100)
    """
    return math.prod(shape[:-2])


def describe_planes(axes: Sequence[str], shape: Sequence[int]) -> str:
    """Return how many planes of what size there are, as a person would say it.

    Examples
    --------
    >>> describe_planes("zyx", (128, 256, 256))
    '128 planes of 256x256 (z y x)'
    >>> describe_planes("tzyx", (5, 20, 64, 64))
    '5x20 planes of 64x64 (t z y x)'
    """
    *stack, rows, columns = shape
    count = "x".join(map(str, stack))
    return f"{count} planes of {rows}x{columns} ({' '.join(axes)})"


def name_part(axes: Sequence[str]) -> str:
    """Return what an image with these axes is called: a plane, a volume or a series.

    Examples
    --------
    >>> name_part("yx"), name_part("zyx"), name_part("tzyx")
    ('plane', 'volume', 'series')
    """
    if not set(axes) <= set(_SPACE):
        return "series"
    return "volume" if len(axes) > 2 else "plane"


def write_plane_scores(
    path: Path, axes: Sequence[str], scores: PlaneScores, *, overwrite: bool
) -> None:
    """Write the metrics of every plane as CSV, a line each.

    Parameters
    ----------
    path : Path
    axes : sequence of str
        Names of the axes of the image; those before rows and columns are columns of the table.
    scores : mapping of str to ndarray
        From :func:`.evaluate_planes`; what is NaN, of planes of which a metric says nothing, is
        an empty cell.
    overwrite : bool
        Whether an existing file may be replaced.
    """
    stack = list(axes[:-2])
    text = io.StringIO()
    writer = csv.DictWriter(text, [*stack, *scores], lineterminator="\n")
    writer.writeheader()
    writer.writerows(tabulate_planes(scores, stack))
    write_text(path, text.getvalue(), overwrite=overwrite)
