"""How well filaments of one channel survive beside bright nuclei of the other.

    python benchmarks/fluorescence.py [-o FOLDER]

The pictures come from cells.py; every method that needs no weights of somebody else is compared.
The ring is where a nucleus of x1 may harm the other channel, x2: at most 8 pixels outside of a
nucleus, where x2 is the stronger source. Gray levels are of 255 throughout.

Moat: mean over the ring of max(0, x2 - F), in gray levels. It is 0 for F = x2 and F = max(x1, x2).

Filament contrast: for each point on the crest of a filament in the ring, the contrast of an image I
is I on the crest less the mean of I three pixels to its left and right, across the filament; a
slope, as beside a nucleus, cancels. A point counts if both neighbors lie outside of nuclei, x2 has
a contrast of 8 gray levels or more, and max(x1, x2) keeps half of it: elsewhere the light of the
nucleus itself outshines the filament. The filament is weak there if its contrast is 25 or less.
The figure is the mean over points of contrast of F over contrast of x2, each clipped to [0, 1], so
that a moat beside one filament does not make good for another filament that is lost. It is 1 for
F = x2, and for F = max(x1, x2) where x1 is the darker one in all three places.

Writes fluorescence.md, fluorescence.json and fluorescence.png, a contact sheet, to FOLDER.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from cells import Cells, Floats, Image, Mask, sets
from numpy.typing import NDArray
from quality import REGISTERED, markdown_table
from scipy import ndimage

from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.fusion import fuse
from napari_dip_fusion.methods import fuse_stack

OURS = "ours"
METHODS = tuple(name for name in REGISTERED if name != "consensus")  # without noise it is ours
SHOWN = (OURS, "laplacian", "maximum")
# Side of the part of a picture that the contact sheet enlarges.
ZOOM = 64
RING = 8
# Pixels from a filament's crest to the places beside it.
BESIDE = 3
LEAST_CONTRAST, WEAK_CONTRAST = 8 / 255, 25 / 255


def fuse_by_each(images: Floats) -> dict[str, Floats]:
    """Return what the default preset and each method make of clean images in [0, 1]."""
    windows = ((0.0, 1.0),) * len(images)
    config = FusionConfig.preset("fast", intensity=windows, noise="none")
    ours = fuse(list(images), config).image
    return {OURS: ours, **{name: fuse_stack(name, images) for name in METHODS}}


def find_ring(images: Floats, nuclei: Mask) -> Mask:
    """Return where x2 shows beside a nucleus of x1; `images` has shape (2, M, N)."""
    away = ndimage.distance_transform_edt(~nuclei)
    return np.asarray((away > 0) & (away <= RING) & (images[1] > images[0]))


def moat(images: Floats, nuclei: Mask, fused: Floats) -> float:
    """Return by how many of 255 gray levels a fused image is darker than x2 in the ring."""
    lost = np.maximum(images[1] - fused, 0)
    return 255 * float(lost[find_ring(images, nuclei)].mean())


@dataclass(frozen=True, eq=False)
class Crest:
    """Points on the crests of filaments, as rows and columns of shape (2, P)."""

    points: Image
    across: Image
    """Unit vectors across the filaments, shape (2, P)."""

    def sample(self, image: NDArray[Any], offset: float) -> Image:
        where = self.points + offset * self.across
        values = ndimage.map_coordinates(image.astype(float), where, order=1, mode="nearest")
        return np.asarray(values)

    def contrast(self, image: NDArray[Any]) -> Image:
        beside = self.sample(image, BESIDE) + self.sample(image, -BESIDE)
        return self.sample(image, 0) - beside / 2

    def chosen(self, some: Mask) -> "Crest":
        return Crest(self.points[:, some], self.across[:, some])


def find_crest(images: Floats, nuclei: Mask, sigma: float = 1.2) -> Crest:
    """Return the points of filaments that count: those of the ring, clear of nuclei."""
    channel = images[1].astype(float)
    smooth = ndimage.gaussian_filter(channel, sigma)
    crest = Crest(*across_lines(channel, sigma, find_ring(images, nuclei)))
    top = crest.sample(smooth, 0) > np.maximum(crest.sample(smooth, 1), crest.sample(smooth, -1))
    clear = crest.sample(nuclei, BESIDE) + crest.sample(nuclei, -BESIDE) == 0
    there = crest.contrast(channel)
    visible = crest.contrast(images.max(axis=0)) >= there / 2
    return crest.chosen(top & clear & visible & (there >= LEAST_CONTRAST))


def across_lines(channel: Image, sigma: float, where: Mask) -> tuple[Image, Image]:
    """Return points and the directions in which the channel bends most sharply downwards there."""
    second = {o: ndimage.gaussian_filter(channel, sigma, order=o) for o in ((2, 0), (1, 1), (0, 2))}
    rows, mixed, columns = (s[where] for s in second.values())
    hessian = np.stack([np.stack([rows, mixed]), np.stack([mixed, columns])]).transpose(2, 0, 1)
    _, vectors = np.linalg.eigh(hessian)  # the most negative first
    return np.stack(np.nonzero(where)).astype(float), vectors[:, :, 0].T


def filament_contrast(images: Floats, nuclei: Mask, fused: Floats) -> tuple[float, float]:
    """Return the share of contrast that filaments keep: all of them, and weak ones alone."""
    crest = find_crest(images, nuclei)
    there = crest.contrast(images[1])
    left = (crest.contrast(fused) / there).clip(0, 1)
    return float(left.mean()), float(left[there <= WEAK_CONTRAST].mean())


@dataclass(frozen=True)
class Figures:
    """What a method did to one picture."""

    moat: float
    all: float
    weak: float


@dataclass(frozen=True, eq=False)
class Case:
    """One picture, fused by every method."""

    cells: Cells
    fused: dict[str, Floats]

    @classmethod
    def of(cls, cells: Cells) -> "Case":
        return cls(cells, fuse_by_each(cells.images))

    def measure(self) -> dict[str, Figures]:
        where = self.cells.images, self.cells.nuclei
        return {
            name: Figures(moat(*where, image), *filament_contrast(*where, image))
            for name, image in self.fused.items()
        }

    def deepest(self) -> tuple[slice, slice]:
        """Return the part of the picture where the moats of ours are deepest."""
        images = self.cells.images
        lost = np.maximum(images[1] - self.fused[OURS], 0) * find_ring(images, self.cells.nuclei)
        mean_lost = ndimage.uniform_filter(lost, ZOOM, mode="constant")
        half = ZOOM // 2
        inner = mean_lost[half:-half, half:-half]
        row, column = np.unravel_index(inner.argmax(), inner.shape)
        return slice(int(row), int(row) + ZOOM), slice(int(column), int(column) + ZOOM)


Results = dict[str, dict[str, Figures]]
"""Figures by picture and method."""


def tables(results: Results) -> Iterator[str]:
    names = (OURS, *METHODS)
    yield f"Means over {len(results)} pictures; moats in gray levels of 255.\n"
    head = ["", "moat", "worst picture's moat", "contrast of filaments", "of weak filaments"]
    yield markdown_table(head, [mean_cells(n, [r[n] for r in results.values()]) for n in names])
    for title, name, digits in (("Moat", "moat", 1), ("Weak filaments", "weak", 2)):
        yield f"## {title} in each picture\n"
        rows = [
            [n, *(f"{getattr(r[n], name):.{digits}f}" for r in results.values())] for n in names
        ]
        yield markdown_table(["", *results], rows)


def mean_cells(name: str, figures: Sequence[Figures]) -> list[str]:
    moats = [f.moat for f in figures]
    shares = (mean(f.all for f in figures), mean(f.weak for f in figures))
    return [name, f"{mean(moats):.1f}", f"{max(moats):.1f}", *(f"{s:.2f}" for s in shares)]


def draw_sheet(cases: Sequence[Case], path: Path) -> None:
    """Draw each picture in a row: its sources, fused images, and where ours is worst, enlarged."""
    from matplotlib.colors import PowerNorm
    from matplotlib.figure import Figure

    titles = ["nuclei", "filaments", *SHOWN, "part: filaments", *(f"part: {n}" for n in SHOWN)]
    figure = Figure(figsize=(1.7 * len(titles), 1.75 * len(cases)), layout="constrained")
    grid = figure.subplots(len(cases), len(titles), squeeze=False)
    for row, case in zip(grid, cases, strict=True):
        whole = [*case.cells.images, *(case.fused[n] for n in SHOWN)]
        part = case.deepest()
        for ax, image in zip(row, [*whole, *(i[part] for i in whole[1:])], strict=True):
            # Brighter than linear: what is at stake is dark.
            ax.imshow(image, cmap="gray", norm=PowerNorm(0.6, 0, 1))
            ax.set(xticks=[], yticks=[])
        row[0].set_ylabel(case.cells.name)
        row[len(whole)].contour(case.cells.nuclei[part], [0.5], colors="tab:red", linewidths=0.8)
    for ax, title in zip(grid[0], titles, strict=True):
        ax.set_title(title, fontsize=9)
    figure.savefig(path, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("-o", "--output", type=Path, default=Path("fluorescence"), metavar="FOLDER")
    folder = parser.parse_args().output
    cases = [Case.of(cells) for cells in sets()]
    results = {case.cells.name: case.measure() for case in cases}
    folder.mkdir(parents=True, exist_ok=True)
    figures = {c: {n: asdict(f) for n, f in r.items()} for c, r in results.items()}
    (folder / "fluorescence.json").write_text(json.dumps(figures, indent=1) + "\n")
    text = "\n".join(tables(results))
    (folder / "fluorescence.md").write_text(text)
    draw_sheet(cases, folder / "fluorescence.png")
    print(text, end="")


if __name__ == "__main__":
    main()
