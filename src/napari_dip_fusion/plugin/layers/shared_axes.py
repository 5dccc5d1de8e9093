"""Which axes of two layers mean the same: napari matches them from the last one on."""

from collections.abc import Sequence

from napari.layers import Image

from napari_dip_fusion.sources.axis_kinds import find_kind
from napari_dip_fusion.sources.units import LENGTHS, abbreviate_unit


def require_one_world(layer: Image, reference: Image, plane: Sequence[int]) -> None:
    """Refuse a layer that napari lays on another one by numbers of different meaning.

    Parameters
    ----------
    layer, reference : Image
        Axes along which one of them has a single pixel need not mean the same.
    plane : sequence of two int
        Axes of the plane that is fused, counted from the last one (negative).

    Raises
    ------
    ValueError
        If an axis is of another kind, or measured in a unit that cannot be converted.
    """
    for axis in range(-min(layer.ndim, reference.ndim), 0):
        layers = (layer, reference)
        flat = any(image.level_shapes[0][axis] == 1 for image in layers)
        if axis not in plane and flat:
            continue
        names = [get_label(image, axis) for image in layers]
        units = [abbreviate_unit(image.units[axis]) for image in layers]
        # napari converts by pint, which knows more units than files name.
        if layer.units[axis].dimensionality != reference.units[axis].dimensionality:
            known = next((unit for unit in units if unit in LENGTHS), units[1])
            raise ValueError(
                f"{layer.name} is measured in {units[0]} and {reference.name} in {units[1]}, so "
                "nothing says how they lie on each other; give both their place in one unit "
                f"(such as layer.units = {known!r}, with its scale)"
            )
        kinds = [find_kind(*pair) for pair in zip(names, units, strict=True)]
        if axis not in plane and None not in kinds and kinds[0] != kinds[1]:
            raise ValueError(
                f"{layer.name} has the axis {names[0]} where {reference.name} has {names[1]}, so "
                "one slider moves both; make a layer of the one plane that is to be fused "
                "(such as viewer.add_image(layer.data[3]))"
            )


def get_label(layer: Image, axis: int) -> str:
    """Return the name of an axis, empty where it has napari's own, which are numbers.

    Parameters
    ----------
    layer : Image
    axis : int
        Counted from the last one (negative), as napari matches the axes of layers.
    """
    label = str(layer.axis_labels[axis])
    return "" if label.lstrip("-").isdigit() else label
