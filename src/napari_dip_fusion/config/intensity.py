"""How source values become [0, 1]: the modes and windows that a setting can name."""

import math
from typing import Any

Window = tuple[float, float]
Intensity = str | tuple[str | Window, ...]

INTENSITY_MODES = ("auto", "minmax", "dtype", "percentiles")


def check_intensity(intensity: Intensity) -> Intensity:
    """Return the intensity if it is a mode or has one entry a source; raise ValueError if not."""
    entries = (intensity,) if isinstance(intensity, str) else intensity
    for entry in entries:
        if isinstance(entry, str):
            if entry not in INTENSITY_MODES:
                raise ValueError(
                    f"intensity must be one of {', '.join(INTENSITY_MODES)} or a window "
                    f"(low, high) for each source, got {entry!r}"
                )
        elif len(entry) != 2 or not all(map(math.isfinite, entry)) or not entry[0] < entry[1]:
            raise ValueError(
                f"an intensity window must be (low, high) with low < high, got {entry}"
            )
    return intensity


def check_percentiles(percentiles: Window) -> Window:
    """Return the percentiles if they are two rising numbers; raise ValueError if not."""
    low, high = percentiles
    if not 0 <= low < high <= 100:
        raise ValueError(
            f"percentiles must be two numbers with 0 <= low < high <= 100, got {percentiles}"
        )
    return percentiles


def convert_to_tuples(value: Any) -> Any:
    """Turn the lists that JSON gives into tuples, at every level."""
    if isinstance(value, (list, tuple)):
        return tuple(convert_to_tuples(v) for v in value)
    return value
