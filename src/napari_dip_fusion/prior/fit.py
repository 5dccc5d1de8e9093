"""The optimization of the network: the crossing between NumPy and torch."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.errors import FusionError
from napari_dip_fusion.prior.devices import resolve_device, resolve_precision
from napari_dip_fusion.prior.memory import pad_size
from napari_dip_fusion.prior.network import SkipNetwork, draw_input
from napari_dip_fusion.prior.optimizer import Adam

Floats = NDArray[np.float32]

# The running mean covers about the last ninth of the iterations while it is shorter than its decay.
_MEMORY = 9
# What torch's allocators write.
_LACK_OF_MEMORY = ("can't allocate memory", "tried to allocate")


@dataclass(frozen=True)
class Step:
    """What one iteration gave.

    Attributes
    ----------
    iteration : int
        Counted from 1 over all runs of a fit.
    excess : float
        Mean over pixels and channels of w (x - T)^2: the loss less its floor.
    seconds : float
        Time that the iteration took.
    """

    iteration: int
    excess: float
    seconds: float


class Fit:
    """A network being fitted to the consensus image of some sources.

    Per pixel, sum_i (X_i - beta_i x)^2 = w (x - T)^2 + floor, so that the loss
    of the paper (eq. (2)) is one weighted squared error to T, whatever the
    number of sources. Each of the n output channels has its own loss
    (eq. (4)); their mean is the output. What is kept is the running mean of
    the outputs, or, with ``config.denoising.averaging`` 0, the output with the smallest
    loss.

    Parameters
    ----------
    target : ndarray of shape (M, N)
        The consensus image T.
    weight : ndarray of shape (M, N)
        w = sum_i beta_i^2.
    guides : ndarray of shape (C, M, N)
        The network's input when ``config.network.net_input`` is ``sources``: the
        (denoised) sources in [0, 1] and their consensus image.
    config : FusionConfig

    Notes
    -----
    Sizes that the network cannot halve are padded by reflection, inside; the
    loss sees the true pixels only. Randomness comes from generators of this
    object, seeded with ``config.fit.seed``.
    """

    def __init__(
        self, target: Floats, weight: Floats, guides: Floats, config: FusionConfig
    ) -> None:
        self.config = config
        self.device = resolve_device(config.compute.device)
        self.iteration = 0
        self._shape = target.shape
        self._kept: Tensor | None = None
        self._best_excess = math.inf
        with _explain_failures(self):
            self._build(target, weight, guides)

    def _build(self, target: Floats, weight: Floats, guides: Floats) -> None:
        config, settings = self.config, self.config.network
        generator = torch.Generator().manual_seed(config.fit.seed)
        sees_sources = settings.net_input == "sources"
        channels = len(guides) if sees_sources else settings.channels
        network = SkipNetwork(
            channels,
            settings.channels,
            width=settings.width,
            depth=settings.depth,
            skip_channels=settings.skip_channels,
            upsampling=settings.upsampling,
            generator=generator,
        )
        rows, columns = (pad_size(n, settings.depth) for n in self._shape)
        if sees_sources:
            net_input = torch.from_numpy(_pad(guides, (rows, columns)))[None]
        else:
            net_input = draw_input((channels, rows, columns), generator)
        # A generator of its own: input noise must not change the weights' random numbers.
        self._noise = torch.Generator(self.device).manual_seed(config.fit.seed + 1)
        # Channels last: the layout in which convolutions on a processor are fastest.
        self._network = network.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._input = net_input.to(self.device, memory_format=torch.channels_last)
        # Copies: the consensus image is part of the result, which may be changed.
        self._target = torch.tensor(target, device=self.device)
        self._weight = torch.tensor(weight, device=self.device)
        self._bfloat16 = resolve_precision(config.compute.precision, self.device) == "bfloat16"
        self._optimizer = Adam(
            self._network.parameters(), config.fit.learning_rate, fused=self._kind != "mps"
        )

    @property
    def _kind(self) -> str:
        return torch.device(self.device).type

    @property
    def threads(self) -> int:
        """Processor threads that torch uses in this fit."""
        return self.config.compute.threads or torch.get_num_threads()

    @property
    def image(self) -> Floats | None:
        """A copy of what is kept, shape (M, N); None before the first iteration."""
        return None if self._kept is None else self._kept.to("cpu", copy=True).numpy()

    def run(self, iterations: int) -> Iterator[Step]:
        """Yield one Step an iteration, `iterations` times.

        Raises
        ------
        FusionError
            When torch fails or the loss is no longer finite; what was kept
            stays in :attr:`image`.
        """
        for _ in range(iterations):
            start = time.perf_counter()
            with _set_threads(self.config.compute.threads), _explain_failures(self):
                excess = self._step()
            self.iteration += 1
            yield Step(self.iteration, excess, time.perf_counter() - start)

    def _step(self) -> float:
        """Make one iteration and return the excess before it."""
        loss, output = self._train()
        # Waits for the device, once an iteration: the rules that end a run need the number.
        excess = float(loss)
        if not math.isfinite(excess):
            raise FusionError(
                f"the loss is no longer finite at iteration {self.iteration + 1}; use a smaller "
                f"learning_rate than {self.config.fit.learning_rate:g} or precision float32"
            )
        self._keep(output, excess)
        return excess

    def _train(self) -> tuple[Tensor, Tensor]:
        """Make one step of Adam; return the loss and the output (M, N) before it."""
        net_input = self._input
        if self.config.network.input_noise > 0:
            # Fresh noise at every iteration makes the network smoother (Ulyanov et al., 2020).
            noise = torch.empty_like(net_input).normal_(generator=self._noise)
            net_input = net_input + self.config.network.input_noise * noise
        self._optimizer.zero_grad()
        rows, columns = self._shape
        with torch.autocast(self._kind, dtype=torch.bfloat16, enabled=self._bfloat16):
            output = self._network(net_input)
        # The padding is no data: it has no part in the loss.
        output = output[0, :, :rows, :columns]
        loss = measure_error(output, self._target, self._weight)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        return loss.detach(), output.detach().mean(dim=0)

    def _keep(self, output: Tensor, excess: float) -> None:
        """Take an output into what is kept: the running mean, or the best so far."""
        decay = self.config.denoising.averaging
        if self._kept is None or decay == 0:
            if excess < self._best_excess:
                self._kept, self._best_excess = output.clone(), excess
            return
        # A mean of constant decay would hold on to the first, poor outputs for too long.
        grown = self.iteration / (self.iteration + _MEMORY)
        self._kept.lerp_(output, 1 - min(decay, grown))


def measure_error(output: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Return the mean over pixels and channels of w (x - T)^2.

    Parameters
    ----------
    output : Tensor of shape (n, M, N)
    target, weight : Tensor of shape (M, N)
    """
    return (weight * (output - target).square()).mean()


