"""Sources from files: what was chosen of them, and what is said of the grid that they lie on."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import typer

from napari_dip_fusion.cli import console
from napari_dip_fusion.cli.masks import hash_masks, name_masks, read_mask
from napari_dip_fusion.cli.options import Choice
from napari_dip_fusion.cli.planes import name_part
from napari_dip_fusion.cli.run_bar import show_stages
from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.io import read_image
from napari_dip_fusion.record import array_sha256
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.coverage import Coverage, format_part, list_coverage_warnings
from napari_dip_fusion.sources.grid import GridSources, resample_to_reference

# More images of one scene are seldom meant: a pattern like *.png stood for a whole folder.
_MOST_UNASKED = 8

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


@dataclass(frozen=True, kw_only=True)
class GridReport:
    """How sources lie on the grid of the reference, without their pixels.

    Attributes
    ----------
    axes : sequence of str
        Of what is fused.
    reference, coverage, resampled, remarks
        As of :class:`.GridSources`.
    """

    axes: Sequence[str]
    reference: int
    coverage: Sequence[Coverage]
    resampled: Sequence[bool]
    remarks: Sequence[str]


def report_grid(sources: GridSources) -> GridReport:
    """Return how sources lie that are on one grid."""
    return GridReport(
        axes=sources.images[0].axes,
        reference=sources.reference,
        coverage=sources.coverage,
        resampled=sources.resampled,
        remarks=sources.remarks,
    )


def read_sources(
    paths: Sequence[Path], choice: Choice, *, quiet: bool = False, bar: bool = True
) -> GridSources:
    """Read image files and bring them to the grid of the reference, with warnings.

    Parameters
    ----------
    paths, choice
        As for :func:`read_images`.
    quiet, bar
        As for :func:`bring_to_grid`.
    """
    return bring_to_grid(read_images(paths, choice), paths, choice, quiet=quiet, bar=bar)


def read_images(paths: Sequence[Path], choice: Choice) -> list[Source]:
    """Return what was chosen of image files, with what is said of their sensors.

    Pixels are read when they are asked for, where the format allows it.
    """
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


def bring_to_grid(
    images: Sequence[Source],
    paths: Sequence[Path],
    choice: Choice,
    *,
    quiet: bool = False,
    bar: bool = True,
) -> GridSources:
    """Read images from files and bring them to the grid of the reference, with warnings.

    Whose grid is taken, and that a source was resampled, is told unless `quiet`. On a terminal a
    `bar` then shows how far that is; where another bar is on the screen there must be none.
    """
    with show_stages(quiet=quiet or not bar):
        sources = resample_to_reference(
            images,
            reference=choice.reference,
            plane=choice.plane,
            interpolation=choice.interpolation,
        )
    tell_grid(paths, report_grid(sources), choice, quiet=quiet)
    return sources


def tell_grid(paths: Sequence[Path], grid: GridReport, choice: Choice, *, quiet: bool) -> None:
    """Say whose grid is taken unless `quiet`, and warn of what is doubtful about it."""
    if not quiet:
        _tell_resampled(paths, grid, choice)
    place = f"the {name_part(grid.axes)} of {paths[grid.reference]}"
    for path, coverage in zip(paths, grid.coverage, strict=True):
        for line in list_coverage_warnings(str(path), place, coverage):
            console.warn(line)
    for line in grid.remarks:
        console.warn(line)


def _tell_resampled(paths: Sequence[Path], grid: GridReport, choice: Choice) -> None:
    """Say whose grid is taken and why, and which sources are resampled to it."""
    if not any(grid.resampled):
        return
    place = paths[grid.reference]
    if choice.reference is None:
        console.message(
            f"{place}: its grid is taken, the finest; --reference chooses that of another source"
        )
    for path, coverage, resampled in zip(paths, grid.coverage, grid.resampled, strict=True):
        if resampled:
            console.message(
                f"{path}: brought to the grid of {place}, which it "
                f"covers to {format_part(coverage.of_target)}; {format_part(coverage.of_image)} of "
                "it lies there"
            )


def describe_grid(
    paths: Sequence[Path], sources: GridSources | GridReport, choice: Choice
) -> dict[str, Any]:
    """Return the notes of a run record on what was chosen of the files, and on whose grid it is.

    Parameters
    ----------
    paths : sequence of Path
    sources : GridSources or GridReport
        Of the same choice.
    choice : Choice
    """
    # By its number: a replay takes the same one, whatever is the finest in another version.
    chosen = replace(choice, reference=sources.reference)
    return {
        "choice": describe_choice(chosen),
        "grid": {
            "reference": paths[sources.reference].name,
            "chosen": FINEST if choice.reference is None else "by number",
            "resampled": list(sources.resampled),
            "remarks": list(sources.remarks),
            "coverage": [
                {"of_reference": c.of_target, "of_source": c.of_image} for c in sources.coverage
            ],
            # Block by block, the hashes of sources are also of what their masks say.
            "masks": hash_masks(choice.mask) if isinstance(sources, GridSources) else [],
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
