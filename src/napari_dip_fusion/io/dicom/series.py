"""DICOM files and folders are read to sources, one for each series."""

import warnings
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io.dicom.directory import list_named_files
from napari_dip_fusion.io.dicom.files import find_dicom_files
from napari_dip_fusion.io.dicom.frames import Frame, read_frames
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
    if failures:
        others = f" and {len(failures) - 1} more" if len(failures) > 1 else ""
        warnings.warn(f"a file was left out: {failures[0]}{others}", stacklevel=2)
    return _number_names([stack_frames(group) for group in _group_frames(frames)])


def _group_frames(frames: list[Frame]) -> list[list[Frame]]:
    """Return lists of frames that can be stacked: of one series, size, kind and orientation."""
    groups: dict[Any, list[Frame]] = defaultdict(list)
    for frame in frames:
        values, turned = frame.values, frame.place.orientation
        # A series may hold a localizer across its slices.
        kind = None if turned is None else tuple(np.round(turned, 3))
        key = (frame.series, values.array_shape, values.color, values.inverted, values.dtype, kind)
        groups[key].append(frame)
    return list(groups.values())


def _number_names(images: list[Source]) -> list[Source]:
    """Return the images with a number behind every name that several of them share."""
    names = [image.name for image in images]
    return [
        image.replace(name=f"{image.name} ({names[: n + 1].count(image.name)})")
        if names.count(image.name) > 1
        else image
        for n, image in enumerate(images)
    ]
