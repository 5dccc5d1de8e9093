"""Fuse the codes of a trained auto-encoder, DenseFuse (Li and Wu 2019)."""

import os
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_dip_fusion.methods.weights import load_weights
from napari_dip_fusion.sensor.strips import cut_strips

Floats = NDArray[np.float32]

WEIGHTS = Path(__file__).with_name("densefuse.pth")
"""The weights of the package, trained by ``benchmarks/train_densefuse.py``."""

CODE_RULES = ("l1", "addition")
"""How codes are weighed; see :func:`weigh_codes`."""

_WHITE = 255.0  # gray level of white in the network, as in the public release

# Rows to either side that an output row depends on: nine 3x3 windows follow each other, those of
# four convolutions, the mean of the activity, and four convolutions.
_HALO = 9

# Pixels of all sources that are worked on at once; their codes of 64 channels are 256 MB.
_STRIP_PIXELS = 2**20


def densefuse(
    sources: Floats, *, rule: str = "l1", weights: str | os.PathLike[str] | None = None
) -> Floats:
    r"""Fuse the codes of an auto-encoder with a dense block.

    .. math::

        F = D\left( \sum_i w_i E(X_i) \right), \qquad
        w_i = \frac{C_i}{\sum_j C_j}, \qquad C_i = \mathrm{mean}_{3 \times 3} \| E(X_i) \|_1

    with encoder E and decoder D, and the l1 norm over the 64 channels of the code.

    Parameters
    ----------
    sources : ndarray of shape (K, M, N), float32 in [0, 1]
    rule : {"l1", "addition"}
        The weights above, or :math:`w_i = 1/K`: the "addition" of [1]_ with the mean in place of
        the sum, as in the authors' PyTorch release.
    weights : path-like, optional
        A ``state_dict`` file in the layout of that release (gray, 74,193 parameters). By default
        the weights of this package.

    Returns
    -------
    ndarray of shape (M, N), float32 in [0, 1]
        The fused image is clipped to this range.

    Raises
    ------
    ValueError
        If there is no such rule, or the weights cannot be read or do not fit.

    Notes
    -----
    This is the method of [1]_. The weights of the package are not those of its authors, which come
    without a license: ``benchmarks/train_densefuse.py`` trained them as in the paper, but on fewer
    and other pictures, those of scikit-image's wheel and the two photographs of scikit-learn, with
    the loss MSE + 100 (1 - SSIM) on gray levels. They reconstruct three pictures that they were
    not trained on (camera, coins, coffee) with 48 to 50 dB PSNR. A pixel of a source takes 74,000
    multiplications: a pair of 256x256 about 0.3 s on two cores, with at most about 1 GB of memory.

    References
    ----------
    .. [1] H. Li, X.-J. Wu, "DenseFuse: A Fusion Approach to Infrared and Visible Images", IEEE
       Transactions on Image Processing 28(5) (2019), arXiv:1804.08361,
       doi:10.1109/TIP.2018.2887342.
    """
    if rule not in CODE_RULES:
        raise ValueError(f"rule must be one of {', '.join(CODE_RULES)}, got {rule!r}")
    network = load_network(WEIGHTS if weights is None else weights)
    rows, columns = sources.shape[1:]
    # The convolutions reflect the image at its border, which needs two pixels.
    padded = np.pad(sources, ((0, 0), (0, rows == 1), (0, columns == 1)), mode="edge")
    images = torch.from_numpy(padded)[:, None] * _WHITE
    fused = np.empty(padded.shape[1:], dtype=np.float32)
    # Strips are at least four times as high as their halo, whose rows are computed twice.
    size = max(_STRIP_PIXELS // (len(padded) * padded.shape[2]), 4 * _HALO)
    with torch.inference_mode():
        for here, around, inside in cut_strips(padded.shape[1], size, _HALO):
            codes = network.encode(images[:, :, around])
            image = network.decode((codes * weigh_codes(codes, rule)).sum(dim=0, keepdim=True))
            fused[here] = image[0, 0, inside].numpy() / _WHITE
    return fused[:rows, :columns].clip(0, 1)


def load_network(path: str | os.PathLike[str]) -> "DenseFuseNetwork":
    """Return the network with the weights of a file.

    Raises
    ------
    ValueError
        If the file is missing, cannot be read or does not fit.
    """
    # On the meta device nothing is allocated, and no random number is drawn for weights that are
    # replaced at once.
    with torch.device("meta"):
        network = DenseFuseNetwork()
    shapes = {key: tensor.shape for key, tensor in network.state_dict().items()}
    network.load_state_dict(load_weights(path, shapes), assign=True)
    return network


def weigh_codes(codes: Tensor, rule: str) -> Tensor:
    """Return the weight of each code at each pixel; they sum to 1.

    Parameters
    ----------
    codes : Tensor of shape (K, C, M, N)
    rule : {"l1", "addition"}
        The share of each source in the l1 norms, averaged over 3x3 pixels, or 1 / K.

    Returns
    -------
    Tensor of shape (K, 1, M, N)
    """
    count, _, rows, columns = codes.shape
    if rule == "addition":
        return codes.new_full((count, 1, rows, columns), 1 / count)
    activity = codes.abs().sum(dim=1, keepdim=True)
    activity = nn.functional.pad(activity, (1, 1, 1, 1), mode="replicate")
    activity = nn.functional.avg_pool2d(activity, 3, stride=1)
    total = activity.sum(dim=0, keepdim=True)
    return torch.where(total > 0, activity / total, 1 / count)


class DenseFuseNetwork(nn.Module):
    """The auto-encoder of DenseFuse on gray levels from 0 to 255.

    The names of its modules are those of the public release, so that files of weights fit.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = _Layer(1, 16)
        self.DB1 = _DenseBlock()
        self.conv2 = _Layer(64, 64)
        self.conv3 = _Layer(64, 32)
        self.conv4 = _Layer(32, 16)
        self.conv5 = _Layer(16, 1)

    def encode(self, images: Tensor) -> Tensor:
        """Return the codes of images.

        Parameters
        ----------
        images : Tensor of shape (B, 1, M, N)

        Returns
        -------
        Tensor of shape (B, 64, M, N)
        """
        codes: Tensor = self.DB1(self.conv1(images))
        return codes

    def decode(self, codes: Tensor) -> Tensor:
        """Return the images that codes stand for, shape (B, 1, M, N)."""
        images: Tensor = self.conv5(self.conv4(self.conv3(self.conv2(codes))))
        return images

    def forward(self, images: Tensor) -> Tensor:
        """Return the reconstruction of images, on which the network is trained."""
        return self.decode(self.encode(images))


class _Layer(nn.Module):
    """A 3x3 convolution and a ReLU; in the public release the last layer has one, too."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv2d = nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="reflect")

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.conv2d(x))


class _DenseLayer(nn.Module):
    """A layer whose 16 output channels are put beside its input."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.dense_conv = _Layer(inputs, 16)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.dense_conv(x)], dim=1)


class _DenseBlock(nn.Module):
    """Three dense layers, from 16 channels to 64."""

    def __init__(self) -> None:
        super().__init__()
        self.denseblock = nn.Sequential(*(_DenseLayer(n) for n in (16, 32, 48)))

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.denseblock(x))
