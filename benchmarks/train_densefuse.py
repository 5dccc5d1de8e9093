"""Train the weights of DenseFuse that the package ships.

    pip install scikit-learn
    python benchmarks/train_densefuse.py [-o FILE] [--steps N]

The auto-encoder is trained on gray levels with MSE + 100 (1 - SSIM), as in the paper (Li and Wu,
IEEE TIP 2019, arXiv:1804.08361), but on the pictures that come in scikit-image's wheel and the two
sample photographs of scikit-learn, and with a larger learning rate that falls to zero, which takes
minutes on one processor core. Three pictures are kept apart to say how well it reconstructs what
it has not seen; the tests check the same.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from skimage import data
from skimage.color import rgb2gray, rgba2rgb
from skimage.metrics import peak_signal_noise_ratio
from skimage.transform import rescale
from torch import Tensor, nn

from napari_dip_fusion.methods.densefuse import WEIGHTS, DenseFuseNetwork

TRAINING = (
    *("astronaut", "brick", "cat", "cell", "clock", "grass", "gravel", "hubble_deep_field"),
    *("immunohistochemistry", "moon", "page", "retina", "rocket", "text"),
)
KEPT_APART = ("camera", "coins", "coffee")
WHITE = 255.0
LAMBDA = 100.0


def to_gray(picture: NDArray) -> NDArray[np.float32]:
    picture = rgba2rgb(picture) if picture.shape[-1] == 4 else picture
    values = rgb2gray(picture) if picture.ndim == 3 else picture / 255
    return values.astype(np.float32)


def training_pictures() -> list[NDArray[np.float32]]:
    """Each picture in full and in half size, so that fine detail is not missing."""
    from sklearn.datasets import load_sample_images

    left, right, _ = data.stereo_motorcycle()
    pictures = [getattr(data, name)() for name in TRAINING] + [left, right]
    full = [to_gray(p) for p in pictures + list(load_sample_images().images)]
    return full + [rescale(p, 0.5, anti_aliasing=True).astype(np.float32) for p in full]


def crops(
    pictures: list[NDArray[np.float32]], count: int, side: int, generator: np.random.Generator
) -> Tensor:
    """Random crops, turned and mirrored, with random black and white points."""
    batch = np.empty((count, 1, side, side), dtype=np.float32)
    for crop in batch:
        picture = pictures[generator.integers(len(pictures))]
        row, column = (generator.integers(n - side + 1) for n in picture.shape)
        part = np.rot90(picture[row : row + side, column : column + side], generator.integers(4))
        part = part.T if generator.integers(2) else part
        low, high = sorted(generator.random(2)) if generator.random() < 0.3 else (0, 1)
        crop[0] = low + (high - low) * part
    return torch.from_numpy(batch)


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Mean structural similarity of images in [0, 1], with 7x7 windows."""

    def mean(x: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(x, 7, stride=1)

    mean_a, mean_b = mean(a), mean(b)
    variance = mean(a * a) - mean_a**2 + mean(b * b) - mean_b**2
    covariance = mean(a * b) - mean_a * mean_b
    index = (2 * mean_a * mean_b + 0.01**2) / (mean_a**2 + mean_b**2 + 0.01**2)
    return (index * (2 * covariance + 0.03**2) / (variance + 0.03**2)).mean()


def train(steps: int, *, batch: int, side: int, rate: float, seed: int) -> DenseFuseNetwork:
    """Train on images in [0, 1]; a ReLU network scales with its biases."""
    generator = np.random.default_rng(seed)
    torch.manual_seed(seed)
    network = DenseFuseNetwork()
    for name, parameter in network.named_parameters():
        if name.endswith("weight"):
            nn.init.kaiming_normal_(parameter, nonlinearity="relu")
        else:
            nn.init.constant_(parameter, 0.5 if name.startswith("conv5") else 0.0)
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    pictures = training_pictures()
    start = time.perf_counter()
    for step in range(1, steps + 1):
        images = crops(pictures, batch, side, generator)
        output = network(images)
        error = WHITE**2 * nn.functional.mse_loss(output, images)
        loss = error + LAMBDA * (1 - ssim(output, images))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 100.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0 or step == steps:
            psnr = 10 * np.log10(WHITE**2 / error.item())
            seconds = time.perf_counter() - start
            print(f"{step}/{steps}  {psnr:.1f} dB on this batch  {seconds:.0f} s", flush=True)
    return network


def scale_to_gray_levels(network: DenseFuseNetwork) -> None:
    """Let a network of [0, 1] take 0 to 255: relu(W 255 x + 255 b) = 255 relu(W x + b)."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                parameter.mul_(WHITE)


def report(network: DenseFuseNetwork) -> None:
    for name in KEPT_APART:
        image = to_gray(getattr(data, name)())
        with torch.inference_mode():
            output = network(torch.from_numpy(image)[None, None] * WHITE)[0, 0].numpy() / WHITE
        psnr = peak_signal_noise_ratio(image, output.clip(0, 1), data_range=1)
        print(f"{name}, not seen in training: {psnr:.1f} dB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("-o", "--output", type=Path, default=WEIGHTS)
    parser.add_argument("--steps", type=int, default=2400)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--side", type=int, default=48)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    network = train(
        options.steps,
        batch=options.batch,
        side=options.side,
        rate=options.rate,
        seed=options.seed,
    )
    scale_to_gray_levels(network)
    report(network)
    torch.save(network.state_dict(), options.output)
    print(f"{options.output}: {options.output.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
