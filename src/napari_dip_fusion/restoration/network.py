"""The network that restores a source: it adds to a first estimate what crops have taught it."""

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_dip_fusion.prior.network import initialize_convolution

_SLOPE = 0.1
# Brings the values of the inputs, and the change that the network makes, near 1.
_LEVEL, _LEVEL_SCALE = 0.3, 4
_DETAIL_SCALE = 8
_CHANGE_SCALE = 0.1


class RestorationNetwork(nn.Module):
    """A small residual network that works on cells of several pixels.

    Its input is a plane y that was measured and a first estimate z of what it shows,
    both on the fine pixels. They are cut into cells of some fine pixels along each axis. A cell
    has one channel for its mean in y, and one for each pixel of z less that mean. What comes out,
    a change for each pixel, is added to z; it is zero at the start.

    Parameters
    ----------
    cell : tuple of int
        Rows and columns of a cell, in fine pixels.
    width : int
        Feature channels.
    blocks : int
        Residual blocks of two 3x3 convolutions each.
    generator : torch.Generator
        Source of the initial weights; torch's global state is not used.

    Notes
    -----
    There is no normalization: a crop and the whole plane go through the same function. The blocks
    begin as the identity, since the second convolution of each is zero at the start, and so is
    the last convolution of all.
    """

    def __init__(
        self, cell: tuple[int, int], *, width: int, blocks: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.cell = cell
        pixels = math.prod(cell)
        # Built without memory, so that no default initialization draws from torch's global state.
        with torch.device("meta"):
            self.head = _make_convolution(1 + pixels, width)
            self.blocks = nn.ModuleList(_Block(width) for _ in range(blocks))
            self.tail = _make_convolution(width, pixels)
        self.to_empty(device="cpu")
        self._initialize(generator)

    @property
    def reach(self) -> tuple[int, int]:
        """How far away, in fine pixels along each axis, the input can change the output."""
        convolutions = 2 + 2 * len(self.blocks)
        # A pixel may lie at the edge of its cell.
        rows, columns = ((convolutions + 1) * side for side in self.cell)
        return rows, columns

    def forward(self, measured: Tensor, estimate: Tensor) -> Tensor:
        """Return the restored planes.

        Parameters
        ----------
        measured, estimate : Tensor of shape (B, 1, M, N)
            What was measured, each of its pixels repeated on the fine pixels that it covers, and
            the estimate. M and N are multiples of the sides of a cell.
        """
        means = functional.avg_pool2d(measured, self.cell)
        details = self._split(estimate) - means
        features = torch.cat([_LEVEL_SCALE * (means - _LEVEL), _DETAIL_SCALE * details], dim=1)
        features = self.head(features.contiguous(memory_format=torch.channels_last))
        for block in self.blocks:
            features = block(features)
        return estimate + _CHANGE_SCALE * self._join(self.tail(features).float())

    def _split(self, planes: Tensor) -> Tensor:
        """Return (B, 1, M, N) planes as cells, (B, pixels of a cell, rows of cells, columns)."""
        count, _, rows, columns = planes.shape
        high, wide = self.cell
        cells = planes.reshape(count, rows // high, high, columns // wide, wide)
        return cells.permute(0, 2, 4, 1, 3).reshape(
            count, high * wide, rows // high, columns // wide
        )

    def _join(self, cells: Tensor) -> Tensor:
        """Return cells as planes: the inverse of :meth:`_split`."""
        count, _, rows, columns = cells.shape
        high, wide = self.cell
        pixels = cells.reshape(count, high, wide, rows, columns).permute(0, 3, 1, 4, 2)
        return pixels.reshape(count, 1, rows * high, columns * wide)

    def _initialize(self, generator: torch.Generator) -> None:
        """Draw torch's default initialization of convolutions from `generator`."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                initialize_convolution(module, generator)
        ends = [self.tail, *(block.second for block in cast("list[_Block]", list(self.blocks)))]
        for parameter in (p for convolution in ends for p in convolution.parameters()):
            nn.init.zeros_(parameter)


class _Block(nn.Module):
    """Two convolutions whose output is added to their input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _make_convolution(width, width)
        self.second = _make_convolution(width, width)

    def forward(self, features: Tensor) -> Tensor:
        """Return features of the same shape, (B, width, M, N)."""
        changed = functional.leaky_relu(self.first(features), _SLOPE)
        added: Tensor = features + self.second(changed)
        return added


def _make_convolution(in_channels: int, out_channels: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, padding=1, padding_mode="replicate")
