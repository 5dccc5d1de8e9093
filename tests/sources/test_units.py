"""One name a unit, in whatever spelling or escape a file has it."""

import pytest

from napari_dip_fusion.sources.units import LENGTHS, TIMES, abbreviate_unit, spell_out_unit

SPELLINGS = {
    "um": (
        *("um", "µm", "μm", "\\u00B5m", "\\u00b5m", "\\xB5m", "&#181;m", "&micro;m", "Âµm"),
        *("micron", "microns", "Micron", "MICRONS", "micrometer", "micrometre", "Micrometers"),
        *("UM", " um ", "um\0", "µ", "um."),
    ),
    "nm": ("nm", "NM", "nanometer", "nanometres"),
    "mm": ("mm", "MM", "millimeter", "mm."),
    "cm": ("cm", "centimeters"),
    "m": ("m", "meters"),
    "in": ("in", "inch", "Inches", '"'),
    "Å": ("Å", "\u212b", "A\u030a", "angstrom", "Angstroms", "ångström"),
    "s": ("s", "sec", "secs", "second", "seconds"),
    "ms": ("ms", "msec", "milliseconds"),
    "us": ("us", "µs", "μs", "usec"),
    "pixel": (None, "", "null", "None", "pixel", "Pixels", "px", "reference frame", "unknown"),
}


@pytest.mark.parametrize(
    ("unit", "name"), [(unit, name) for unit, names in SPELLINGS.items() for name in names]
)
def test_each_spelling_is_the_one_unit(unit, name):
    assert abbreviate_unit(name) == unit


@pytest.mark.parametrize("name", ["Hz", "M", "S", "Mm", "A", "parsec", "furlong"])
def test_a_unit_that_is_not_known_stays_as_it_is(name):
    assert abbreviate_unit(name) == name
    assert name not in {**LENGTHS, **TIMES}
    assert spell_out_unit(name) is None


@pytest.mark.parametrize("unit", [*LENGTHS, *TIMES])
def test_a_symbol_and_its_full_name_are_the_same_unit(unit):
    assert abbreviate_unit(unit) == unit
    assert abbreviate_unit(spell_out_unit(unit)) == unit
