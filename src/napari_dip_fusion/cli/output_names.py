"""What the files of a run's results are called, and which pixel type they may have."""

from collections.abc import Sequence
from pathlib import Path

from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.io.files import is_bundle
from napari_dip_fusion.io.formats import list_endings, strip_ending

_FLAT = (".png", ".tif", ".tiff")  # formats of one plane, which know no place in the world
_STACKED = ".ome.tif"  # the format of maps that are no planes


def is_flat(path: Path) -> bool:
    """Tell whether a format holds a plain picture only."""
    name = path.name.lower()
    return name.endswith(_FLAT) and not name.endswith((".ome.tif", ".ome.tiff"))


def name_record(output: Path) -> Path:
    """Return NAME.record.json for an output NAME with any known ending."""
    return output.with_name(f"{strip_ending(output)}.record.json")


def choose_pixel_type(output: Path, dtype: str | None, like: int | None) -> str | None:
    """Return the pixel type to write, or None where it follows from the sources.

    Raises
    ------
    ValueError
        If the ending or the type cannot be written.
    """
    endings = list_endings(writing=True)
    if not output.name.lower().endswith(endings):
        raise ValueError(f"the output must end in one of {', '.join(endings)}, got {output.name!r}")
    # PNG has no floats; other formats keep what the network computes.
    png = output.name.lower().endswith(".png")
    kinds = ("uint8", "uint16") if png else ("uint8", "uint16", "float32")
    if dtype is not None and dtype not in kinds:
        raise ValueError(f"--dtype must be one of {', '.join(kinds)} for {output}, got {dtype!r}")
    return dtype if dtype or png or like is not None else "float32"


def name_gains(folder: Path | None, sources: Sequence[Path]) -> list[Path]:
    """Return where the gain map of each source goes; nowhere without a folder."""
    if folder is None:
        return []
    return [folder / f"gain_{i}_{strip_ending(p)}.tif" for i, p in enumerate(sources)]


def name_base_gains(paths: Sequence[Path], config: FusionConfig) -> list[Path]:
    """Return where the gains of the base go, beside those of the details; nowhere in one band."""
    if config.gains.band_sigma == 0:
        return []
    return [p.with_name(f"{strip_ending(p)}_base{p.suffix}") for p in paths]


def name_restored(folder: Path | None, sources: Sequence[Path], output: Path) -> list[Path]:
    """Return where each restored source goes; nowhere without a folder.

    They lie where the fused image lies, so that its format is theirs as well. A plain picture
    becomes a TIFF, which holds floats, and a bundle an OME-TIFF, which holds a single image.
    """
    if folder is None:
        return []
    ending = output.name[len(strip_ending(output)) :]
    if is_flat(output):
        ending = ".tif"
    elif is_bundle(output):
        ending = _STACKED
    return [folder / f"restored_{i}_{strip_ending(p)}{ending}" for i, p in enumerate(sources)]


def name_stacked(paths: Sequence[Path]) -> list[Path]:
    """Return files of the same names in a format that holds volumes and series."""
    return [path.with_name(strip_ending(path) + _STACKED) for path in paths]
