"""Sources from files, and a run with its progress on the terminal."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.cli import console
from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.fusion import Control, FusionResult, iter_fuse
from napari_dip_fusion.io import read_image


def check_count(paths: Sequence[Path]) -> None:
    """Raise ValueError for fewer than two sources."""
    if len(paths) < 2:
        raise ValueError(f"a fusion needs two or more source images, got {len(paths)}")


def read_arrays(paths: Sequence[Path]) -> list[NDArray[Any]]:
    """Read the pixels of image files."""
    return [np.asarray(read_image(p).data) for p in paths]


def run_fusion(
    arrays: list[NDArray[Any]], paths: Sequence[Path | str], config: FusionConfig, *, quiet: bool
) -> FusionResult:
    """Fuse arrays with a progress bar; Ctrl-C keeps the best so far.

    `paths` are the files of the sources, or plain names where there are none.
    """
    control = Control()
    files = [str(p.resolve()) if isinstance(p, Path) else None for p in paths]
    names = [p.name if isinstance(p, Path) else p for p in paths]
    with console.interrupt_keeps_best(control):
        events = iter_fuse(arrays, config, names=names, paths=files, control=control)
        return console.watch(events, quiet=quiet)
