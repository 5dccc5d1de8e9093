"""The first layers of VGG-19, and where their ImageNet weights come from."""

import os
from pathlib import Path

import torch
from torch import Tensor, nn

from napari_dip_fusion.methods.weights import load_weights

URL = "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth"
"""torchvision's ImageNet weights; the name ends in the start of the file's SHA-256."""

_HASH = "dcbb9e9d"

# Width of each convolution up to conv4_1; "pool" halves the image.
_LAYOUT = (64, 64, "pool", 128, 128, "pool", 256, 256, 256, 256, "pool", 512)


class Vgg19Features(nn.Module):
    """VGG-19 up to conv4_1, with the keys of torchvision; 3.5 M parameters.

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
        """Return the network with the weights of a file."""
        with torch.device("meta"):  # no memory, and the random state stays as it was
            network = cls(after_relu=after_relu)
        shapes = {key: tensor.shape for key, tensor in network.state_dict().items()}
        network.load_state_dict(load_weights(path, shapes), assign=True)
        return network

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the features at conv1_1, conv2_1, conv3_1 and conv4_1."""
        read = []
        first_of_block = True
        x = images
        for layer in self.features:
            x = layer(x)
            if isinstance(layer, nn.Conv2d) and first_of_block:
                read.append(torch.relu(x) if self.after_relu else x)
                first_of_block = False
            elif isinstance(layer, nn.MaxPool2d):
                first_of_block = True
        return read


def cached_weights(*, download: bool = False) -> Path:
    """Return torchvision's weights in torch's cache.

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
