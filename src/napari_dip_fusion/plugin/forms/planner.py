"""The plan of a run, taken from the chosen sources and settings."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from napari import Viewer
from napari.layers import Image

from napari_dip_fusion.blocks.layout import Layout
from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.fusion.memory import estimate_memory
from napari_dip_fusion.fusion.timing import format_bytes
from napari_dip_fusion.plugin.forms.blocks_form import BlocksForm
from napari_dip_fusion.plugin.forms.settings import SettingsForm
from napari_dip_fusion.plugin.forms.source_list import SourceList
from napari_dip_fusion.plugin.layers.plane_reader import (
    PlaneReader,
    get_contrast_windows,
    make_plane_readers,
)
from napari_dip_fusion.plugin.layers.whole_reader import WholeReader, make_whole_readers
from napari_dip_fusion.plugin.running.block_choice import (
    BlockChoice,
    plan_blocks,
    suggest_output,
)
from napari_dip_fusion.plugin.running.plan import Plan, make_plan
from napari_dip_fusion.prior.devices import measure_free_memory
from napari_dip_fusion.sources import Source


class Planner:
    """Takes plans of a viewer, its source list and its settings.

    Parameters
    ----------
    viewer : napari.Viewer
    sources : SourceList
    settings : SettingsForm

    Attributes
    ----------
    blocks : BlocksForm
        Whether runs go block by block.
    """

    def __init__(self, viewer: Viewer, sources: SourceList, settings: SettingsForm) -> None:
        self.viewer = viewer
        self.sources = sources
        self.settings = settings
        self.blocks = BlocksForm()
        # What was last found too large or not: free memory changes all the time.
        self._asked: tuple[object, ...] = ()

    def take(self, *, at_once: bool = False) -> Plan:
        """Take sources and settings as they are now.

        Parameters
        ----------
        at_once : bool
            Whether whole images are meant that lie in memory, whatever is ticked.

        Raises
        ------
        ValueError
            If they cannot be fused; the message says what to do.
        """
        return self._take(self.blocks.take() if self.blocks.is_ticked() and not at_once else None)

    def suggest_blocks(self) -> None:
        """Go block by block, as long as nobody says otherwise, where images exceed the memory."""
        sources = self.sources.get_sources()
        try:
            # Whatever is wrong with a file that somebody has named is no reason to untick the box.
            plan = self._take(BlockChoice(suggest_output(sources)))
        # What cannot be fused so is no alternative.
        except ValueError:
            self.blocks.set_layers(sources, "")
            self._suggest((), False)
            return
        self.blocks.set_layers(sources, plan.place.where)
        asked = (plan.shape, plan.names, plan.config, plan.layer_ids)
        if asked != self._asked:
            self._suggest(asked, not fits_memory(plan) and _has_blocks(plan))

    def _suggest(self, asked: tuple[object, ...], wanted: bool) -> None:
        self._asked = asked
        self.blocks.suggest(wanted)

    def fits_at_once(self) -> bool:
        """Tell whether whole images fit into memory, as gain maps and metrics have them."""
        try:
            plan = self.take(at_once=True)
        # That nothing can be fused is said elsewhere.
        except ValueError:
            return True
        return fits_memory(replace(plan, config=FusionConfig(network="never")))

    def _take(self, blocks: BlockChoice | None) -> Plan:
        # The list has said already why nothing can be fused; its words are taken.
        report = self.sources.report
        if not report.ok:
            raise ValueError(report.message)
        layers = self.sources.get_sources()
        return make_plan(
            layers,
            self.sources.get_reference(),
            self.viewer.dims,
            self.settings.take_config(get_contrast_windows(layers)),
            level=self.sources.get_level(),
            interpolation=self.sources.get_interpolation(),
            preview_rate=float(self.settings.preview_rate.value),
            whole=self.sources.get_whole(),
            acquisitions=self.sources.get_acquisitions(),
            blocks=blocks,
        )

    def make_readers(
        self, layers: Iterable[Image], plan: Plan
    ) -> Sequence[PlaneReader | WholeReader]:
        """Return what reads each layer on the grid of a plan just taken.

        Parameters
        ----------
        layers : iterable of Image
            Any layers of the viewer.
        plan : Plan

        Raises
        ------
        ValueError
            If a layer has no plane here.
        """
        # The plan itself holds no reference layer, so that it can outlive layers.
        reference = self.sources.get_reference()
        if reference is None:
            raise ValueError(self.sources.report.message)
        if plan.whole:
            return make_whole_readers(
                list(layers), reference, level=plan.level, interpolation=plan.interpolation
            )
        return make_plane_readers(
            list(layers),
            reference,
            self.viewer.dims,
            level=plan.level,
            interpolation=plan.interpolation,
        )


def list_blocks(plan: Plan) -> Layout:
    """Return how the image of a plan will be cut into blocks.

    Raises
    ------
    ValueError
        If it cannot be fused block by block; the message says what to do.
    """
    assert plan.blocks is not None
    sources: list[Source] = [reader.source for reader in plan.readers]
    return plan_blocks(sources, plan.config, plan.blocks, **plan.grid)


def _has_blocks(plan: Plan) -> bool:
    try:
        list_blocks(plan)
    except ValueError:
        return False
    return True


def explain_blocks(plan: Plan) -> str:
    """Say why the run of a plan goes block by block, and what there is of it already."""
    lines = []
    if not fits_memory(plan):
        needed = format_bytes(_estimate(plan))
        lines.append(f"Whole, the images would need {needed}, more memory than is free.")
    if plan.blocks is not None and plan.blocks.resumes:
        lines.append("A run into this file was not finished: Resume goes on with it.")
    return "\n".join(lines)


def fits_memory(plan: Plan) -> bool:
    """Tell whether the images of a plan, and what is made of them, fit the free memory at once."""
    return _estimate(plan) <= measure_free_memory("cpu")


def _estimate(plan: Plan) -> int:
    return estimate_memory(plan.config, plan.shape, len(plan.readers), steps=plan.steps)
