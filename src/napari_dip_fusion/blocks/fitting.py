"""The network of the paper is fitted to samples of a fused image, and applied to its blocks."""

from collections.abc import Generator, Sequence

import numpy as np

from napari_dip_fusion.blocks.parts import analyze_part
from napari_dip_fusion.blocks.samples import pick_richest
from napari_dip_fusion.blocks.statistics import Statistics
from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.fusion.control import Control
from napari_dip_fusion.fusion.events import Event
from napari_dip_fusion.fusion.iterations import Track, optimize
from napari_dip_fusion.fusion.result import RunState, Scoring
from napari_dip_fusion.sensor.analysis import Analysis
from napari_dip_fusion.sensor.model import SensorModel
from napari_dip_fusion.sources.prepared import PreparedSources

__all__ = ["fit_samples"]

# The network sees so many samples of planes, about a million pixels, or one of a volume.
_MOST_PLANES = 16


def fit_samples(
    samples: Sequence[PreparedSources],
    statistics: Statistics,
    config: FusionConfig,
    control: Control,
    begun: float,
) -> Generator[Event, None, Statistics]:
    """Return statistics with a network that is fitted to samples, and yield its iterations.

    Parameters
    ----------
    samples : sequence of PreparedSources
    statistics : Statistics
        What is known of the sources.
    config : FusionConfig
    control : Control
    begun : float
        When the run began, by :func:`time.perf_counter`, for the time budget.
    """
    # torch takes a second or more to import: runs without a network do without.
    from napari_dip_fusion.prior.crops import CropFit, SampleFit

    planes = len(samples[0].shape) == 2
    richest = pick_richest([s.images for s in samples], _MOST_PLANES if planes else 1)
    with control.watch_discarding():
        found = [analyze_part(samples[n], statistics, config) for n in richest]
    analysis = _stack(found) if planes else found[0]
    fit = (SampleFit if planes else CropFit)(
        analysis.target, analysis.weight, analysis.guides, config
    )
    run = RunState(config, samples[richest[0]], analysis, fit, Scoring((), {}), False)
    track = Track([])
    yield from optimize(run, config.fit.fitting_iterations, begun, control, 0.0, track)
    losses = (*statistics.losses, *track.losses)
    return statistics.with_fit(fit.save(), losses, analysis.floor)


def _stack(found: Sequence[Analysis]) -> Analysis:
    """Return the analyses of some planes as one, of all that a fit needs."""
    gains = np.stack([one.gains for one in found], axis=1)
    return Analysis(
        noise=found[0].noise,
        variances=(),
        denoised=np.stack([one.denoised for one in found], axis=1),
        model=SensorModel(gains),
        target=np.stack([one.target for one in found]),
        consensus=np.stack([one.consensus for one in found]),
        floor=float(np.mean([one.floor for one in found])),
    )
