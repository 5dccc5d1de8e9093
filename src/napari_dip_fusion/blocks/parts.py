"""A part of an image is fused by what is known of the whole."""

from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.blocks.cutting import Cut
from napari_dip_fusion.blocks.statistics import Statistics
from napari_dip_fusion.config import FusionConfig, Window
from napari_dip_fusion.fusion.control import Control
from napari_dip_fusion.fusion.restoring import Restoring
from napari_dip_fusion.sensor.analysis import Analysis
from napari_dip_fusion.sources.prepare import prepare_sources
from napari_dip_fusion.sources.prepared import PreparedSources

__all__ = ["analyze_part", "fuse_part", "prepare_part"]

Floats = NDArray[np.float32]
Slices = tuple[slice, ...]
T = TypeVar("T")


def prepare_part(
    cut: Cut, windows: Sequence[Window], config: FusionConfig, names: Sequence[str] | None = None
) -> PreparedSources:
    """Return a part of sources in [0, 1].

    Parameters
    ----------
    cut : Cut
    windows : sequence of (low, high)
        Of the whole sources.
    config : FusionConfig
    names : sequence of str, optional
        Of the sources, for people.
    """
    # Of a volume that is fused plane by plane, single planes are not restored.
    restore = "never" if config.gains.volumes == "planes" else config.restoration.restore
    return prepare_sources(
        cut.grid, intensity=tuple(windows), restore=restore, names=names, parts=True
    )


def fuse_part(
    prepared: PreparedSources, statistics: Statistics, config: FusionConfig, inside: Slices
) -> Floats:
    """Return the fused image of a block of sources.

    Parameters
    ----------
    prepared : PreparedSources
        From :func:`prepare_part`, with the halo of the block.
    statistics : Statistics
        Of the whole sources.
    config : FusionConfig
    inside : tuple of slice
        Where the block lies in it.

    Returns
    -------
    ndarray of shape (..., M, N) or (..., M, N, 3), float32 in [0, 1]
        The block, in colors where a source has them.
    """
    chroma = prepared.chroma
    block = replace(prepared, chroma=None if chroma is None else chroma[:, *inside])
    return np.asarray(block.add_color(_fuse_gray(prepared, statistics, config, inside)))


def _fuse_gray(
    prepared: PreparedSources, statistics: Statistics, config: FusionConfig, inside: Slices
) -> Floats:
    """Return the fused image of a block of sources, without their colors."""
    if statistics.fit is None:
        return _find_consensus(prepared, statistics, config, inside).clip(0, 1)
    analysis = analyze_part(prepared, statistics, config)
    # torch takes a second or more to import: runs without a network do without.
    from napari_dip_fusion.prior.applied import Applied

    guides = analysis.guides
    image = Applied(statistics.fit, config, len(guides)).apply(guides)
    if config.denoising.give_back and statistics.gives_back:
        image = analysis.restore_structure(image)
    return image[inside]


def analyze_part(
    prepared: PreparedSources, statistics: Statistics, config: FusionConfig
) -> Analysis:
    """Return the analysis of a part of sources, restored as far as they are, for a network.

    Parameters
    ----------
    prepared, statistics, config
        As for :func:`fuse_part`.
    """
    restoring = _make_restoring(prepared, statistics, config)
    if not statistics.decision.restored:
        return drain(restoring.begin())
    _restore(restoring, statistics)
    # The network sees sources without noise, whether networks have restored them or not.
    return drain(restoring.finish())


def _find_consensus(
    prepared: PreparedSources, statistics: Statistics, config: FusionConfig, inside: Slices
) -> Floats:
    """Return the consensus of a block of sources, restored as far as they are."""
    restoring = _make_restoring(prepared, statistics, config)
    if statistics.networks or not any(statistics.noise):
        _restore(restoring, statistics)
        # Without noise, gains are not estimated of the halo, which is read for their sake.
        return drain(restoring.finish(keep_model=False, wanted=inside)).consensus
    return drain(restoring.begin(keep_model=False)).consensus[inside]


def _restore(restoring: Restoring, statistics: Statistics) -> None:
    """Restore sources by all that was learned of them."""
    drain(restoring.clean())
    if statistics.networks:
        restoring.apply_learned()


def _make_restoring(
    prepared: PreparedSources, statistics: Statistics, config: FusionConfig
) -> Restoring:
    return Restoring(
        prepared,
        statistics.decision,
        config,
        statistics.noise,
        Control(),
        learned=statistics.learned,
    )


def drain(steps: Generator[object, None, T]) -> T:
    """Return what a generator returns, whatever it yields on its way."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            value: T = end.value
            return value
