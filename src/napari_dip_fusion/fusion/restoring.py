"""Sources as they were before their sensors: their restoration by a denoiser, then by networks."""

import copy
import math
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.fusion.control import Control
from napari_dip_fusion.fusion.decision import Decision
from napari_dip_fusion.fusion.events import Event, PlanesDone, Preview, StepDone
from napari_dip_fusion.fusion.frames import analyze_frame
from napari_dip_fusion.fusion.iterations import Track
from napari_dip_fusion.fusion.observing import observe
from napari_dip_fusion.fusion.sensed import (
    Learned,
    Part,
    make_identity,
    make_own_part,
    make_restorer,
    observe_part,
)
from napari_dip_fusion.interruption import stage
from napari_dip_fusion.restoration.noise import RestorationNoise
from napari_dip_fusion.sensor.analysis import Analysis, SourceNoise, clean_sources
from napari_dip_fusion.sources.observation import Observation, take_observation
from napari_dip_fusion.sources.own_pixels import OwnPixels
from napari_dip_fusion.sources.prepared import PreparedSources, take_own

if TYPE_CHECKING:
    from napari_dip_fusion.restoration.restorer import Restorer

Floats = NDArray[np.float32]

# Pixels of a frame up to which the fused image is shown while sources are restored: for larger
# ones, to fuse them once more takes longer than a look at it is worth.
_SHOWN = 2**22


