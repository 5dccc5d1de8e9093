"""Contact sheets of a comparison: one figure for each set of sources, drawn when it is complete."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.comparison import (
    Finished,
    Row,
    SourceSet,
    draw_contact_sheet,
    find_middle_plane,
    label_methods,
)
from napari_dip_fusion.config import Intensity
from napari_dip_fusion.io import write_atomically
from napari_dip_fusion.metrics import METRICS
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.prepare import prepare_sources
from napari_dip_fusion.sources.prepared import PreparedSources


class ContactSheets:
    """Gathers the results of each set, and draws them when all methods have run on it.

    Parameters
    ----------
    sets : sequence of SourceSet
    folder : Path
        Where the figures go, in a folder of their own.
    intensity : str or one entry per source
        How source values become [0, 1].
    overwrite : bool
        Whether figures that are there may be replaced.
    """

    def __init__(
        self, sets: Sequence[SourceSet], folder: Path, intensity: Intensity, *, overwrite: bool
    ) -> None:
        self._sets = {(s.kind, s.name): s for s in sets}
        self._folder, self._intensity, self._overwrite = folder, intensity, overwrite
        # Of each method the run with the first seed.
        self._finished: dict[str, Finished] = {}

    @property
    def paths(self) -> list[Path]:
        """The figures that a whole comparison writes."""
        return [self._path(*where) for where in self._sets]

    def add(self, event: Finished) -> None:
        """Take in the outcome of a run; the last one of a set draws its sheet."""
        if event.image is not None:
            self._finished.setdefault(event.outcome.method, event)
        # Every method runs as often on each set, and all of them on one set after the other.
        if event.done % (event.total // len(self._sets)) == 0:
            if self._finished:
                self._write((event.outcome.kind, event.outcome.name), self._finished)
            self._finished = {}

    def _path(self, kind: str, name: str) -> Path:
        return self._folder / "figures" / f"{kind}-{name}.png"

    def _write(self, where: tuple[str, str], finished: dict[str, Finished]) -> None:
        sources, labels = self._sets[where], label_methods()
        read = [s if isinstance(s, Source) else np.asarray(s) for s in sources.read()]
        prepared = prepare_sources(read, intensity=self._intensity)
        # One plane says what a sheet can say: the one in the middle, which has something on it.
        middle = find_middle_plane(prepared.shape)
        shown = [
            _make_visible(given, gray, middle)
            for given, gray in zip(read, prepared.images, strict=True)
        ]
        names = sources.source_names or tuple(f"source {i}" for i in range(len(shown)))
        fused = {labels[m]: e.image[middle] for m, e in finished.items() if e.image is not None}
        scores = {labels[m]: _format_scores(e.outcome) for m, e in finished.items()}
        sheet = draw_contact_sheet(
            dict(zip(names, shown, strict=True)),
            fused,
            scores=scores,
            title=", ".join([*where, *_name_plane(prepared, middle)]),
        )
        path = self._path(*where)
        path.parent.mkdir(parents=True, exist_ok=True)
        with write_atomically(path, overwrite=self._overwrite) as temporary:
            sheet.savefig(temporary, format="png", dpi=100)


def _make_visible(
    given: Source | NDArray[Any], gray: NDArray[Any], middle: tuple[int, ...]
) -> NDArray[Any]:
    """Return a plane of a source in [0, 1]; one of 8-bit colors keeps its colors."""
    values: NDArray[Any] = given.to_numpy() if isinstance(given, Source) else given
    colored = values.ndim > gray.ndim and values.dtype == np.uint8
    shown: NDArray[Any] = values[middle][..., :3] / 255 if colored else gray[middle]
    return shown


def _name_plane(prepared: PreparedSources, index: tuple[int, ...]) -> list[str]:
    """Return which plane of how many a sheet shows, and what its scores are of."""
    if not index:
        return []
    chosen = ", ".join(f"{a}={n}" for a, n in zip(prepared.axes, index, strict=False))
    return [f"plane {chosen} of {prepared.plane_count} planes, scores are means over planes"]


def _format_scores(outcome: Any) -> str:
    assert isinstance(outcome, Row)
    return "  ".join(f"{METRICS[n].label.split()[0]} {v:.3f}" for n, v in outcome.metrics.items())
