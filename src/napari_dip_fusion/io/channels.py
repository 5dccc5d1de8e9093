"""An axis of channels is split into images of their own, as napari shows them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from napari_dip_fusion.sources import Source

__all__ = ["split_channels"]


def split_channels(
    image: Source,
    names: Sequence[str | None] = (),
    displays: Sequence[Mapping[str, Any]] = (),
) -> list[Source]:
    """Return one image for each index of the axis ``"c"``.

    Parameters
    ----------
    image : Source
        An image, with or without such an axis.
    names : sequence of str or None
        Names of the first channels; those without one take the image's name, with a
        number where there are several channels.
    displays : sequence of mapping
        How the first channels are shown; the others are shown like the image.

    Returns
    -------
    list of Source
        In the order of the channels; the image itself where it has no such axis.
    """
    if "c" not in image.axes:
        return [image]
    axis = image.axes.index("c")
    count = image.shape[axis]
    images = []
    for n in range(count):
        name = names[n] if n < len(names) else None
        numbered = image.name if count == 1 else f"{image.name} {n}"
        plane = image.take("c", n).replace(
            name=name or numbered,
            display=dict(displays[n]) if n < len(displays) else image.display,
            # take() drops the pyramid: on most axes an index means another place in a
            # coarser level. Channels are as many in all levels.
            pyramid=tuple(level[(slice(None),) * axis + (n,)] for level in image.pyramid),
            level_affines=tuple(
                np.delete(np.delete(matrix, axis, axis=0), axis, axis=1)
                for matrix in image.level_affines
            ),
        )
        images.append(plane)
    return images
