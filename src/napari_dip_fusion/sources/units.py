"""Names of units: one short symbol each, and the lengths and times among them."""

__all__ = ["LENGTHS", "TIMES", "long_name", "symbol"]

LENGTHS = {
    "nm": 1e-9,
    "um": 1e-6,
    "mm": 1e-3,
    "cm": 1e-2,
    "m": 1.0,
    "Å": 1e-10,
    "in": 0.0254,
}
"""Metres in a unit of length."""

TIMES = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
"""Seconds in a unit of time."""

_LONG = {
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
_OTHER = {
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


def symbol(unit: object) -> str:
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
    >>> symbol("micrometres"), symbol("pixels"), symbol("Hz")
    ('um', 'pixel', 'Hz')
    """
    name = str(unit).strip()
    if name in _LONG or name in _OTHER:
        return _OTHER.get(name, name)
    folded = name.lower().replace("metre", "meter").rstrip("s")
    for short, long in _LONG.items():
        if folded == long:
            return short
    return _OTHER.get(name.lower(), name)


def long_name(unit: str) -> str | None:
    """Return the full English name of a unit's symbol, if it is a known one.

    Parameters
    ----------
    unit : str
        From :func:`symbol`.

    Returns
    -------
    str or None
        Such as ``"micrometer"``.
    """
    return _LONG.get(unit)
