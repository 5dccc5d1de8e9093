"""The image pairs that the benchmarks share, at one size, and the noise put on them."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from skimage.metrics import structural_similarity
from skimage.transform import resize

from napari_dip_fusion.io import read_image
from napari_dip_fusion.samples import SAMPLES
from napari_dip_fusion.sources.prepare import prepare_sources

Floats = NDArray[np.float32]
Window = tuple[float, float]

KINDS = {
    "ct_mr": ("_ct.png", "_mr.png"),
    "ir_vis": ("_ir.png", "_vis.png"),
    "multi_focus": ("-A.jpg", "-B.jpg"),
    "mr_mr": ("_t1.tif", "_t2.tif"),
}
"""Folders of DATA, and how the names of a pair's two files end."""

PLANES = ("head", "noisy-head", "focus-pair", "focus-stack")
"""The samples of this package that are planes; volumes.py measures the others."""

SIZE = 256

SPECKLE = 0.2
"""Standard deviation of the factor around 1 that speckle multiplies a source by."""


@dataclass(frozen=True)
class Pair:
    """Sources of one scene, not read yet."""

    kind: str
    name: str
    read: Callable[[], Sequence[ArrayLike]]

    @property
    def key(self) -> str:
        return f"{self.kind}/{self.name}"

    def images(self, size: int | None = SIZE) -> Floats:
        """Return the sources in gray and in [0, 1], shape (K, M, N).

        They are reduced to `size` pixels a side and to 256 gray levels; None leaves their size.
        """
        images = prepare_sources(self.read()).images
        if size is None or images.shape[1:] == (size, size):
            return images
        reduced = [resize(i, (size, size), order=1, anti_aliasing=True) for i in images]
        return (np.rint(np.stack(reduced) * 255) / 255).astype(np.float32)


def pairs_of(
    data: Path | None, kinds: Mapping[str, tuple[str, str]] = KINDS
) -> dict[str, list[Pair]]:
    """Return all pairs of a folder by kind; the synthetic samples without a folder."""
    if data is None:
        return {n: [Pair(n, "sample", partial(_sample, n))] for n in PLANES}
    found = {}
    for kind, (first, second) in kinds.items():
        names = sorted(p.name.removesuffix(first) for p in (data / kind).glob(f"*{first}"))
        files = [[data / kind / f"{name}{end}" for end in (first, second)] for name in names]
        found[kind] = [
            Pair(kind, name, partial(_files, paths))
            for name, paths in zip(names, files, strict=True)
        ]
    return {kind: pairs for kind, pairs in found.items() if pairs}


def chosen(data: Path | None, wanted: str | None) -> dict[str, list[Pair]]:
    """Return the pairs of some kinds: ``ct_mr,ir_vis/Camp`` names a kind and a single pair."""
    there = pairs_of(data)
    if wanted is None:
        return there
    result: dict[str, list[Pair]] = {}
    for text in wanted.split(","):
        kind, _, name = text.partition("/")
        some = [p for p in there.get(kind, []) if name in ("", p.name)]
        if not some:
            raise SystemExit(f"there is no {text}; the kinds are {', '.join(there)}")
        result.setdefault(kind, []).extend(some)
    return result


def _sample(name: str) -> Sequence[ArrayLike]:
    return SAMPLES[name]().sources


def _files(paths: Sequence[Path]) -> Sequence[ArrayLike]:
    return [np.asarray(read_image(path).data) for path in paths]


@dataclass(frozen=True)
class Noise:
    """Noise to put on sources; see :func:`parse_noise` for the names."""

    name: str
    sigma: float = 0.0
    clipped: bool = True
    speckle: bool = False

    def added(self, clean: Floats, seed: int = 0) -> Floats:
        """Return noisy sources: Gaussian noise on each, or speckle on the second."""
        rng = np.random.default_rng(seed)
        if self.speckle:
            noisy = clean.copy()
            noisy[1] *= 1 + rng.normal(0, SPECKLE, clean[1].shape)
        else:
            noisy = clean + (rng.normal(0, self.sigma, clean.shape) if self.sigma else 0)
        return (noisy.clip(0, 1) if self.clipped else noisy).astype(np.float32)

    def sigmas(self, clean: Floats) -> list[float]:
        """Return the true standard deviation of the noise of each source (speckle: its mean)."""
        if self.speckle:
            level = SPECKLE * float(np.sqrt(np.mean(np.square(clean[1]))))
            return [level if i == 1 else 0.0 for i in range(len(clean))]
        return [self.sigma] * len(clean)


CLEAN = Noise("clean")


def parse_noise(name: str) -> Noise:
    """Return the noise of a name: clean, speckle, gaussian-25 or gaussian-25-unclipped."""
    kind, *rest = name.split("-")
    if name == "clean":
        return CLEAN
    if name == "speckle":
        return Noise(name, speckle=True)
    try:
        if kind != "gaussian" or rest[1:] not in ([], ["unclipped"]):
            raise ValueError
        return Noise(name, float(rest[0]) / 255, clipped=not rest[1:])
    except (ValueError, IndexError):
        raise argparse.ArgumentTypeError(
            f"noise is clean, speckle, gaussian-SIGMA or gaussian-SIGMA-unclipped, got {name!r}"
        ) from None


def likeness(image: Floats, truth: Floats) -> dict[str, float]:
    """Return PSNR (dB, at most 100) and SSIM of an image for a white of 1."""
    error = float(np.mean(np.square(image.astype(np.float64) - truth)))
    return {
        "psnr": -10 * float(np.log10(max(error, 1e-10))),
        "ssim": float(structural_similarity(truth, image, data_range=1.0)),
    }
