"""Planes that a TIFF file or a set of them declares, and that no page is there for."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from napari_dip_fusion.io.tiff.pieces import is_one_run

__all__ = ["MissingPlanes", "list_missing_planes", "say_missing_files"]

# Planes that a warning names one by one.
_NAMED_PLANES = 4


@dataclass(frozen=True)
class MissingPlanes:
    """The planes of an image that no page is there for.

    Parameters
    ----------
    sizes : dict
        Size of each axis of planes by tifffile's letter.
    planes : list of dict
        Where on these axes a plane is missing.
    """

    sizes: dict[str, int]
    planes: list[dict[str, int]] = field(default_factory=list)

    @property
    def channels(self) -> list[int]:
        """The channels without any plane."""
        count = self.sizes.get("C", 1)
        most = int(np.prod(list(self.sizes.values()))) // count
        found = np.bincount([plane.get("C", 0) for plane in self.planes], minlength=count)
        return [c for c in range(count) if found[c] == most]

    def describe(self, names: Sequence[str | None]) -> str:
        """Return what is left out of an image and what of it is 0, for a warning.

        Parameters
        ----------
        names : sequence of str or None
            Names of the first channels.

        Returns
        -------
        str
            Empty where nothing is missing.
        """
        channels = self.channels
        left = [(names[c] if c < len(names) else None) or f"channel {c}" for c in channels]
        words = [f"{', '.join(left)} {'are' if len(left) > 1 else 'is'} left out"] if left else []
        blank = [plane for plane in self.planes if plane.get("C", 0) not in channels]
        if blank:
            shown = [self._name(plane) for plane in blank[:_NAMED_PLANES]]
            more = len(blank) - len(shown)
            words.append(
                f"{len(blank)} of its planes are read as 0 ({', '.join(shown)}"
                + (f" and {more} more)" if more else ")")
            )
        return " and ".join(words)

    def _name(self, plane: dict[str, int]) -> str:
        named = [f"{axis.lower()}={n}" for axis, n in plane.items() if self.sizes[axis] > 1]
        return " ".join(named) or "the only one"


def list_missing_planes(series: Any) -> MissingPlanes:
    """Return which planes of a series have no page.

    Parameters
    ----------
    series : tifffile.TiffPageSeries
        The finest resolution of an image.

    Returns
    -------
    MissingPlanes
        What tifffile would read as zeros.
    """
    letters = zip(series.get_axes(squeeze=False), series.get_shape(squeeze=False), strict=True)
    sizes = {letter: size for letter, size in letters if letter not in "YXS"}
    if is_one_run(series):
        return MissingPlanes(sizes)
    blank = [n for n, page in enumerate(series) if page is None]
    if not blank or np.prod(list(sizes.values())) != len(series):
        return MissingPlanes(sizes)
    index = np.unravel_index(blank, tuple(sizes.values()))
    planes = [dict(zip(sizes, map(int, one), strict=True)) for one in zip(*index, strict=True)]
    return MissingPlanes(sizes, planes)


def say_missing_files(files: Sequence[str]) -> str:
    """Return the beginning of a warning of files that are not there."""
    return f"{', '.join(files)} {'are' if len(files) > 1 else 'is'} missing"
