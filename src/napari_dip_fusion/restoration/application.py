"""A network is applied to whole images, part by part, so that memory stays bounded."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from napari_dip_fusion.interruption import checkpoint
from napari_dip_fusion.restoration.network import RestorationNetwork
from napari_dip_fusion.restoration.training import pad_to_cells
from napari_dip_fusion.restoration.turns import Turn
from napari_dip_fusion.sensor.strips import choose_sizes, cut_tiles

Floats = NDArray[np.float32]
Call = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

# Cells that the network sees at once, halos included: 700 MB of features. Of a part of a larger
# image, beside which others are at work, it sees fewer.
_MOST_AT_ONCE, _FEW_AT_ONCE = 5 * 2**15, 2**16
# Cells that it sees of an image in all of its turns.
_MOST_CELLS = 2**21


def choose_turns(turns: Sequence[Turn], pixels: int, cell: tuple[int, int]) -> list[Turn]:
    """Return the turns over which the outputs for so many fine pixels are worth averaging.

    Of images larger than about two million cells these are not all: the mean of eight gains
    0.1 dB, and takes eight times as long.
    """
    cells = pixels / math.prod(cell)
    count = max(int(_MOST_CELLS / cells), 1)
    # Those that differ in all come first.
    return sorted(turns, key=lambda t: (t.rows != t.columns, t.exchanged != t.rows))[:count]


def apply_network(
    network: RestorationNetwork,
    call: Call,
    measured: Floats,
    estimate: Floats,
    turns: Sequence[Turn],
    *,
    is_part: bool = False,
) -> Floats:
    """Return the mean of what a network makes of planes in several turns.

    Parameters
    ----------
    network : RestorationNetwork
    call : callable
        Returns the output of the network for its two inputs, tensors of the processor.
    measured, estimate : ndarray of shape (planes, M, N)
        The inputs of the network.
    turns : sequence of Turn
    is_part : bool
        Whether they are a part of a larger image, so that less memory is taken.

    Returns
    -------
    ndarray of shape (planes, M, N)
    """
    total = np.zeros(estimate.shape, np.float32)
    cells = _FEW_AT_ONCE if is_part else _MOST_AT_ONCE
    for plane, inputs in zip(total, zip(measured, estimate, strict=True), strict=True):
        for turn in turns:
            checkpoint()
            turned = [turn.apply(image) for image in inputs]
            plane += turn.undo(_apply_to_plane(network, call, turned, cells))
    total /= len(turns)
    return total


def _apply_to_plane(
    network: RestorationNetwork, call: Call, inputs: Sequence[Floats], cells: int
) -> Floats:
    """Return what a network makes of one plane, tile by tile, as of the whole plane at once."""
    rows, columns = inputs[0].shape
    high, wide = network.cell
    padded = [torch.from_numpy(pad_to_cells(image, network.cell))[None, None] for image in inputs]
    output = np.empty(padded[0].shape[2:], np.float32)
    sizes = choose_sizes(output.shape, network.reach, cells * high * wide, network.cell)
    with torch.no_grad():
        for there, around, inside in cut_tiles(output.shape, sizes, network.reach):
            part = call(*(image[0, 0][around][None, None] for image in padded))
            output[there] = part[0, 0][inside].float().cpu().numpy()
    return output[:rows, :columns]