def _pad(images: Floats, size: tuple[int, int]) -> Floats:
    """Extend (K, M, N) images at the lower and right edge by reflection."""
    rows, columns = (new - old for new, old in zip(size, images.shape[1:], strict=True))
    return np.pad(images, ((0, 0), (0, rows), (0, columns)), mode="symmetric")


@contextmanager
def _set_threads(threads: int) -> Iterator[None]:
    """Set torch's thread count and restore it; 0 leaves it alone."""
    before = torch.get_num_threads()
    if threads:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        if threads:
            torch.set_num_threads(before)


@contextmanager
def _explain_failures(fit: Fit) -> Iterator[None]:
    """Turn torch's errors into a FusionError that says what to do."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        text = str(error)
        lacking = isinstance(error, (torch.OutOfMemoryError, MemoryError))
        # Of processors and of Apple's GPUs torch has no class of its own for it. Its other errors
        # speak of memory, too: of a layout in memory, for one.
        if lacking or any(words in text.lower() for words in _LACK_OF_MEMORY):
            raise FusionError(
                f"not enough memory on {fit.device} for {fit._shape[0]}x{fit._shape[1]} pixels "
                f"with width {fit.config.network.width}; use a smaller width, a smaller image, or "
                "another device"
            ) from error
        reason = text.splitlines()[0] if text else repr(error)
        raise FusionError(
            f"torch failed on {fit.device}: {reason}; try device cpu and precision float32"
        ) from error
