"""What napari can draw of a source, so that it is seen where it lies."""

from collections.abc import Mapping

import numpy as np

from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.axis_order import turn_to_world


def make_drawable(image: Source) -> Source:
    """Return a source as a layer can show it.

    napari draws the last two axes of an array over those of the world, and every resolution
    over the same area, wherever the file says that it lies.

    Parameters
    ----------
    image : Source

    Returns
    -------
    Source
        With its axes in the order of the world's, from :func:`.turn_to_world`, and with the
        finest of its resolutions as far as napari shows them in their places.
    """
    # What was written from a layer has been drawn, and stays as it was.
    known = image.display.get("transform")
    image = image if isinstance(known, Mapping) else turn_to_world(image)
    count = len(image.pyramid)
    numbers = range(1, count + 1)
    kept = next((n - 1 for n in numbers if not _is_drawn_in_place(image, n)), count)
    if kept == count:
        return image
    return image.replace(pyramid=image.pyramid[:kept], level_affines=image.level_affines[:kept])


def _is_drawn_in_place(image: Source, level: int) -> bool:
    linear = image.find_level_affine(level)[:-1, :-1]
    steps = np.diag(linear)
    # A plane that is fused at a level takes its scale from it, but no turn.
    straight = bool(np.array_equal(linear, np.diag(steps)) and (steps > 0).all())
    return straight and image.measure_level_shift(level) <= 1
