"""The sources and settings as they are now, taken for a run of any kind."""

from collections.abc import Iterable
from dataclasses import dataclass

from napari import Viewer
from napari.layers import Image, Layer

from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.fusion.timing import Estimate, readable_bytes, readable_seconds
from napari_dip_fusion.plugin.forms.settings import SettingsForm
from napari_dip_fusion.plugin.forms.source_list import SourceList
from napari_dip_fusion.plugin.layers.reading import (
    Placement,
    PlaneReader,
    chosen_level,
    contrast_windows,
    fused_name,
    layer_paths,
    placement,
    plane_readers,
)
from napari_dip_fusion.plugin.running.export import Recipe
from napari_dip_fusion.plugin.running.fusion_session import Request
from napari_dip_fusion.prior.devices import available_memory, resolve_device, torch_is_imported
from napari_dip_fusion.prior.memory import estimate_memory


@dataclass(frozen=True, eq=False)
class Plan:
    """What a run needs of layers and forms; it stays valid when these change.

    Attributes
    ----------
    layers : tuple of Image
        The sources.
    reference : Image
        Whose grid the result takes.
    config : FusionConfig
    level : int
        Of the reference's pyramid.
    interpolation : str
        For sources on other grids.
    on_one_grid : bool
        Whether no source has to be resampled.
    readers : tuple of PlaneReader
        One for each source.
    place : Placement
        Where results go.
    preview_rate : float
        Largest number of preview images a second; 0 for none.
    """

    layers: tuple[Image, ...]
    reference: Image
    config: FusionConfig
    level: int
    interpolation: str
    on_one_grid: bool
    readers: tuple[PlaneReader, ...]
    place: Placement
    preview_rate: float

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the sources."""
        return tuple(layer.name for layer in self.layers)

    @property
    def shape(self) -> tuple[int, int]:
        """The size of the images to fuse, in pixels."""
        return self.readers[0].to_shape

    @property
    def paths(self) -> tuple[str | None, ...]:
        """The files of the sources."""
        return tuple(layer_paths(self.layers))

    def request(self) -> Request:
        """Return the plan as a session takes it."""
        return Request(
            layers=self.layers,
            names=self.names,
            paths=self.paths,
            readers=self.readers,
            place=self.place,
            config=self.config,
            fused_name=fused_name(self.layers),
            preview_rate=self.preview_rate,
        )


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
        layers, reference = tuple(self.sources.sources()), self.sources.reference()
        if not self.sources.report.ok or reference is None:
            raise ValueError(self.sources.report.message)
        config = self.settings.config(contrast_windows(layers))
        level = chosen_level(
            reference,
            self.viewer.dims,
            level=self.sources.level(),
            count=len(layers),
            config=config,
        )
        interpolation = self.sources.interpolation()
        readers = plane_readers(
            layers, reference, self.viewer.dims, level=level, interpolation=interpolation
        )
        return Plan(
            layers=layers,
            reference=reference,
            config=config,
            level=level,
            interpolation=interpolation,
            on_one_grid="resampled" not in self.sources.report.message,
            readers=tuple(readers),
            place=placement(reference, self.viewer.dims, level=level),
            preview_rate=float(self.settings.preview_rate.value),
        )

    def readers(self, layers: Iterable[Layer], plan: Plan) -> list[PlaneReader]:
        """Return what reads other image layers on the grid of a plan."""
        return plane_readers(
            [layer for layer in layers if isinstance(layer, Image)],
            plan.reference,
            self.viewer.dims,
            level=plan.level,
            interpolation=plan.interpolation,
        )

    def recipe(self, plan: Plan) -> Recipe:
        """Return what repeats a plan that was just taken."""
        flat = all(x.ndim == 2 for x in plan.layers)
        plain = flat and not any(x.multiscale for x in plan.layers)
        dims = self.viewer.dims
        return Recipe(
            names=plan.names,
            paths=plan.paths,
            config=plan.config,
            reference=plan.reference.name,
            interpolation=plan.interpolation,
            level=plan.level if plan.reference.multiscale else "auto",
            plain=plain and plan.on_one_grid,
            point=None if flat else tuple(float(x) for x in dims.point),
            order=None if flat else tuple(int(i) for i in dims.order),
        )


def need_line(plan: Plan, expected: Estimate | None) -> str:
    """Say what a fusion needs, and warn if there is less memory.

    Parameters
    ----------
    plan : Plan
    expected : Estimate or None
        None as long as the time is not known.
    """
    device = resolve_device(plan.config.compute.device) if torch_is_imported() else "cpu"
    needed = estimate_memory(plan.config, plan.shape, len(plan.readers))
    free = available_memory(device)
    time = "" if expected is None else f"{readable_seconds(expected.seconds)} at most, "
    # One line at the widget's least width, so that nothing moves when the time is known.
    line = f"About {time}{readable_bytes(needed)} of {readable_bytes(free)} on {device}"
    if needed <= free:
        return line
    return f"\N{WARNING SIGN} {line}: choose a smaller width, or smaller images"
