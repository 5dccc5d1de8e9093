"""The plan of a run, taken from the chosen sources and settings."""

from collections.abc import Iterable, Sequence

from napari import Viewer
from napari.layers import Image

from napari_dip_fusion.plugin.forms.settings import SettingsForm
from napari_dip_fusion.plugin.forms.source_list import SourceList
from napari_dip_fusion.plugin.layers.plane_reader import (
    PlaneReader,
    get_contrast_windows,
    make_plane_readers,
)
from napari_dip_fusion.plugin.layers.whole_reader import WholeReader, make_whole_readers
from napari_dip_fusion.plugin.running.plan import Plan, make_plan


class Planner:
    """Takes plans of a viewer, its source list and its settings.

    Parameters
    ----------
    viewer : napari.Viewer
    sources : SourceList
    settings : SettingsForm
    """

    def __init__(self, viewer: Viewer, sources: SourceList, settings: SettingsForm) -> None:
        self.viewer = viewer
        self.sources = sources
        self.settings = settings

    def take(self) -> Plan:
        """Take sources and settings as they are now.

        Raises
        ------
        ValueError
            If they cannot be fused; the message says what to do.
        """
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
