"""The optimization of the network: the crossing between NumPy and torch."""

import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_dip_fusion.config import FusionConfig, NetworkSettings
from napari_dip_fusion.errors import FusionError
from napari_dip_fusion.prior.devices import resolve_device, resolve_precision
from napari_dip_fusion.prior.failures import explain_failures, set_threads
from napari_dip_fusion.prior.memory import pad_size
from napari_dip_fusion.prior.network import SkipNetwork, draw_input
from napari_dip_fusion.prior.optimizer import Adam

Floats = NDArray[np.float32]

# The running mean covers about the last ninth of the iterations while it is shorter than its decay.
_MEMORY = 9
NOTHING_TO_SHOW = "there is nothing to show before the first iteration; run the fit first"


@dataclass(frozen=True, eq=False)
class Batch:
    """What the network sees in one iteration, and what its output is held against.

    Attributes
    ----------
    net_input : Tensor of shape (B, C, P, Q)
        Padded to sizes that the network can halve.
    target, weight : Tensor of shape (B, 1, M, N)
        Without the padding.
    """

    net_input: Tensor
    target: Tensor
    weight: Tensor


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
    """A network being fitted to the consensus image of one plane.

    Per pixel, sum_i (X_i - beta_i x)^2 = w (x - T)^2 + floor, so that the loss
    of the paper (eq. (2)) is one weighted squared error to T, whatever the
    number of sources. Each of the n output channels has its own loss
    (eq. (4)); their mean is the output. What is kept is the running mean of
    the outputs, or, with ``config.denoising.averaging`` 0, the output with the smallest
    loss.

    Parameters
    ----------
    target : ndarray of shape (M, N) or (1, M, N)
        The consensus image T.
    weight : ndarray of the shape of the target
        w = sum_i beta_i^2.
    guides : ndarray of shape (C, M, N) or (C, 1, M, N)
        The network's input when ``config.network.net_input`` is ``sources``: the
        (denoised) sources in [0, 1] and their consensus image.
    config : FusionConfig

    See Also
    --------
    .CropFit : The same for volumes and for series, with one network for all of their planes.

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
        # A generator of its own: input noise must not change the weights' random numbers.
        self._noise = torch.Generator(self.device).manual_seed(config.fit.seed + 1)
        self._bfloat16 = resolve_precision(config.compute.precision, self.device) == "bfloat16"
        with self._explain_failures():
            generator = torch.Generator().manual_seed(config.fit.seed)
            self._network = self._build_network(len(guides), generator)
            self._draw_input(generator)
            self._load(target, weight, guides)
            self._optimizer = Adam(
                self._network.parameters(), config.fit.learning_rate, fused=self._kind != "mps"
            )

    def _build_network(self, guides: int, generator: torch.Generator) -> SkipNetwork:
        """Return the network for so many guides, where it is computed."""
        channels = self._count_channels(guides)
        return build_network(self.config.network, channels, self.device, generator)

    def _count_channels(self, guides: int) -> int:
        """Return the number of channels that the network sees."""
        return guides if self._sees_sources else self.config.network.channels

    def _draw_input(self, generator: torch.Generator) -> None:
        """Draw the fixed input of the network, where it does not see the sources."""
        if not self._sees_sources:
            size = self._pad_shape(self._shape[-2:])
            self._input = self._place(draw_input((self.config.network.channels, *size), generator))

    def _load(self, target: Floats, weight: Floats, guides: Floats) -> None:
        """Take the images that are fitted from now on."""
        plane = self._shape[-2:]
        if self._sees_sources:
            net_input = pad_planes(guides.reshape(-1, *plane), self._pad_shape(plane))
            self._input = self._place(torch.from_numpy(net_input)[None])
        # Copies: the consensus image is part of the result, which may be changed.
        self._target = torch.tensor(target, device=self.device).reshape(1, 1, *plane)
        self._weight = torch.tensor(weight, device=self.device).reshape(1, 1, *plane)
        self._kept: Tensor | None = None
        self._best_excess = math.inf
        self._start = self.iteration

    def _place(self, net_input: Tensor) -> Tensor:
        """Return an input of the network where the network is, in its layout."""
        return net_input.to(self.device, memory_format=torch.channels_last)

    def _pad_shape(self, plane: tuple[int, ...]) -> tuple[int, int]:
        rows, columns = (pad_size(n, self.config.network.depth) for n in plane)
        return rows, columns

    @property
    def _sees_sources(self) -> bool:
        return self.config.network.net_input == "sources"

    @property
    def _kind(self) -> str:
        return torch.device(self.device).type

    @property
    def threads(self) -> int:
        """Processor threads that torch uses in this fit."""
        return self.config.compute.threads or torch.get_num_threads()

    @property
    def smoothing(self) -> int:
        """How many iterations the excess is to be averaged over, to tell of the whole image."""
        return 1

    @property
    def image(self) -> Floats | None:
        """A copy of what is kept, in the shape of the target; None before the first iteration."""
        if self._kept is None:
            return None
        return self._kept.to("cpu", copy=True).numpy().reshape(self._shape)

    def show_plane(self, index: int) -> Floats:
        """Return one plane of what is kept, shape (M, N), for a look while the fit goes on.

        Parameters
        ----------
        index : int
            Of the plane along the first axis; a plane has no other than 0.

        Raises
        ------
        ValueError
            Before the first iteration.
        """
        if self._kept is None:
            raise ValueError(NOTHING_TO_SHOW)
        return self._kept.to("cpu", copy=True).numpy()

    def move_to(self, target: Floats, weight: Floats, guides: Floats) -> None:
        """Go on with the next frame of a series, with the network and the optimizer as they are.

        Parameters
        ----------
        target, weight, guides
            As for the class, in the same shapes as before. What is kept begins anew.

        Raises
        ------
        ValueError
            If the shapes are others.
        """
        if target.shape != self._shape:
            raise ValueError(
                f"the frames of a series must share one shape, got {target.shape} after "
                f"{self._shape}; make another fit for it"
            )
        with self._explain_failures():
            self._load(target, weight, guides)

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
            with self._compute():
                excess = self._step()
            self.iteration += 1
            yield Step(self.iteration, excess, time.perf_counter() - start)

    @contextmanager
    def _compute(self) -> Iterator[None]:
        """Compute with the threads of the settings, and explain what fails."""
        with set_threads(self.config.compute.threads), self._explain_failures():
            yield

    def _explain_failures(self) -> AbstractContextManager[None]:
        size = "x".join(str(n) for n in self._shape)
        return explain_failures(
            self.device,
            f"{size} pixels with width {self.config.network.width}",
            "use a smaller width, a smaller image, or another device",
        )

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
        # What made this loss is kept, and not the step after it, which may turn out not finite.
        self._keep(output, excess)
        self._optimizer.step()
        return excess

    def _train(self) -> tuple[Tensor, Tensor]:
        """Compute the gradients of one iteration; return its loss and output, (B, M, N)."""
        batch = self._draw_batch()
        net_input = batch.net_input
        if self.config.network.input_noise > 0:
            # Fresh noise at every iteration makes the network smoother (Ulyanov et al., 2020).
            noise = torch.empty_like(net_input).normal_(generator=self._noise)
            net_input = net_input + self.config.network.input_noise * noise
        self._optimizer.zero_grad()
        output = self._call(self._network, net_input)
        # The padding is no data: it has no part in the loss.
        rows, columns = batch.target.shape[-2:]
        output = output[..., :rows, :columns]
        loss = measure_error(output, batch.target, batch.weight)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach(), output.detach().mean(dim=1)

    def _call(self, network: SkipNetwork, net_input: Tensor) -> Tensor:
        """Return the output of a network in the arithmetic of this fit."""
        with torch.autocast(self._kind, dtype=torch.bfloat16, enabled=self._bfloat16):
            output: Tensor = network(net_input)
        return output

    def _draw_batch(self) -> Batch:
        """Return what the next iteration sees: of a plane, all of it."""
        return Batch(self._input, self._target, self._weight)

    def _keep(self, output: Tensor, excess: float) -> None:
        """Take an output into what is kept: the running mean, or the best so far."""
        decay = self.config.denoising.averaging
        if self._kept is None or decay == 0:
            if excess < self._best_excess:
                self._kept, self._best_excess = output[0].clone(), excess
            return
        self._kept.lerp_(output[0], 1 - min(decay, self._limit_decay()))

    def _limit_decay(self) -> float:
        """Return the largest decay of a running mean after the iterations of this frame so far.

        A mean of constant decay would hold on to its first, poor members for too long.
        """
        made = self.iteration - self._start
        return made / (made + _MEMORY)


def build_network(
    settings: NetworkSettings, channels: int, device: str, generator: torch.Generator
) -> SkipNetwork:
    """Return the network of some settings on a device.

    Parameters
    ----------
    settings : NetworkSettings
    channels : int
        Of its input.
    device : str
    generator : torch.Generator
        As for :class:`.SkipNetwork`.
    """
    network = SkipNetwork(
        channels,
        settings.channels,
        width=settings.width,
        depth=settings.depth,
        skip_channels=settings.skip_channels,
        upsampling=settings.upsampling,
        generator=generator,
    )
    # Channels last: the layout in which convolutions on a processor are fastest.
    placed: SkipNetwork = network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return placed


def measure_error(output: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Return the mean over pixels and channels of w (x - T)^2.

    Parameters
    ----------
    output : Tensor of shape (..., n, M, N)
    target, weight : Tensor of a shape that extends to that of the output
    """
    return (weight * (output - target).square()).mean()


def pad_planes(images: Floats, size: tuple[int, int]) -> Floats:
    """Extend (K, M, N) images at the lower and right edge by reflection."""
    rows, columns = (new - old for new, old in zip(size, images.shape[1:], strict=True))
    return np.pad(images, ((0, 0), (0, rows), (0, columns)), mode="symmetric")
