"""What is fused block by block, and how: checked, and described so that a run can be taken up."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from napari_dip_fusion.blocks.cutting import Cutter, find_anywhere
from napari_dip_fusion.blocks.halo import list_patches, measure_halo
from napari_dip_fusion.blocks.layout import Layout, choose_layout
from napari_dip_fusion.blocks.samples import choose_samples
from napari_dip_fusion.blocks.statistics import Statistics
from napari_dip_fusion.blocks.survey import Survey
from napari_dip_fusion.config import CONSENSUS, DIP, FusionConfig
from napari_dip_fusion.fusion.decision import Decision, fits_network
from napari_dip_fusion.fusion.frames import count_frame_axes
from napari_dip_fusion.fusion.preparation import MIN_SIZE
from napari_dip_fusion.record import array_sha256
from napari_dip_fusion.sensor.threads import count_cores
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.matching import list_extended
from napari_dip_fusion.sources.resample import NO_OVERLAP, NOTHING_SEEN
from napari_dip_fusion.sources.source import make_source
from napari_dip_fusion.sources.steps import measure_steps

__all__ = ["Plan"]

# More blocks at once would wait for memory, and take as much of it.
_SIDE_BY_SIDE = 4


@dataclass(frozen=True, eq=False)
class Plan:
    """Sources that are fused block by block, and the settings.

    Attributes
    ----------
    cutter : Cutter
    config : FusionConfig
    block : int, sequence of int or None
        As for :func:`.iter_fuse_blocks`.
    names : tuple of str
        Of the sources.
    paths : tuple of str or None
        Files of the sources.
    """

    cutter: Cutter
    config: FusionConfig
    block: Sequence[int] | int | None
    names: tuple[str, ...]
    paths: tuple[str | None, ...]

    @classmethod
    def make(
        cls,
        sources: Sequence[ArrayLike | Source],
        config: FusionConfig,
        *,
        block: Sequence[int] | int | None = None,
        reference: int | None = None,
        plane: int | str | None = None,
        interpolation: str = "linear",
        names: Sequence[str] | None = None,
        paths: Sequence[str | None] | None = None,
    ) -> "Plan":
        """Return a plan; the arguments are those of :func:`.iter_fuse_blocks`.

        Raises
        ------
        ValueError
            If sources or settings cannot be used.
        """
        given = [find_anywhere(s if isinstance(s, Source) else make_source(s)) for s in sources]
        if len(given) < 2:
            raise ValueError(f"a fusion needs two or more sources, got {len(given)}")
        _check_settings(config)
        cutter = Cutter.take(given, reference=reference, plane=plane, interpolation=interpolation)
        rows, columns = [cutter.place.shape[n] for n in _find_frame(cutter.place, config)[-2:]]
        if min(rows, columns) < MIN_SIZE:
            raise ValueError(
                f"images must be at least {MIN_SIZE}x{MIN_SIZE} pixels, got {rows}x{columns}"
            )
        found = [source.name or f"source {n}" for n, source in enumerate(given)]
        files = [None if source.path is None else str(source.path) for source in given]
        plan = cls(
            cutter,
            config,
            block,
            tuple(found if names is None else names),
            tuple(files if paths is None else paths),
        )
        if not len(plan.names) == len(plan.paths) == len(given):
            raise ValueError(
                f"names and paths must have one entry for each of the {len(given)} sources, got "
                f"{len(plan.names)} names and {len(plan.paths)} paths"
            )
        _check_seen(cutter, plan.names)
        # Whatever is found of the sources, blocks have to hold the halo of the closed form.
        plan.choose_layout(None)
        return plan

    @property
    def axes(self) -> list[str]:
        """Names of the axes along which what is fused has more than one pixel."""
        return list_extended(self.cutter.place)

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of these axes."""
        place = self.cutter.place
        return tuple(place.shape[place.axes.index(axis)] for axis in self.axes)

    @property
    def frame(self) -> list[int]:
        """Numbers of the reference's axes of what is fused at once."""
        return _find_frame(self.cutter.place, self.config)

    @property
    def steps(self) -> tuple[float, ...]:
        """Distance between neighbors along each of them, in pixels of a plane."""
        return measure_steps(self.cutter.place, len(self.axes))[1][-len(self.frame) :]

    @property
    def side_by_side(self) -> int:
        """How many blocks one process makes at once: volumes keep its cores busy with one."""
        return 1 if len(self.frame) > 2 else min(count_cores(), _SIDE_BY_SIDE)

    def choose_layout(self, statistics: Statistics | None) -> Layout:
        """Return how the reference is cut into blocks.

        Parameters
        ----------
        statistics : Statistics or None
            What is known of the sources, on which the halo depends; None for nothing yet.
        """
        decision, factor = Decision(), 1
        if statistics is not None:
            decision = statistics.decision
            factors = [note.get("factors", [1]) for note in statistics.restoration]
            factor = max((max(each) for each in factors), default=1)
        return choose_layout(
            self.cutter.place.shape,
            self.frame,
            measure_halo(self.config, self.steps, decision, ends=self.cutter.ends, factor=factor),
            self.block,
            list_patches(self.config, self.steps),
            unit=2**self.config.network.depth if decision.fits else 1,
        )

    @cached_property
    def survey(self) -> Survey:
        """What is looked at before any block."""
        layout = self.choose_layout(None)
        bare = Layout(layout.shape, layout.block, (0,) * len(layout.shape))
        samples = choose_samples(layout.shape, self.frame)
        return Survey(self.cutter, bare, samples, self.config, self.names)

    def describe(self) -> dict[str, Any]:
        """Return what a run that is taken up must have in common, of values of JSON."""
        settings = self.config.to_dict()
        # Where it computes does not change what comes out, as far as anybody can see.
        settings.pop("compute", None)
        return {
            "settings": settings,
            "interpolation": self.cutter.interpolation,
            "reference": self.cutter.reference,
            "block": list(self.choose_layout(None).block),
            "sources": [
                {
                    "shape": list(source.shape),
                    "dtype": str(source.dtype),
                    "affine": source.affine.round(9).tolist(),
                    "units": list(source.units),
                    "fwhm": list(source.widths),
                    "masked": source.mask is not None,
                    "rgb": source.rgb,
                    "psf": None if source.psf is None else array_sha256(source.psf.to_numpy()),
                }
                for source in self.cutter.sources
            ],
        }