@dataclass(eq=False)
class Restoring:
    """The restoration of the sources of a frame: by a denoiser at once, and then by networks.

    Attributes
    ----------
    frame : PreparedSources
        Of a plane, a volume, or one frame of a series.
    decision : Decision
    config : FusionConfig
    noise : tuple of K SourceNoise
        That of the sources.
    control : Control
    restorers : dict of int to Restorer
        Networks of an earlier frame, by the index of their source, which go on with this one.
    learned : dict of int to Learned
        What was learned of restored sources from samples, where the frame is a part of a larger
        one, by the index of the source.
    """

    frame: PreparedSources
    decision: Decision
    config: FusionConfig
    noise: tuple[SourceNoise, ...]
    control: Control
    restorers: "dict[int, Restorer]" = field(default_factory=dict)
    learned: Mapping[int, Learned] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._parts: dict[int, Part] = {}
        self._images = self.frame.images
        self._deviations: tuple[float, ...] = ()
        self._clipped: tuple[bool, ...] = ()
        # The sources whose networks have begun with this frame.
        self._at_work: set[int] = set()

    def begin(self, *, keep_model: bool = True) -> Generator[PlanesDone, None, Analysis]:
        """Restore the sources without a network, and return their analysis.

        Parameters
        ----------
        keep_model : bool
            As for :func:`.analyze_frame`.
        """
        frame, noise = yield from self._restore_degraded()
        analysis = yield from analyze_frame(
            frame, self.config, noise, self.control.watch, keep_model=keep_model
        )
        if not self.decision.restored:
            return analysis
        self._keep(analysis.denoised, analysis.noise, analysis.clipped)
        return self._complete(analysis)

    def clean(self) -> Generator[PlanesDone, None, None]:
        """Restore the sources without a network, where no image is made of them yet."""
        frame, noise = yield from self._restore_degraded()
        own_pixels = [take_own(own, ()) for own in frame.own_pixels]
        step = frame.steps[0] if len(frame.steps) > 2 else 1.0
        denoised, cleaned = clean_sources(frame.images, noise, own_pixels, step=step)
        self._keep(denoised, [c.deviation for c in cleaned], tuple(c.clipped for c in cleaned))

    def _restore_degraded(
        self,
    ) -> Generator[PlanesDone, None, tuple[PreparedSources, list[SourceNoise]]]:
        """Return the frame with its degraded sources restored, and the noise that is left in it."""
        noise, own_pixels = list(self.noise), list(self.frame.own_pixels)
        if self.decision.degraded:
            images = self._images.copy()
            planes = self.frame.plane_count
            yield from observe(lambda: self._restore(images), self.control.watch, planes)
            self._images = images
            for number in self._parts:
                noise[number] = SourceNoise()
                if own_pixels:
                    own_pixels[number] = None
        return replace(self.frame, images=self._images, own_pixels=tuple(own_pixels)), noise

    def _keep(self, images: Floats, deviations: Sequence[float], clipped: tuple[bool, ...]) -> None:
        """Keep the sources without their noise, and what was found of it."""
        self._images = images
        found = list(deviations)
        for number, part in self._parts.items():
            found[number] = part.deviation
        self._deviations, self._clipped = tuple(found), clipped

    def _complete(self, analysis: Analysis) -> Analysis:
        """Return an analysis with what was found before, and with the images that it is made of."""
        return replace(analysis, noise=self._deviations, restored=self._images)

    def _restore(self, images: Floats) -> None:
        """Restore the degraded sources by the denoiser, in place."""
        for number in self.decision.degraded:
            observation = self._find_observation(number)
            if observation is None:
                continue
            planes = math.prod(observation.pixels.shape[:-2])
            with stage(f"restoration of source {number + 1}", planes):
                noise, known = self.noise[number], self.learned.get(number)
                part = observe_part(observation, noise, images[number].copy(), known)
            self._parts[number] = part
            images[number] = part.place(part.pilot)

    def _find_observation(self, number: int) -> Observation | None:
        """Return what a degraded source saw; None where it saw nothing of this part of it."""
        observations = self.frame.observations
        found = take_observation(observations[number], ()) if observations else None
        assert found is not None or self.learned, "only of a part nothing may be seen"
        return found

    def _find_part(self, number: int) -> Part:
        """Return a source on its own pixels, with what the denoiser made of it."""
        if number not in self._parts:
            own = self.frame.own_pixels[number] if self.frame.own_pixels else None
            noise, image = self.noise[number], self.frame.images[number]
            known = self.learned.get(number)
            if isinstance(own, OwnPixels):
                self._parts[number] = make_own_part(own, noise, image, known)
            else:
                # The analysis has removed its noise.
                kind = RestorationNoise(noise.white, noise.speckle, self._clipped[number])
                self._parts[number] = Part(
                    pixels=image,
                    degradation=make_identity(image.shape),
                    noise=known.noise if known else kind,
                    deviation=self._deviations[number],
                    place=lambda fine: fine,
                    pilot=self._images[number].copy(),
                    step=self.frame.steps[0] if image.ndim > 2 else 1.0,
                )
        return self._parts[number]

    def apply_learned(self) -> None:
        """Restore the sources by the networks that were learned, without training them."""
        for number in self.decision.networked:
            if number in self.decision.degraded and number not in self._parts:
                continue
            part = self._find_part(number)
            self._images[number] = part.place(self._make_restorer(number, part).restore())
            # Nothing goes on with it, and the next one takes as much memory.
            self._at_work.remove(number)
            del self.restorers[number], self._parts[number]

    def improve(
        self,
        iterations: int,
        begun: float,
        preview_rate: float,
        track: Track,
        look_at: tuple[int, ...] | None = None,
    ) -> Generator[Event, None, str]:
        """Restore the sources by networks; return what ended them.

        Parameters
        ----------
        iterations : int
            Of all networks together.
        begun : float
            When the run began, by :func:`time.perf_counter`.
        preview_rate : float
            0 for no previews.
        track : Track
            Iterations are numbered after those that it has, and added to it.
        look_at : tuple of int, optional
            Index of the frame, which previews name.
        """
        numbers = self.decision.networked
        total = len(track.losses) + max(iterations, len(numbers))
        for place, number in enumerate(numbers):
            # What division leaves over goes to the first ones.
            share = max((iterations - place - 1) // len(numbers) + 1, 1)
            part = self._find_part(number)
            restorer = self._make_restorer(number, part)
            reason = ""
            for step in restorer.run(share):
                track.losses.append(step.excess)
                track.computing += step.seconds
                track.made += 1
                rate = track.made / track.computing
                yield StepDone(len(track.losses), total, step.excess, 0.0, rate)
                is_shown = preview_rate > 0 and self._images[0].size <= _SHOWN
                # What the last iteration gives is the result.
                if is_shown and restorer.is_new and len(track.losses) < total:
                    yield (yield from self._show(number, len(track.losses), look_at))
                if self.control.paused:
                    self.control.wait_while_paused()
                self.control.raise_if_discarded()
                reason = self._find_reason(begun, step.seconds)
                if reason:
                    break
            yield from self._take(number)
            if reason:
                return reason
        return "iterations"

    def _find_reason(self, begun: float, seconds: float) -> str:
        """Return why the networks end now, empty where they do not."""
        if self.control.stopped:
            return "stopped"
        budget = self.config.fit.time_budget
        over = budget and time.perf_counter() - begun + seconds > budget
        return "time" if over else ""

    def _make_restorer(self, number: int, part: Part) -> "Restorer":
        """Return the network of a source: its own, that of the frame before, or a new one."""
        if number in self._at_work:
            return self.restorers[number]
        self._at_work.add(number)
        if number in self.restorers:
            restorer = self.restorers[number]
            restorer.move_to(part.pixels, part.pilot)
            return restorer
        restorer = make_restorer(part, number, self.config, self.learned.get(number))
        self.restorers[number] = restorer
        return restorer

    def _take(self, number: int) -> Generator[PlanesDone, None, None]:
        """Take what the network of a source has made of it into the images."""

        def work() -> Floats:
            with stage(f"restoration of source {number + 1}", self.frame.plane_count):
                return self._parts[number].place(self.restorers[number].image)

        image = yield from observe(work, self.control.watch_discarding, self.frame.plane_count)
        self._images[number] = image

    def _show(
        self, number: int, iteration: int, index: tuple[int, ...] | None
    ) -> Generator[PlanesDone, None, Preview]:
        """Return the fused image by what the networks have made so far."""
        yield from self._take(number)
        analysis = yield from self.finish(keep_model=False)
        return Preview(iteration, self.frame.add_color(analysis.consensus.clip(0, 1)), index)

    def take_up(self, config: FusionConfig, control: Control) -> "Restoring":
        """Return the same restoration with its networks, under other settings and control.

        What is made of the images from now on leaves alone those that were given out.
        """
        other = copy.copy(self)
        other.config, other.control = config, control
        other._images = self._images.copy()
        return other

    def finish(
        self, *, keep_model: bool = True, wanted: tuple[slice, ...] | None = None
    ) -> Generator[PlanesDone, None, Analysis]:
        """Return the analysis of the sources as they are restored by now.

        Parameters
        ----------
        keep_model, wanted
            As for :func:`.analyze_frame`.
        """
        frame = replace(self.frame, images=self._images, own_pixels=())
        none = (SourceNoise(),) * len(self.noise)
        # Whoever has stopped the run wants this image.
        watch = self.control.watch_discarding
        analysis = yield from analyze_frame(
            frame, self.config, none, watch, keep_model=keep_model, wanted=wanted
        )
        return self._complete(analysis)

    def describe(self) -> dict[str, Any]:
        """Return what a run record says of the restoration; nothing where there is none."""
        lines = dict(zip(self.decision.restored, self.decision.lines, strict=True))
        entries = [
            {
                "source": number,
                "what": lines[number],
                "prior": "network" if number in self.decision.networked else "denoiser",
                **self._describe_operators(number),
            }
            for number in self.decision.restored
        ]
        return {"restoration": entries} if entries else {}

    def _describe_operators(self, number: int) -> dict[str, Any]:
        """Return what the sensor of a degraded source does, in fine pixels along its axes."""
        if number not in self.decision.degraded:
            return {}
        degradation = self._parts[number].degradation
        return {
            "factors": list(degradation.factors),
            "blur": [round(float(sigma), 6) for sigma in degradation.sigmas],
            "kernel": None if degradation.kernel is None else list(degradation.kernel.shape),
            "seen": 1.0 if degradation.seen is None else float(np.mean(degradation.seen)),
        }

    @property
    def keep_state(self) -> bool:
        """Whether a result keeps it: frames of a series are not continued."""
        return False

    @property
    def device(self) -> str:
        """Where the networks compute."""
        return next(iter(self.restorers.values())).device if self.restorers else "cpu"

    @property
    def threads(self) -> int:
        """Processor threads of the networks."""
        return next(iter(self.restorers.values())).threads if self.restorers else 1
