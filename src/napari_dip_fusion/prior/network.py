"""The encoder-decoder with skip connections that serves as the image prior."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional


class SkipNetwork(nn.Module):
    """Encoder-decoder with skip connections: X_0 = net(I), eq. (3) of the paper [1]_.

    The `skip` network of Deep Image Prior [2]_ in its super-resolution setting:
    at each scale a stride-2 and a plain 3x3 convolution go down, a 1x1
    convolution skips across, and a 3x3 and a 1x1 convolution go up, each with
    batch normalization (by the statistics of its input, until :func:`fix_normalization`) and
    LeakyReLU 0.2; reflection padding; sigmoid output.

    Parameters
    ----------
    in_channels, out_channels : int
    width : int
        Feature channels at each scale.
    depth : int
        Number of scales; height and width of the input must be multiples of
        ``2 ** depth`` and at least twice that (see :func:`.pad_size`).
    skip_channels : int
        Channels of each skip connection.
    upsampling : {"nearest", "bilinear"}
    generator : torch.Generator
        Source of the initial weights; torch's global state is not used.

    Notes
    -----
    With 10 channels in and out and the default options it has the 2,193,302
    parameters of the published network.

    References
    ----------
    .. [1] X. Ma et al., arXiv:2110.09490.
    .. [2] D. Ulyanov, A. Vedaldi, V. Lempitsky, "Deep Image Prior", IJCV 128
       (2020), doi:10.1007/s11263-020-01303-4.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        width: int = 128,
        depth: int = 5,
        skip_channels: int = 4,
        upsampling: str = "bilinear",
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        # Built without memory, so that no default initialization draws from torch's global state.
        with torch.device("meta"):
            self.scales = nn.ModuleList(
                _Scale(in_channels if i == 0 else width, width, skip_channels) for i in range(depth)
            )
            self.head = nn.Conv2d(width, out_channels, 1)
        self.upsampling = upsampling
        self.to_empty(device="cpu")
        self._initialize(generator)

    def forward(self, net_input: Tensor) -> Tensor:
        """Map inputs of shape (B, C, M, N) to outputs in [0, 1], shape (B, n, M, N)."""
        scales = cast("list[_Scale]", list(self.scales))
        skips = []
        features = net_input
        for scale in scales:
            skips.append(scale.skip(features))
            features = scale.down(features)
        for scale, skip in zip(reversed(scales), reversed(skips), strict=True):
            features = scale.up(torch.cat([skip, self._upsample(features)], dim=1))
        # In bfloat16 the sigmoid would have steps of 1/256 near white.
        return torch.sigmoid(self.head(features).float())

    def _upsample(self, features: Tensor) -> Tensor:
        if self.upsampling == "nearest":
            return functional.interpolate(features, scale_factor=2, mode="nearest")
        return functional.interpolate(
            features, scale_factor=2, mode="bilinear", align_corners=False
        )

    def _initialize(self, generator: torch.Generator) -> None:
        """Draw torch's default initialization of convolutions from `generator`."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                initialize_convolution(module, generator)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)


def initialize_convolution(convolution: nn.Conv2d, generator: torch.Generator) -> None:
    """Draw the weights and the bias of a convolution.

    They are kaiming_uniform_ with a = sqrt(5), and a bias within 1 / sqrt(fan in): the numbers that
    torch's own reset_parameters draws, but from a generator of the caller's.
    """
    assert convolution.bias is not None
    fan_in = convolution.weight[0].numel()
    nn.init.kaiming_uniform_(convolution.weight, a=math.sqrt(5), generator=generator)
    bound = 1 / math.sqrt(fan_in)
    nn.init.uniform_(convolution.bias, -bound, bound, generator=generator)


class _Scale(nn.Module):
    """The three paths of one scale."""

    def __init__(self, in_channels: int, width: int, skip_channels: int) -> None:
        super().__init__()
        # Few channels skip across, so that the image has to go through the bottleneck.
        self.skip = _make_block(in_channels, skip_channels, kernel=1)
        self.down = nn.Sequential(
            _make_block(in_channels, width, kernel=3, stride=2), _make_block(width, width, kernel=3)
        )
        self.up = nn.Sequential(
            _make_normalization(skip_channels + width),
            _make_block(skip_channels + width, width, kernel=3),
            _make_block(width, width, kernel=1),
        )


def _make_block(
    in_channels: int, out_channels: int, *, kernel: int, stride: int = 1
) -> nn.Sequential:
    convolution = nn.Conv2d(
        in_channels, out_channels, kernel, stride, padding=kernel // 2, padding_mode="reflect"
    )
    return nn.Sequential(
        convolution, _make_normalization(out_channels), nn.LeakyReLU(0.2, inplace=True)
    )


def _make_normalization(channels: int) -> nn.BatchNorm2d:
    # Of a plane its own statistics are those of the run, in training and after it.
    return nn.BatchNorm2d(channels, track_running_stats=False)


@contextmanager
def fix_normalization(network: SkipNetwork) -> Iterator[None]:
    """Let a network normalize by the mean statistics of the inputs that it gets in this context.

    Within the context each input is normalized by its own statistics. After it they no longer
    count, until the network's method ``train`` is called: every input goes through the same
    function, whatever lies beside it.

    Parameters
    ----------
    network : SkipNetwork
    """
    track_statistics(network)
    network.train()
    yield
    network.eval()


def track_statistics(network: SkipNetwork) -> None:
    """Give a network statistics by which it can normalize, of no inputs yet.

    Parameters
    ----------
    network : SkipNetwork
    """
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.track_running_stats = True
            # Without momentum torch takes the plain mean over all inputs.
            layer.momentum = None
            layer.running_mean = torch.zeros_like(layer.weight.detach())
            layer.running_var = torch.ones_like(layer.weight.detach())
            layer.num_batches_tracked = torch.tensor(0)


def draw_input(
    shape: tuple[int, ...], generator: torch.Generator, *, amplitude: float = 0.1
) -> Tensor:
    """Return the fixed input of the published method: uniform noise in [0, amplitude).

    Parameters
    ----------
    shape : (channels, M, N) or (channels, Z, M, N)
    generator : torch.Generator
    amplitude : float

    Returns
    -------
    Tensor of shape (1, *shape)
    """
    return amplitude * torch.rand((1, *shape), generator=generator)
