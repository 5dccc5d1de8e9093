"""Units of length and time under one short symbol each, whatever a file calls them."""

__all__ = ["LENGTHS", "TIMES", "abbreviate_unit", "spell_out_unit"]

LENGTHS = {
    "nm": 1e-9,
    "um": 1e-6,
    "mm": 1e-3,
    "cm": 1e-2,
    "m": 1.0,
    "Å": 1e-10,
    "in": 0.0254,
}
"""Meters in each unit of length."""

TIMES = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
"""Seconds in each unit of time."""

# The names of OME-Zarr, which are those of UDUNITS-2.
_LONG_NAMES = {
    "nm": "nanometer",
    "um": "micrometer",
    "mm": "millimeter",
    "cm": "centimeter",
    "m": "meter",
    "Å": "angstrom",
    "in": "inch",
    "ns": "nanosecond",
    "us": "microsecond",
    "ms": "millisecond",
    "s": "second",
    "min": "minute",
    "h": "hour",
}
# Other spellings met in files. The micro sign (U+00B5) and the Greek letter mu
# (U+03BC) look the same, and both are in use.
_OTHER_NAMES = {
    "": "pixel",
    "px": "pixel",
    "pix": "pixel",
    "pixels": "pixel",
    "unknown": "pixel",
    "micron": "um",
    "microns": "um",
    "µm": "um",
    "μm": "um",
    "µs": "us",
    "μs": "us",
    "sec": "s",
    "msec": "ms",
    "usec": "us",
    "inches": "in",
    "hr": "h",
    "angstroms": "Å",
}


def abbreviate_unit(unit: object) -> str:
    """Return the short symbol of a unit; an unknown name comes back as it is.

    Parameters
    ----------
    unit : object
        A name such as ``"micrometer"``, ``"µm"`` or ``"microns"``, or what
        prints as one.

    Returns
    -------
    str
        Such as ``"um"``.

    Examples
    --------
    >>> abbreviate_unit("micrometres"), abbreviate_unit("pixels"), abbreviate_unit("Hz")
    ('um', 'pixel', 'Hz')
    """
    name = str(unit).strip()
    # Exact names first: "M" and "m", or "S" and "s", are different units.
    if name in _LONG_NAMES or name in _OTHER_NAMES:
        return _OTHER_NAMES.get(name, name)
    folded = name.lower().replace("metre", "meter").rstrip("s")
    for short, long in _LONG_NAMES.items():
        if folded == long:
            return short
    return _OTHER_NAMES.get(name.lower(), name)


def spell_out_unit(unit: str) -> str | None:
    """Return the full English name of a unit.

    Parameters
    ----------
    unit : str
        A symbol from :func:`abbreviate_unit`.

    Returns
    -------
    str or None
        Such as ``"micrometer"``; None for an unknown symbol.
    """
    return _LONG_NAMES.get(unit)
