"""The blur of a source as an option says it: a width in a unit of length, or in its own pixels."""

import math
import re
from dataclasses import dataclass

from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.sensing import find_space_axes
from napari_dip_fusion.sources.units import LENGTHS, abbreviate_unit, find_factor

_PIXEL = "pixel"
_EXAMPLES = "as in 4.5mm, 350nm, 3px, or 6,2,2mm for each axis of space"
# A number, and whatever stands behind it.
_WIDTH = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)\s*([^\d\s,]*)\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Blur:
    """How wide a sensor blurs a point: its full width at half maximum, as somebody gave it.

    Attributes
    ----------
    text : str
        The option.
    widths : tuple of float
        One along all axes of space, or one along each.
    units : tuple of str
        A unit of length, or ``"pixel"``, for each width.
    """

    text: str
    widths: tuple[float, ...]
    units: tuple[str, ...]

    def measure(self, image: Source, name: str) -> tuple[float, ...]:
        """Return the width along each axis of an image in the units of its world.

        Parameters
        ----------
        image : Source
            Its axes that are none of space are not blurred: their width is 0.
        name : str
            What an error calls the image.

        Raises
        ------
        ValueError
            If the number of widths or their units do not fit the image.
        """
        axes = find_space_axes(image.axes, image.units)
        pairs = list(zip(self.widths, self.units, strict=True))
        pairs *= len(axes) if len(pairs) == 1 else 1
        if len(pairs) != len(axes):
            raise ValueError(
                f"--fwhm must be one width, or one for each of the {len(axes)} axes of space of "
                f"{name} ({' '.join(image.axes[n] for n in axes)}), got {len(pairs)} in "
                f"{self.text!r}"
            )
        found = [0.0] * image.ndim
        for axis, (width, unit) in zip(axes, pairs, strict=True):
            found[axis] = width * self._find_step(image, name, axis, unit)
        return tuple(found)

    def _find_step(self, image: Source, name: str, axis: int, unit: str) -> float:
        """Return how much of the image's world one of a unit is along an axis."""
        if unit == _PIXEL:
            return float(image.spacing[axis])
        factor = find_factor(unit, image.units[axis])
        if factor is None:
            raise ValueError(
                f"--fwhm {self.text} does not fit {name}, which is measured in "
                f"{image.units[axis]}s: nothing says how long one is; give the width in pixels of "
                "its own, as in 3px"
            )
        return factor


def parse_blur(text: str) -> Blur:
    """Return what a width means that somebody gave.

    Parameters
    ----------
    text : str
        A number with its unit, such as ``"4.5mm"``, ``"350nm"`` or ``"3px"``, or several with
        commas. A unit stands for the numbers before it; 0 needs none.

    Raises
    ------
    ValueError
        If it is something else, or a width is negative or has no unit.

    Examples
    --------
    >>> parse_blur("6,2,2mm").widths, parse_blur("0.35um,3px").units
    ((6.0, 2.0, 2.0), ('um', 'pixel'))
    """
    found = [_WIDTH.fullmatch(part) for part in text.split(",")]
    matches = [match for match in found if match is not None]
    if len(matches) < len(found):
        raise ValueError(f"--fwhm takes a width {_EXAMPLES}, got {text!r}")
    widths = tuple(float(match[1]) for match in matches)
    if any(width < 0 or not math.isfinite(width) for width in widths):
        raise ValueError(f"--fwhm must be 0 or more, got {text!r}")
    units: list[str] = []
    # From the last one, whose unit stands for those before it.
    for width, match in reversed(list(zip(widths, matches, strict=True))):
        units.append(_name_unit(match[2], text) if match[2] else (units or [""])[-1])
        if not units[-1] and width > 0:
            raise ValueError(f"--fwhm needs a unit, {_EXAMPLES}, got {text!r}")
    return Blur(text, widths, tuple(unit or _PIXEL for unit in reversed(units)))


def _name_unit(given: str, text: str) -> str:
    unit = abbreviate_unit(given)
    if unit != _PIXEL and unit not in LENGTHS:
        known = ", ".join(LENGTHS)
        raise ValueError(
            f"--fwhm needs a unit of length ({known}) or px, got {given!r} in {text!r}"
        )
    return unit
