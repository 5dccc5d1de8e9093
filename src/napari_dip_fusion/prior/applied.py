"""A network that was fitted to samples of an image is applied to parts of it."""

import numpy as np
import torch
from numpy.typing import NDArray

from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.interruption import checkpoint
from napari_dip_fusion.prior.devices import resolve_device, resolve_precision
from napari_dip_fusion.prior.failures import explain_failures, set_threads
from napari_dip_fusion.prior.fit import build_network, pad_planes
from napari_dip_fusion.prior.memory import NEIGHBORS, pad_size
from napari_dip_fusion.prior.network import track_statistics
from napari_dip_fusion.prior.weights import unpack_weights

__all__ = ["Applied", "list_neighbors"]

Floats = NDArray[np.float32]


def list_neighbors(plane: int, planes: int) -> list[int]:
    """Return the planes of a volume that a network sees together with one."""
    return [min(max(plane + n, 0), planes - 1) for n in NEIGHBORS]


class Applied:
    """A fitted network with its statistics fixed: the same function for every part of an image.

    Parts whose first row and column are multiples of ``2 ** depth`` of the image's, and that are as
    much larger than what is wanted of them as :func:`.measure_network_reach` says, have the values
    of the whole.

    Parameters
    ----------
    weights : bytes
        From :meth:`.CropFit.save`.
    config : FusionConfig
    guides : int
        How many images the network sees of each plane.
    """

    def __init__(self, weights: bytes, config: FusionConfig, guides: int) -> None:
        self._config = config
        self._device = resolve_device(config.compute.device)
        self._bfloat16 = resolve_precision(config.compute.precision, self._device) == "bfloat16"
        # Whatever is drawn is replaced by the weights.
        generator = torch.Generator().manual_seed(0)
        channels = guides * len(NEIGHBORS)
        self._network = build_network(config.network, channels, self._device, generator)
        track_statistics(self._network)
        unpack_weights(weights, self._network, self._device)
        self._network.eval().requires_grad_(False)

    def apply(self, guides: Floats) -> Floats:
        """Return the image of the network.

        Parameters
        ----------
        guides : ndarray of shape (C, M, N) or (C, Z, M, N)
            As for :class:`.CropFit`, of a part.

        Returns
        -------
        ndarray of shape (M, N) or (Z, M, N), float32 in [0, 1]
        """
        volume = guides if guides.ndim == 4 else guides[:, None]
        image = np.empty(volume.shape[1:], np.float32)
        size = "x".join(map(str, image.shape))
        remedy = "use smaller blocks, a smaller width, or another device"
        explained = explain_failures(self._device, f"a block of {size} pixels", remedy)
        with set_threads(self._config.compute.threads), explained, torch.no_grad():
            for plane in range(len(image)):
                checkpoint()
                image[plane] = self._apply_to_plane(volume, plane)
        return image.reshape(guides.shape[1:])

    def _apply_to_plane(self, volume: Floats, plane: int) -> Floats:
        rows, columns = volume.shape[-2:]
        seen = volume[:, list_neighbors(plane, volume.shape[1])].reshape(-1, rows, columns)
        depth = self._config.network.depth
        padded = pad_planes(seen, (pad_size(rows, depth), pad_size(columns, depth)))
        net_input = torch.from_numpy(padded)[None].to(
            self._device, memory_format=torch.channels_last
        )
        kind = torch.device(self._device).type
        with torch.autocast(kind, dtype=torch.bfloat16, enabled=self._bfloat16):
            output = self._network(net_input)
        image: Floats = output[0, :, :rows, :columns].mean(dim=0).cpu().numpy()
        return image
