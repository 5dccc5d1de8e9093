"""The restoration of one source by a network that is trained on this source alone."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_dip_fusion.config import ComputeSettings
from napari_dip_fusion.errors import FusionError
from napari_dip_fusion.interruption import checkpoint
from napari_dip_fusion.operators.degradation import Degradation
from napari_dip_fusion.prior.devices import resolve_device, resolve_precision
from napari_dip_fusion.prior.failures import explain_failures, set_threads
from napari_dip_fusion.prior.fit import Step
from napari_dip_fusion.prior.optimizer import Adam
from napari_dip_fusion.prior.weights import pack_weights, unpack_weights
from napari_dip_fusion.restoration.application import apply_network, choose_turns
from napari_dip_fusion.restoration.denoiser import is_widely_blurred
from napari_dip_fusion.restoration.denoising import filter_noise
from napari_dip_fusion.restoration.network import RestorationNetwork
from napari_dip_fusion.restoration.noise import RestorationNoise
from napari_dip_fusion.restoration.planes import (
    PlaneModel,
    choose_axes,
    cut_planes,
    estimate_first,
    fill_unseen,
    join_planes,
    reconsider_noise,
    repeat_pixels,
    simplify,
)
from napari_dip_fusion.restoration.training import CropDrawer, choose_cell, follow_cycle
from napari_dip_fusion.restoration.turns import Turn
from napari_dip_fusion.sensor.denoising import denoise, filter_wiener

Floats = NDArray[np.float32]

_WIDTH, _BLOCKS = 48, 8
_LEARNING_RATE = 2e-3
_DECAY_RATES, _WEIGHT_DECAY = (0.9, 0.99), 0.01
_LARGEST_GRADIENT = 0.1
# Large errors, at edges, count more than in proportion.
_SQUARE_WEIGHT = 10
# How far what explains the pixels may stray from what the network makes of them.
_FREEDOM = 0.05
# Noise that the last filters remove, of the network's image and for the pilot, and after the
# pixels were explained.
_LEFT_NOISE, _PILOT_NOISE, _LAST_NOISE = 0.01, 0.03, 0.02

# Shares of the network's image, beside the pilot's, after the first thirds of a run, and after the
# run where the width of a Gaussian blur was given: it is often a guess. The errors of both images
# differ, most of all where it is a wrong one.
_EARLY_SHARES, _GUESSED_SHARE = (0.4, 0.6), 0.9

# Iterations before which a network makes less of a source than its pilot: of a noisy one, 6 dB less
# after 9 of them.
_LEAST = 100


class Restorer:
    """A network being trained to restore one source, and what it makes of this source.

    The network learns on crops of an image that is near the truth, at smaller scales and in other
    tones, what degraded crops were before. As an internal learner [1]_ it knows this source alone.
    After each third of a run its own image takes the place of the one that it learns from.

    Parameters
    ----------
    pixels : ndarray of shape ``degradation.shape``, float32 in [0, 1]
        The source's own pixels, a plane or a volume.
    pilot : ndarray of shape ``degradation.fine_shape``, float32 in [0, 1]
        A first restoration, as of :func:`.restore_by_denoiser`.
    degradation : Degradation
    noise : RestorationNoise
        As it was estimated.
    compute : ComputeSettings
    seed : int
        Of the weights, the crops and their noise.
    step : float, optional
        Distance of neighboring planes of a volume's own pixels, in own pixels of a plane.
    whole : int, optional
        Fine pixels of the larger image that this one is a part of, which decide how much work each
        is worth; by default this one is the whole.
    weights : bytes, optional
        What :meth:`save` returned of another restorer of the same degradation, whose network goes
        on here.

    Attributes
    ----------
    device : str
    iteration : int
        Counted over all runs.
    is_new : bool
        Whether :attr:`image` is another one than when it was last taken.

    Notes
    -----
    A volume is restored plane by plane, in those planes in which most was lost; what explains its
    own pixels is computed in three dimensions, before and after the network. Randomness comes from
    generators of this object.

    References
    ----------
    .. [1] A. Shocher, N. Cohen, M. Irani, "Zero-Shot Super-Resolution using Deep Internal
       Learning", CVPR 2018, doi:10.1109/CVPR.2018.00329.
    """

    def __init__(
        self,
        pixels: Floats,
        pilot: Floats,
        degradation: Degradation,
        noise: RestorationNoise,
        *,
        compute: ComputeSettings,
        seed: int,
        step: float = 1.0,
        whole: int = 0,
        weights: bytes | None = None,
    ) -> None:
        self.device = resolve_device(compute.device)
        self.iteration = 0
        self._whole = whole or math.prod(degradation.fine_shape)
        self._threads = compute.threads
        self._bfloat16 = resolve_precision(compute.precision, self.device) == "bfloat16"
        self._degradation, self._simple = degradation, simplify(degradation)
        self._noise = reconsider_noise(noise, pixels, pilot, degradation)
        self._step = step * _compare_factors(degradation.factors)
        self._axes = choose_axes(degradation)
        self._load(pixels, pilot)
        self._model = PlaneModel(degradation, self._axes, self._noise, self._level)
        self._drawer = self._make_drawer(np.random.default_rng(seed))
        with self._compute():
            self._build(torch.Generator().manual_seed(seed))
            if weights is not None:
                self.iteration = unpack_weights(weights, self._network, self.device)

    def _load(self, pixels: Floats, pilot: Floats) -> None:
        """Take the pixels that are restored from now on."""
        self._pixels, self._pilot, self._image = pixels, pilot, pilot
        self._finished = False
        self._level = self._noise.measure(pixels)
        filled = fill_unseen(pixels, self._degradation)
        self._first = estimate_first(filled, self._simple, self._level)
        self._measured = repeat_pixels(filled, self._degradation.factors)
        self.is_new = True

    def _make_drawer(self, random: np.random.Generator) -> CropDrawer:
        seen = self._degradation.seen
        if seen is not None:
            seen = cut_planes(repeat_pixels(seen, self._degradation.factors), self._axes)
        return CropDrawer(cut_planes(self._image, self._axes), self._model, random, seen)

    def _build(self, generator: torch.Generator) -> None:
        network = RestorationNetwork(
            choose_cell(self._model.factors), width=_WIDTH, blocks=_BLOCKS, generator=generator
        )
        self._network: RestorationNetwork = network.to(self.device).to(  # type: ignore[call-overload]
            memory_format=torch.channels_last
        )
        self._optimizer = Adam(
            self._network.parameters(),
            _LEARNING_RATE,
            fused=self._kind != "mps",
            decay_rates=_DECAY_RATES,
            weight_decay=_WEIGHT_DECAY,
        )

    def save(self) -> bytes:
        """Return the weights of the network, and how many iterations they took."""
        return pack_weights(self._network, iteration=self.iteration)

    @property
    def noise(self) -> RestorationNoise:
        """The noise that the network learns to remove, with its level."""
        return replace(self._noise, level=self._level)

    @property
    def _kind(self) -> str:
        return torch.device(self.device).type

    @property
    def threads(self) -> int:
        """Processor threads that torch uses for this network."""
        return self._threads or torch.get_num_threads()

    @property
    def image(self) -> Floats:
        """The restored image in [0, 1], a copy in the shape of the pilot, the best by now.

        It is the pilot until the first third of a run. From then on, more and more of it is what
        the network makes of the pixels, made to explain them, and at the end filtered.
        """
        self.is_new = False
        return self._image.copy()

    def move_to(self, pixels: Floats, pilot: Floats) -> None:
        """Go on with the next frame of a series, with the network as it is.

        Parameters
        ----------
        pixels, pilot
            As for the class, in the same shapes as before.

        Raises
        ------
        ValueError
            If the shapes are others.
        """
        if pixels.shape != self._pixels.shape:
            raise ValueError(
                f"the frames of a series must share one shape, got {pixels.shape} after "
                f"{self._pixels.shape}; make another Restorer for it"
            )
        self._load(pixels, pilot)
        self._drawer.planes = cut_planes(pilot, self._axes)

    def restore(self) -> Floats:
        """Return the restored image in [0, 1] by the network as it is, without training it."""
        with self._compute():
            self._finish()
        return self.image

    def run(self, iterations: int, *, finish: bool = True) -> Iterator[Step]:
        """Yield one Step an iteration, in one cycle of learning rates.

        Another run goes on with the same network in another cycle.

        Parameters
        ----------
        iterations : int
        finish : bool
            Whether the final image is made at the end, which takes a while.

        Raises
        ------
        FusionError
            When torch fails or the loss is no longer finite; :attr:`image` stays what it was.
        """
        thirds = (round(iterations / 3), round(2 * iterations / 3))
        for done in range(1, iterations + 1):
            checkpoint()
            start = time.perf_counter()
            with self._compute():
                self._optimizer.learning_rate = _LEARNING_RATE * follow_cycle(
                    (done - 1) / iterations
                )
                loss = self._train()
                self.iteration += 1
                if done == iterations:
                    if finish:
                        self._finish()
                elif done in thirds:
                    self._renew(_EARLY_SHARES[thirds.index(done)])
            yield Step(self.iteration, loss, time.perf_counter() - start)

    def _train(self) -> float:
        """Make one iteration and return the loss before it."""
        batch = self._drawer.draw()
        error = self._call(batch.measured, batch.estimate) - batch.truth.to(self.device)
        loss = (error.abs() + _SQUARE_WEIGHT * error.square()).mean()
        value = float(loss.detach())
        if not math.isfinite(value):
            raise FusionError(
                f"the loss of a restoration is no longer finite at iteration {self.iteration + 1}; "
                "use precision float32"
            )
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._network.parameters(), _LARGEST_GRADIENT)
        self._optimizer.step()
        return value

    def _call(self, measured: Tensor, estimate: Tensor) -> Tensor:
        """Return the output of the network in the arithmetic of this restoration."""
        inputs = (measured.to(self.device), estimate.to(self.device))
        with torch.autocast(self._kind, dtype=torch.bfloat16, enabled=self._bfloat16):
            output: Tensor = self._network(*inputs)
        return output

    def _renew(self, share: float) -> None:
        """Let the network's image take the place of the one that it learns from."""
        if self.iteration < _LEAST:
            return
        output = self._apply([Turn()])
        image = self._explain(output)
        if is_widely_blurred(self._degradation):
            # Explained, it has the noise of the pixels amplified.
            image = filter_wiener(image, _LAST_NOISE, output.clip(0, 1), step=self._step)
        self._drawer.planes = cut_planes(image, self._axes)
        # At the high rates of another cycle, a network makes less of the pixels than before it.
        if not self._finished:
            self._keep(image, share)

    def _finish(self) -> None:
        """Make the final image of the network, of all turns, and filter what is left of noise."""
        if self.iteration < _LEAST:
            return
        turns = choose_turns(self._model.turns, self._whole, self._network.cell)
        output = self._apply(turns)
        image = self._explain(output)
        if self._degradation.is_identity:
            # The network and the filter err in different ways.
            image = np.asarray((image + output) / 2, dtype=np.float32)
        else:
            pilot = denoise(output, _PILOT_NOISE, step=self._step)
            pilot = filter_wiener(output, _LEFT_NOISE, pilot, step=self._step)
            image = filter_wiener(image, _LAST_NOISE, pilot, step=self._step)
        self._keep(image, _GUESSED_SHARE if any(self._degradation.sigmas) else 1.0)
        self._finished = True

    def _apply(self, turns: list[Turn]) -> Floats:
        """Return the mean of the network's images in some turns."""
        measured, estimate = (cut_planes(i, self._axes) for i in (self._measured, self._first))
        is_part = self._whole > math.prod(self._degradation.fine_shape)
        planes = apply_network(
            self._network, self._call, measured, estimate, turns, is_part=is_part
        )
        return join_planes(planes, self._axes, self._first.ndim)

    def _explain(self, image: Floats) -> Floats:
        """Return an image in [0, 1] near another one that explains the pixels."""
        if self._degradation.is_identity:
            return filter_noise(self._pixels, image.clip(0, 1), self._noise, step=self._step)
        ratio = (self._level / _FREEDOM) ** 2
        return self._degradation.solve(self._pixels, image, ratio).clip(0, 1)

    def _keep(self, image: Floats, share: float) -> None:
        """Show an image from now on, beside the pilot, which has the rest of a share."""
        self._image = (share * image + (1 - share) * self._pilot).clip(0, 1)
        self.is_new = True

    @contextmanager
    def _compute(self) -> Iterator[None]:
        """Compute with the threads of the settings, and explain what fails."""
        size = "x".join(str(n) for n in self._image.shape)
        explained = explain_failures(
            self.device, f"the restoration of {size} pixels", "use a smaller image"
        )
        with set_threads(self._threads), explained:
            yield


def _compare_factors(factors: tuple[int, ...]) -> float:
    """Return how much further planes lie from each other, in pixels, before than after a division.

    A plane of its own has no neighbors.
    """
    return float(np.mean(factors[-2:])) / factors[0] if len(factors) > 2 else 1.0
