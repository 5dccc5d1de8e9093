"""A run of images that are held in memory, with its progress on the terminal."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from napari_dip_fusion import fusion
from napari_dip_fusion.cli import console
from napari_dip_fusion.cli.run_bar import watch
from napari_dip_fusion.config import CONSENSUS, DIP, FusionConfig
from napari_dip_fusion.errors import FusionError
from napari_dip_fusion.fusion.control import Control
from napari_dip_fusion.fusion.decision import list_degraded
from napari_dip_fusion.fusion.events import Decided, Event, StepDone
from napari_dip_fusion.fusion.frames import count_frame_axes
from napari_dip_fusion.fusion.result import FusionResult
from napari_dip_fusion.fusion.timing import Estimate
from napari_dip_fusion.sources.grid import GridSources
from napari_dip_fusion.sources.prepare import prepare_sources
from napari_dip_fusion.sources.prepared import PreparedSources

# Pixels of a volume in which it takes ten seconds or so to find out whether there is noise.
_MANY_PIXELS = 2**20


def run_fusion(
    sources: GridSources,
    paths: Sequence[Path | str],
    config: FusionConfig,
    *,
    quiet: bool,
    notes: Mapping[str, Any] | None = None,
    keep_gains: bool = True,
    stop_after: int = 0,
) -> FusionResult:
    """Fuse images with a line on what that takes, and a progress bar; Ctrl-C keeps what is made.

    Parameters
    ----------
    sources : GridSources
        Planes, volumes or series.
    paths : sequence of Path or str
        Files of the sources, or plain names where there are none.
    config : FusionConfig
    quiet : bool
        Whether nothing is shown.
    notes : mapping, optional
        Entries that are added to the run record.
    keep_gains : bool
        Whether the result is to hold the gains, which take more memory than the sources.
    stop_after : int
        Number of iterations after which the run is stopped, and its best image kept; 0 for never.
    """
    control = Control()
    prepared = prepare_files(sources, paths, config)

    def announce(decided: Decided | None = None) -> None:
        if decided and not quiet:
            for line in decided.restored:
                console.message(line)
        noisy = decided.noisy if decided else None
        expected = None if quiet else estimate(prepared, config, noisy=noisy, control=control)
        if expected is not None:
            console.message(str(expected))

    # The noise of a large volume is looked for so long that nobody waits for it to be told.
    large = prepared.plane_count > 1 and math.prod(prepared.shape) > _MANY_PIXELS
    if large or config.method not in (DIP, CONSENSUS):
        announce()
    frames = math.prod(prepared.shape[: count_frame_axes(prepared.steps, config)])
    kept = "the best image so far is kept, if there is one"
    if frames > 1:
        kept = "the complete frames are kept, if there are any"
    with console.stop_on_interrupt(control, kept):
        events = fusion.iter_fuse(
            prepared, config, control=control, notes=notes, keep_gains=keep_gains
        )
        if stop_after:
            events = _stop_after(events, stop_after, control)
        return watch(events, quiet=quiet, announce=announce, frames=frames, axes=prepared.axes)


def _stop_after(events: Iterator[Event], iterations: int, control: Control) -> Iterator[Event]:
    """Yield the events of a run, and stop it after so many iterations."""
    for event in events:
        if isinstance(event, StepDone) and event.iteration == iterations:
            control.stop()
        yield event


def prepare_files(
    sources: GridSources, paths: Sequence[Path | str], config: FusionConfig
) -> PreparedSources:
    """Bring what was read of files to [0, 1], under the names that a run record gives them."""
    files = [str(p.resolve()) if isinstance(p, Path) else None for p in paths]
    names = [p.name if isinstance(p, Path) else p for p in paths]
    return prepare_sources(
        sources,
        intensity=config.intensity,
        percentiles=config.percentiles,
        restore=config.restoration.restore,
        names=names,
        paths=files,
    )


def estimate(
    prepared: PreparedSources,
    config: FusionConfig,
    *,
    noisy: bool | None = None,
    control: Control | None = None,
) -> Estimate | None:
    """Return what time and memory a run will need; None if it cannot be run at all."""
    with suppress(ValueError, FusionError):
        return fusion.estimate_run(
            config,
            prepared.shape,
            len(prepared.images),
            noisy=noisy,
            degraded=bool(list_degraded(prepared, config)),
            steps=prepared.steps,
            control=control,
        )
    return None