def _find_frame(place: Source, config: FusionConfig) -> list[int]:
    """Return the numbers of the axes of a place that are fused at once."""
    extended = list_extended(place)
    steps = measure_steps(place, len(extended))[1]
    return [place.axes.index(axis) for axis in extended[count_frame_axes(steps, config) :]]


def _check_seen(cutter: Cutter, names: Sequence[str]) -> None:
    """Refuse sources that see nothing of the reference: they would be black in all blocks."""
    for source, coverage, name in zip(cutter.sources, cutter.coverage, names, strict=True):
        if coverage.pixels == 0:
            raise ValueError(f"{name}: {NO_OVERLAP}")
        if source.mask is not None and not np.asarray(source.mask).any():
            raise ValueError(f"{name}: {NOTHING_SEEN}")


def _check_settings(config: FusionConfig) -> None:
    """Refuse settings by which blocks would not be those of the whole image."""
    if config.method not in (DIP, CONSENSUS):
        raise ValueError(
            f"the methods dip and consensus fuse block by block, got {config.method}; choose one "
            "of them, or fuse images that fit into memory"
        )
    may_fit = fits_network(config, noisy=config.denoising.noise != "none")
    if may_fit and config.network.net_input == "random":
        raise ValueError(
            "block by block, a network is fitted to samples, so that it has to see the sources: "
            "use net_input sources in place of random, or network never"
        )
