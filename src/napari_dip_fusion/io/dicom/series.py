"""DICOM files and folders are read to sources, one for each series."""

import warnings
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io.dicom.directory import list_named_files
from napari_dip_fusion.io.dicom.files import find_dicom_files
from napari_dip_fusion.io.dicom.frames import Frame, read_frames
from napari_dip_fusion.io.dicom.grouping import group_frames
from napari_dip_fusion.io.dicom.header import NoImageError
from napari_dip_fusion.io.dicom.messages import relay_pydicom
from napari_dip_fusion.io.dicom.volume import stack_frames
from napari_dip_fusion.sources import Source

__all__ = ["read", "read_files"]


def read(path: Path, *, patient: bool = False) -> list[Source]:
    """Read a file, or all files in and below a folder.

    Parameters
    ----------
    path : Path
        DICOM file, folder, or DICOMDIR, which stands for the files that it names.
    patient : bool
        Whether metadata may say who was scanned and when.

    Returns
    -------
    list of Source
        One for each series and orientation, in the world of
        :mod:`~napari_dip_fusion.io.anatomy` and in millimeters.

    Raises
    ------
    ImageFileError
        If there is no readable image.
    """
    if not path.is_dir():
        return read_files(list_named_files(path), patient=patient)
    files = find_dicom_files(path)
    return [image.replace(path=path) for image in read_files(files, patient=patient)]


def read_files(paths: Sequence[Path], *, patient: bool = False) -> list[Source]:
    """Read files that belong together.

    Damaged files are left out with a warning as long as one good file is left.

    Parameters
    ----------
    paths : sequence of Path
        DICOM files.
    patient : bool
        Whether metadata may say who was scanned and when.

    Returns
    -------
    list of Source
        As of :func:`read`.

    Raises
    ------
    ImageFileError
        If there is no readable image.
    """
    frames: list[Frame] = []
    failures: list[ImageFileError | OSError] = []
    imageless: list[NoImageError] = []
    about = paths[0].name if len(paths) == 1 else f"{paths[0].parent.name} ({len(paths)} files)"
    with relay_pydicom(about):
        for path in paths:
            try:
                frames += read_frames(path, patient=patient)
            # Reports and plans lie beside images.
            except NoImageError as error:
                imageless.append(error)
            # One broken file is no reason to lose a volume.
            except (ImageFileError, OSError) as error:
                failures.append(error)
    if not frames:
        raise [*failures, *imageless][0]
    _warn_of_failures(failures)
    frames = _drop_copies(frames)
    _check_concatenations(frames)
    images, undecoded = _stack_groups(frames)
    if not images and undecoded:
        raise undecoded[0]
    if not images:
        raise ImageFileError(
            f"{paths[0]}: nothing in the headers tells which frames make a volume; "
            "name the files of one volume"
        )
    _warn_of_failures(undecoded)
    return images


def _warn_of_failures(failures: Sequence[ImageFileError | OSError]) -> None:
    if failures:
        others = f" and {len(failures) - 1} more" if len(failures) > 1 else ""
        warnings.warn(f"a file was left out: {failures[0]}{others}", stacklevel=3)


def _stack_groups(frames: Sequence[Frame]) -> tuple[list[Source], list[ImageFileError]]:
    """Return the volumes of frames, and why some of them could not be decoded."""
    images: list[Source] = []
    failures = []
    for group in group_frames(frames):
        try:
            images += stack_frames(group)
        # The other series of a folder may be sound.
        except ImageFileError as error:
            failures.append(error)
    return images, failures


def _drop_copies(frames: list[Frame]) -> list[Frame]:
    """Return each frame of an object once.

    Files that some program gave the same UID are no copies as long as their headers differ.
    """
    kept: dict[Any, Frame] = {}
    for frame in frames:
        position = frame.place.position
        where = None if position is None else tuple(position.tolist())
        marks = tuple(frame.kind.marks.items())
        kept.setdefault((frame.identity, frame.index, frame.number, where, marks), frame)
    copies = len(frames) - len(kept)
    if copies:
        name = frames[0].name
        warnings.warn(f"{name}: {copies} doubled slices were left out", stacklevel=3)
    return list(kept.values())


def _check_concatenations(frames: list[Frame]) -> None:
    """Warn of objects in several files of which some are missing."""
    parts: dict[tuple[str, int], set[int]] = defaultdict(set)
    for frame in frames:
        whole = frame.concatenation
        if whole is not None and whole.parts:
            parts[whole.identity, whole.parts].add(whole.part)
    for (_, count), known in parts.items():
        missing = sorted(set(range(1, count + 1)) - known)
        if missing:
            listed = ", ".join(map(str, missing[:5]))
            warnings.warn(
                f"{frames[0].name}: of an object in {count} files, {len(missing)} are missing: "
                f"part {listed}",
                stacklevel=3,
            )
