"""What is learned of a restored source from samples of it: its noise, and the network's weights."""

import math
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.blocks.samples import pick_richest, stack_alike
from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.fusion.control import Control
from napari_dip_fusion.fusion.decision import Decision
from napari_dip_fusion.fusion.events import StepDone
from napari_dip_fusion.fusion.sensed import (
    Learned,
    Part,
    make_identity,
    make_restorer,
    observe_part,
)
from napari_dip_fusion.restoration.noise import RestorationNoise
from napari_dip_fusion.sensor.analysis import SourceNoise, clean_pixels
from napari_dip_fusion.sensor.noise import Clipping
from napari_dip_fusion.sources.observation import Observation
from napari_dip_fusion.sources.own_pixels import OwnPixels
from napari_dip_fusion.sources.prepared import PreparedSources

__all__ = ["Learner"]

Floats = NDArray[np.float32]

# A network learns from so many samples: about a million pixels of planes, and as many of a volume.
_MOST_PLANES = 16

# Samples of planes are stacked. So far apart, in pixels, they are no neighbors for any filter.
_APART = 100.0


@dataclass
class Learner:
    """The restored sources of a run, of which samples are at hand.

    Attributes
    ----------
    samples : sequence of PreparedSources
    noise : sequence of SourceNoise
    decision : Decision
    config : FusionConfig
    pixels : int
        Of the whole image.
    """

    samples: Sequence[PreparedSources]
    noise: Sequence[SourceNoise]
    decision: Decision
    config: FusionConfig
    pixels: int

    def __post_init__(self) -> None:
        self.learned: dict[int, Learned] = {}
        self.notes: list[dict[str, Any]] = []
        self.losses: list[float] = []

    def learn(self, control: Control, begun: float) -> Iterator[StepDone]:
        """Learn of one source after the other, and yield the iterations of their networks.

        Parameters
        ----------
        control : Control
            Stopped, the networks end as they are.
        begun : float
            When the run began, by :func:`time.perf_counter`, for the time budget.
        """
        networked = self.decision.networked
        total = max(self.config.fit.count_restoring(len(networked)), len(networked))
        for number, line in zip(self.decision.restored, self.decision.lines, strict=True):
            if number not in (*self.decision.degraded, *networked):
                # What is known of its noise is all that its removal needs.
                self.notes.append(self._describe(number, line, None))
                continue
            with control.watch_discarding():
                part = self._gather(number)
            share = 0
            if number in networked:
                share = max((total - networked.index(number) - 1) // len(networked) + 1, 1)
            self.learned[number] = yield from self._learn(
                number, part, share, total, control, begun
            )
            self.notes.append(self._describe(number, line, part))

    def _learn(
        self, number: int, part: Part, share: int, total: int, control: Control, begun: float
    ) -> Generator[StepDone, None, Learned]:
        """Return what is learned of a source, after so many iterations of its network."""
        whole = self._count_fine_pixels(part)
        if share == 0:
            noise = replace(part.noise, level=part.noise.measure(part.pixels))
            return Learned(noise, part.deviation, whole)
        restorer = make_restorer(part, number, self.config)
        computing = 0.0
        for step in restorer.run(share, finish=False):
            self.losses.append(step.excess)
            computing += step.seconds
            rate = step.iteration / computing
            yield StepDone(len(self.losses), total, step.excess, 0.0, rate)
            if control.paused:
                control.wait_while_paused()
            control.raise_if_discarded()
            if control.stopped or self._is_over(begun, step.seconds):
                break
        return Learned(restorer.noise, part.deviation, whole, restorer.save())

    def _is_over(self, begun: float, seconds: float) -> bool:
        budget = self.config.fit.time_budget
        return bool(budget) and time.perf_counter() - begun + seconds > budget

    def _count_fine_pixels(self, part: Part) -> int:
        """Return how many fine pixels the whole source has, of which the part shows samples."""
        seen = math.prod(self.samples[0].shape)
        count = len(part.pixels) if part.step == _APART else 1
        return round(math.prod(part.degradation.fine_shape) / count * self.pixels / seen)

    def _gather(self, number: int) -> Part:
        """Return the samples of a source that show most, as one part."""
        planes = len(self.samples[0].shape) == 2
        showing = [sample for sample in self.samples if self._find_pixels(sample, number)]
        few = pick_richest(
            [sample.images[number] for sample in showing], _MOST_PLANES if planes else 1
        )
        chosen = [showing[n] for n in few]
        if number in self.decision.degraded:
            return self._observe(number, [_take_observation(s, number) for s in chosen], planes)
        return self._clean(number, chosen, planes)

    def _find_pixels(self, sample: PreparedSources, number: int) -> bool:
        """Tell whether a sample shows anything of a source."""
        if number in self.decision.degraded:
            return bool(sample.observations) and sample.observations[number] is not None
        return bool(sample.images[number].any())

    def _observe(self, number: int, seen: list[Observation], planes: bool) -> Part:
        """Return samples of a degraded source, as one part."""
        one = seen[0]
        noise = self.noise[number]
        if planes and len(seen) > 1:
            masks = [np.ones(o.pixels.shape, bool) if o.seen is None else o.seen for o in seen]
            mask = stack_alike(masks)
            pixels: Floats = stack_alike([o.pixels for o in seen])
            one = replace(
                one,
                pixels=pixels,
                factors=(1, *one.factors),
                sigmas=(0.0, *one.sigmas),
                kernel=None if one.kernel is None else one.kernel[None],
                seen=None if mask.all() else mask,
                step=_APART,
            )
        fine = math.prod(one.fine_shape) / (len(one.pixels) if one.step == _APART else 1)
        whole = round(fine * self.pixels / math.prod(self.samples[0].shape))
        # Nothing is placed: the network learns on the source's own pixels.
        fallback = np.zeros(one.shape, dtype=np.float32)
        return observe_part(one, noise, fallback, whole=whole)

    def _clean(self, number: int, chosen: list[PreparedSources], planes: bool) -> Part:
        """Return samples of a source that lost nothing but what noise hides, as one part."""
        noise = self.noise[number]
        clipping = noise.clipping or Clipping()
        pixels, clean, deviations = [], [], []
        for sample in chosen:
            own = sample.own_pixels[number] if sample.own_pixels else None
            step = sample.steps[0] if not planes else 1.0
            image, share = sample.images[number], 1.0
            if isinstance(own, OwnPixels):
                image, share = own.plane, float(np.sqrt(np.mean(own.variance_share)))
            weaker = replace(noise, white=noise.white * share, speckle=noise.speckle * share)
            found = clean_pixels(image, weaker, step)
            pixels.append(image)
            clean.append(found.denoised)
            deviations.append(found.deviation)
        stacked = planes and len(pixels) > 1
        image = stack_alike(pixels) if stacked else pixels[0]
        return Part(
            pixels=image,
            degradation=make_identity(image.shape),
            noise=RestorationNoise(weaker.white, weaker.speckle, clipping.dark, clipping.bright),
            deviation=float(np.sqrt(np.mean(np.square(deviations)))),
            place=lambda fine: fine,
            pilot=stack_alike(clean) if stacked else clean[0],
            step=_APART if stacked else step,
        )

    def _describe(self, number: int, line: str, part: Part | None) -> dict[str, Any]:
        """Return what a run record says of a restored source."""
        networked = number in self.decision.networked
        note: dict[str, Any] = {
            "source": number,
            "what": line,
            "prior": "network" if networked else "denoiser",
        }
        if part is None or part.degradation.is_identity:
            return note
        kept = slice(1, None) if part.step == _APART else slice(None)
        degradation = part.degradation
        kernel = degradation.kernel
        return {
            **note,
            "factors": list(degradation.factors[kept]),
            "blur": [round(float(sigma), 6) for sigma in degradation.sigmas[kept]],
            "kernel": None if kernel is None else list(kernel.shape[kept]),
        }


def _take_observation(sample: PreparedSources, number: int) -> Observation:
    found = sample.observations[number]
    assert isinstance(found, Observation), "a sample is one frame"
    return found
