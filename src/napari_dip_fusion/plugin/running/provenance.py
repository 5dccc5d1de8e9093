"""Which files hold what a run reads of layers, proved by reading them again.

A layer says where it came from, but not whether it is still what came from there: an edit in
place makes no event, and most edits come before anybody listens. What is fused block by block is
too large to be read once more, so that samples of it are compared.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from napari_dip_fusion.io.silence import silence_warnings
from napari_dip_fusion.plugin.layers.whole_reader import WholeReader
from napari_dip_fusion.plugin.running.origin_files import Opening, OriginFiles
from napari_dip_fusion.plugin.running.plan import Plan
from napari_dip_fusion.plugin.running.reopening import Reader
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.grid import resample_to_reference


@dataclass(frozen=True)
class Provenance:
    """What is proved of the files of a run's sources.

    Attributes
    ----------
    openings : tuple of Opening or None
        For each source the file that holds it as it was fused; None where none does.
    choice : mapping or None
        The options with which the command reads from these files, bit for bit, what was fused:
        channel, plane, level, reference and interpolation. None if there are none.
    output : str
        A name for the file that the command writes, in a format that holds its place.
    reason : str
        Why there is no choice, and what to do.
    masks : tuple of Opening or None
        For each source the file that holds its mask; None where none does, or there is no mask.
    """

    openings: tuple[Opening | None, ...]
    choice: Mapping[str, Any] | None = None
    output: str = "fused.tif"
    reason: str = ""
    masks: tuple[Opening | None, ...] = ()

    @property
    def notes(self) -> dict[str, Any]:
        """The entries of a run record by which the command can replay it."""
        return {} if self.choice is None else {"choice": dict(self.choice)}


def read_sources(plan: Plan) -> tuple[list[Source], Provenance]:
    """Read the planes of a plan, and find out which files hold them; for a worker thread.

    Returns
    -------
    planes : list of Source
        Each with the path of its file only if that is proved. Of whole stacks, the layers as
        they are, each on its own grid and not read yet.
    provenance : Provenance
    """
    planes = [_take(reader) for reader in plan.readers]
    provenance = _trace(plan, planes)
    return [
        plane.replace(path=None if opening is None else opening.path)
        for plane, opening in zip(planes, provenance.openings, strict=True)
    ], provenance


def read_on_grid(plan: Plan) -> list[Source]:
    """Read the planes of a plan, or whole stacks, on the grid of the reference."""
    return put_on_grid(plan, [_take(reader) for reader in plan.readers])


def put_on_grid(plan: Plan, sources: list[Source]) -> list[Source]:
    """Return sources from :func:`read_sources` on one grid, on which planes are already."""
    if not plan.whole:
        return sources
    reference = plan.names.index(plan.reference)
    grid = resample_to_reference(sources, reference=reference, interpolation=plan.interpolation)
    return grid.images


def _take(reader: Reader) -> Source:
    """Return what a run is given: a plane on the grid of the reference, or a layer as it is."""
    return reader.source if isinstance(reader, WholeReader) else reader.read()


def find_provenance(plan: Plan) -> Provenance:
    """Return what :func:`read_sources` does, without the planes.

    Where no layer came from a file, nothing is read.
    """
    return read_sources(plan)[1] if any(plan.origins) else _trace(plan, [])


def _trace(plan: Plan, planes: Sequence[Source]) -> Provenance:
    openings: list[Opening | None] = [None] * len(plan.origins)
    files = OriginFiles(sampled=plan.blocks is not None)
    # Whatever was said of these files was said when they were opened.
    with silence_warnings():
        for i, (origin, plane) in enumerate(zip(plan.origins, planes, strict=False)):
            if origin is not None:
                openings[i] = files.find_opening(origin, plan.readers[i], plane)
        masks = [None if mask is None else files.find_mask(mask) for mask in plan.masks]
        found = Provenance(tuple(openings), masks=tuple(masks))
        missing = [n for n, x in zip(plan.names, openings, strict=True) if x is None]
        pairs = zip(plan.masks, masks, strict=True)
        missing += [f"the mask {mask.name}" for mask, opening in pairs if mask and not opening]
        if missing:
            return replace(
                found,
                reason=f"no file holds {', '.join(missing)} as fused, so no command can repeat "
                "this; save the layers and open them again, or copy the script",
            )
        try:
            choice, output = files.find_choice(plan, planes)
        # Of files that the command cannot read, or not so that they fit together.
        except Exception as error:
            return replace(
                found, reason=f"the command cannot read this ({error}); copy the script instead"
            )
    return replace(found, choice=choice, output=output)
