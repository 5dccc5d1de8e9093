"""Units of length and time under one short symbol each, whatever a file calls them."""

import html
import re
import unicodedata

__all__ = ["LENGTHS", "TIMES", "abbreviate_unit", "find_factor", "spell_out_unit"]

LENGTHS = {
    "pm": 1e-12,
    "nm": 1e-9,
    "um": 1e-6,
    "mm": 1e-3,
    "cm": 1e-2,
    "dm": 1e-1,
    "m": 1.0,
    "km": 1e3,
    "Å": 1e-10,
    "in": 0.0254,
    "ft": 0.3048,
    "yd": 0.9144,
}
"""Meters in each unit of length."""

TIMES = {
    "ps": 1e-12,
    "ns": 1e-9,
    "us": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "min": 60.0,
    "h": 3600.0,
    "d": 86400.0,
}
"""Seconds in each unit of time."""

# The names of OME-Zarr, which are those of UDUNITS-2.
_LONG_NAMES = {
    "pm": "picometer",
    "nm": "nanometer",
    "um": "micrometer",
    "mm": "millimeter",
    "cm": "centimeter",
    "dm": "decimeter",
    "m": "meter",
    "km": "kilometer",
    "Å": "angstrom",
    "in": "inch",
    "ft": "foot",
    "yd": "yard",
    "ps": "picosecond",
    "ns": "nanosecond",
    "us": "microsecond",
    "ms": "millisecond",
    "s": "second",
    "min": "minute",
    "h": "hour",
    "d": "day",
}
# Other names met in files, in lower case and with the Greek letter mu.
_OTHER_NAMES = {
    "": "pixel",
    "px": "pixel",
    "pix": "pixel",
    "voxel": "pixel",
    "none": "pixel",
    "null": "pixel",
    "unknown": "pixel",
    "arbitrary": "pixel",
    # OME's name for a length in a frame of which nothing is known.
    "reference frame": "pixel",
    "pixel": "pixel",
    "micron": "um",
    "μ": "um",
    "mu": "um",
    "mum": "um",
    "mcm": "um",
    "μm": "um",
    "μmeter": "um",
    "ångström": "Å",
    "ångstrom": "Å",
    "angström": "Å",
    "å": "Å",
    "inche": "in",
    '"': "in",
    "feet": "ft",
    "sec": "s",
    "msec": "ms",
    "usec": "us",
    "μs": "us",
    "μsec": "us",
    "nsec": "ns",
    "minute": "min",
    "hr": "h",
}
# The micro sign as Java, C and JSON escape it, as ImageJ does in the ASCII of a description.
_ESCAPE = re.compile(r"\\?\\(?:u0*([0-9a-f]{4})|x([0-9a-f]{2}))", re.IGNORECASE)


def abbreviate_unit(unit: object) -> str:
    r"""Return the short symbol of a unit; an unknown name comes back as it is.

    Parameters
    ----------
    unit : object
        A name such as ``"micrometer"``, ``"µm"``, ``"\u00B5m"`` as an escape, or
        ``"microns"``, or what prints as one. None, and names that say nothing, are
        ``"pixel"``.

    Returns
    -------
    str
        Such as ``"um"``.

    Examples
    --------
    >>> abbreviate_unit("micrometres"), abbreviate_unit("pixels"), abbreviate_unit("Hz")
    ('um', 'pixel', 'Hz')
    """
    name = _clean("" if unit is None else str(unit))
    # Exact symbols first: "M" and "m", "Mm" and "mm", or "S" and "s" are different units.
    if name in _LONG_NAMES:
        return name
    folded = name.lower().replace("metre", "meter")
    # Some programs write all in capitals; a single letter could be another unit then.
    if len(name) > 1 and name.isupper() and folded in _LONG_NAMES:
        return folded
    # Without a dot or the "s" of the plural; a single letter has none.
    for known in (folded, folded[:1] + folded[1:].rstrip("s.")):
        if known in _OTHER_NAMES:
            return _OTHER_NAMES[known]
        for short, long in _LONG_NAMES.items():
            if known == long or folded == f"{short}.":
                return short
    return name


def _clean(name: str) -> str:
    """Return a name without escapes, and with one letter for each that looks the same."""
    text = _ESCAPE.sub(lambda match: chr(int(match[1] or match[2], 16)), html.unescape(name))
    # UTF-8 that was read as Latin-1 has this letter before the micro sign.
    text = text.replace("Âµ", "µ")
    # NFKC turns the micro sign into the Greek letter mu, and the sign of angstrom into a letter.
    return unicodedata.normalize("NFKC", text).strip().strip("\0").strip()


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


def find_factor(own: str, other: str) -> float | None:
    """Return how many of another unit one unit is.

    Parameters
    ----------
    own, other : str
        Symbols from :func:`abbreviate_unit`.

    Returns
    -------
    float or None
        None if they do not measure the same, as far as it is known.

    Examples
    --------
    >>> find_factor("cm", "mm"), find_factor("pixel", "mm"), find_factor("furlong", "furlong")
    (10.0, None, 1.0)
    """
    if own == other:
        return 1.0
    for table in (LENGTHS, TIMES):
        if own in table and other in table:
            return table[own] / table[other]
    return None
