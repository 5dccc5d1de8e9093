"""Sources from files, and a run with its progress on the terminal."""

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import typer

from napari_dip_fusion import fusion
from napari_dip_fusion.cli import console
from napari_dip_fusion.cli.masks import hash_masks, name_masks, read_mask
from napari_dip_fusion.cli.options import Choice
from napari_dip_fusion.cli.planes import name_part
from napari_dip_fusion.cli.run_bar import show_stages, watch
from napari_dip_fusion.config import CONSENSUS, DIP, FusionConfig
from napari_dip_fusion.errors import FusionError
from napari_dip_fusion.fusion.control import Control
from napari_dip_fusion.fusion.decision import list_degraded
from napari_dip_fusion.fusion.events import Decided, Event, StepDone
from napari_dip_fusion.fusion.frames import count_frame_axes
from napari_dip_fusion.fusion.result import FusionResult
from napari_dip_fusion.fusion.timing import Estimate
from napari_dip_fusion.io import read_image
from napari_dip_fusion.record import array_sha256
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.coverage import format_part, list_coverage_warnings
from napari_dip_fusion.sources.grid import GridSources, resample_to_reference
from napari_dip_fusion.sources.prepare import PreparedSources, prepare_sources

# More images of one scene are seldom meant: a pattern like *.png stood for a whole folder.
_MOST_UNASKED = 8

# Pixels of a volume in which it takes ten seconds or so to find out whether there is noise.
_MANY_PIXELS = 2**20

FINEST = "as the finest"
"""How a run record says that its reference was not chosen by number."""


def warn_of_unused_blur(choice: Choice, config: FusionConfig) -> None:
    """Say that a blur means nothing where sources are not restored."""
    if choice.fwhm and config.restoration.restore == "never":
        console.warn("--fwhm means nothing where sources are not restored, with restore never")


def check_count(paths: Sequence[Path]) -> None:
    """Raise ValueError for fewer than two sources."""
    if len(paths) < 2:
        raise ValueError(f"a fusion needs two or more source images, got {len(paths)}")


def confirm_count(paths: Sequence[Path], *, yes: bool) -> None:
    """Ask whether more than eight files are one scene; where nobody can answer, `yes` must.

    Raises
    ------
    ValueError
        If there are as many and this is no terminal.
    typer.Abort
        If the answer is no.
    """
    if yes or len(paths) <= _MOST_UNASKED:
        return
    named = f"{len(paths)} files, {paths[0].name} to {paths[-1].name},"
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise ValueError(f"{named} would be taken as images of one scene; add --yes if they are")
    typer.confirm(f"{named} are to be images of one scene. Go on?", abort=True, err=True)


def read_sources(
    paths: Sequence[Path], choice: Choice, *, quiet: bool = False, bar: bool = True
) -> GridSources:
    """Read image files and bring them to the grid of the reference, with warnings.

    Whose grid is taken, and that a source was resampled, is told unless `quiet`. On a terminal a
    `bar` then shows how far that is; where another bar is on the screen there must be none.
    """
    images = _read_images(paths, choice)
    with show_stages(quiet=quiet or not bar):
        sources = resample_to_reference(
            images,
            reference=choice.reference,
            plane=choice.plane,
            interpolation=choice.interpolation,
        )
    if not quiet:
        _tell_grid(paths, sources, choice)
    place = f"the {name_part(sources.images[0].axes)} of {paths[sources.reference]}"
    for path, coverage in zip(paths, sources.coverage, strict=True):
        for line in list_coverage_warnings(str(path), place, coverage):
            console.warn(line)
    for line in sources.remarks:
        console.warn(line)
    return sources


def _read_images(paths: Sequence[Path], choice: Choice) -> list[Source]:
    """Read what was chosen of image files, with what is said of their sensors."""
    count = len(paths)
    # What is wrong with an option is told before any image is read.
    blurs, masks = choice.list_blurs(count), choice.list_masks(count)
    channels = choice.list_channels(count)
    images = []
    for path, channel, blur, mask in zip(paths, channels, blurs, masks, strict=True):
        image, name = read_image(path, channel=channel, level=choice.level), str(path)
        fwhm = 0.0 if blur is None else blur.measure(image, name)
        seen = None if mask is None else read_mask(mask, image, name)
        try:
            images.append(image.replace(fwhm=fwhm, mask=seen))
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    return images


def _tell_grid(paths: Sequence[Path], sources: GridSources, choice: Choice) -> None:
    """Say whose grid is taken and why, and which sources are resampled to it."""
    if not any(sources.resampled):
        return
    place = paths[sources.reference]
    if choice.reference is None:
        console.message(
            f"{place}: its grid is taken, the finest; --reference chooses that of another source"
        )
    for path, coverage, resampled in zip(paths, sources.coverage, sources.resampled, strict=True):
        if resampled:
            console.message(
                f"{path}: brought to the grid of {place}, which it "
                f"covers to {format_part(coverage.of_target)}; {format_part(coverage.of_image)} of "
                "it lies there"
            )


def describe_grid(paths: Sequence[Path], sources: GridSources, choice: Choice) -> dict[str, Any]:
    """Return the notes of a run record on what was chosen of the files, and on whose grid it is.

    Parameters
    ----------
    paths : sequence of Path
    sources : GridSources
        From :func:`read_sources`, with the same choice.
    choice : Choice
    """
    # By its number: a replay takes the same one, whatever is the finest in another version.
    chosen = replace(choice, reference=sources.reference)
    return {
        "choice": describe_choice(chosen),
        "grid": {
            "reference": paths[sources.reference].name,
            "chosen": FINEST if choice.reference is None else "by number",
            "resampled": sources.resampled,
            "remarks": sources.remarks,
            "coverage": [
                {"of_reference": c.of_target, "of_source": c.of_image} for c in sources.coverage
            ],
            "masks": hash_masks(choice.mask),
        },
    }


def list_changed(
    sources: GridSources,
    paths: Sequence[Path],
    masks: Sequence[str],
    hashes: Sequence[str | None],
    mask_hashes: Sequence[str | None],
) -> list[Path]:
    """Return which files are not as they were when a run record was written.

    Parameters
    ----------
    sources : GridSources
        From :func:`read_sources`.
    paths : sequence of K Path
    masks : sequence of K str
        As the option has them; empty without any.
    hashes, mask_hashes : sequence of str or None
        SHA-256 of sources and masks as they were.
    """
    now = [array_sha256(array) for array in sources.arrays]
    seen = hash_masks(masks)
    changed = []
    for n, path in enumerate(paths):
        # Pixels that another mask covers are no others in their file.
        if seen[n : n + 1] != list(mask_hashes)[n : n + 1]:
            changed.append(Path(masks[n]))
        elif now[n : n + 1] != list(hashes)[n : n + 1]:
            changed.append(path)
    return changed


def describe_choice(choice: Choice) -> dict[str, Any]:
    """Return a choice as a run record has it, by which it is repeated from any folder."""
    sequences = {
        "channel": list(choice.channel),
        "fwhm": list(choice.fwhm),
        "mask": name_masks(choice.mask),
    }
    return {**asdict(choice), **sequences}


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
    with console.keep_best_on_interrupt(control, frames=frames):
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
