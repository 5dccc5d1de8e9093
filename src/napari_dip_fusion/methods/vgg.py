"""The first layers of VGG-19, and the file that their ImageNet weights come from.

The network is that of K. Simonyan, A. Zisserman, "Very Deep Convolutional Networks for Large-Scale
Image Recognition", ICLR 2015, arXiv:1409.1556.
"""

import os
from pathlib import Path

import torch
from torch import Tensor, nn

from napari_dip_fusion.interruption import checkpoint
from napari_dip_fusion.methods.weights import load_weights

URL = "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth"
"""Where torchvision's ImageNet weights are; the name ends in the start of their SHA-256."""

# torch refuses a download whose SHA-256 does not start like this.
_HASH = "dcbb9e9d"

# Output channels of each 3x3 convolution up to conv4_1, the last that is read; "pool" halves the
# image. The convolutions after it would be 16.5 million parameters more, of no use here.
_LAYOUT = (64, 64, "pool", 128, 128, "pool", 256, 256, 256, 256, "pool", 512)


class Vgg19Features(nn.Module):
    """VGG-19 up to conv4_1, 3.5 million parameters under the keys of torchvision.

    Parameters
    ----------
    after_relu : bool
        Whether the features are read after their ReLU or before it.
    """

    def __init__(self, *, after_relu: bool = True) -> None:
        super().__init__()
        self.after_relu = after_relu
        layers: list[nn.Module] = []
        channels = 3
        for entry in _LAYOUT:
            if isinstance(entry, int):
                layers += [nn.Conv2d(channels, entry, 3, padding=1), nn.ReLU()]
                channels = entry
            else:
                layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, after_relu: bool = True) -> "Vgg19Features":
        """Return the network with the weights of a file.

        Raises
        ------
        ValueError
            If the file is missing, cannot be read or does not fit.
        """
        # On the meta device nothing is allocated, and no random number is drawn for weights that
        # are replaced at once.
        with torch.device("meta"):
            network = cls(after_relu=after_relu)
        shapes = {key: tensor.shape for key, tensor in network.state_dict().items()}
        network.load_state_dict(load_weights(path, shapes), assign=True)
        return network

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the features at conv1_1, conv2_1, conv3_1 and conv4_1.

        Parameters
        ----------
        images : Tensor of shape (B, 3, M, N)

        Returns
        -------
        list of four Tensors of shape (B, C, M / s, N / s), s = 1, 2, 4, 8
        """
        read = []
        first_of_block = True
        x = images
        for layer in self.features:
            checkpoint()
            x = layer(x)
            if isinstance(layer, nn.Conv2d) and first_of_block:
                read.append(torch.relu(x) if self.after_relu else x)
                first_of_block = False
            elif isinstance(layer, nn.MaxPool2d):
                first_of_block = True
        return read


def find_cached_weights(*, download: bool = False) -> Path:
    """Return the path of torchvision's weights in torch's cache.

    Parameters
    ----------
    download : bool
        Download the file (548 MB) where it is missing, and check its SHA-256.

    Raises
    ------
    ValueError
        If the file is missing, or cannot be downloaded whole.
    """
    file = Path(torch.hub.get_dir()) / "checkpoints" / URL.rpartition("/")[2]
    if file.is_file():
        return file
    if not download:
        raise ValueError(
            f"the ImageNet weights of VGG-19 are not in {file}; give their file with weights=..., "
            f"or let them be downloaded with download=True (548 MB from {URL})"
        )
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(URL, str(file), hash_prefix=_HASH, progress=False)
    except (OSError, RuntimeError) as error:
        raise ValueError(
            f"the weights of VGG-19 could not be downloaded from {URL}: {error}; download the "
            "file by hand and give it with weights=..."
        ) from error
    return file
