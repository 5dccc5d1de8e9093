"""Fusion of pairs that no setting was chosen by, made of pictures that scikit-image ships.

    python benchmarks/pictures.py [-o FOLDER]

All pairs are clean, in gray and 256x256 pixels. *focus*: the left half of one source and the right
half of the other are blurred, by 2 and by 4 pixels; *channels*: red and blue of a photograph;
*stains*: the two dyes of four pieces of stained tissue; *shade*: light that falls off to the right
in one source, to the left in the other; *inverted*: a picture and its negative, each smooth in
another half; *gamma*: one picture under the powers 0.5 and 2. Nothing is downloaded. Every method
that needs no weights of somebody else is compared by the metrics of quality.py.

Writes pictures.json and pictures.md to FOLDER.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean

import numpy as np
from cells import Image, in_gray_levels, stretch
from fluorescence import METHODS, OURS, fuse_by_each
from pairs import SIZE, Floats
from quality import CLEAN_HEADINGS, Figures, markdown_table, metric_cells
from scipy import ndimage
from skimage import data
from skimage.color import rgb2gray, rgb2hed
from skimage.transform import resize

from napari_dip_fusion.metrics import evaluate

GRAY = ("camera", "coins", "moon", "brick", "gravel", "clock")
COLOR = ("astronaut", "chelsea", "coffee", "rocket", "retina", "hubble_deep_field")
LEFT = np.arange(SIZE) < SIZE // 2
# From bright on the left to a fifth of it on the right.
FALL = np.linspace(1, 0.2, SIZE)

Pairs = Iterator[tuple[str, str, list[Image]]]


def pairs() -> Pairs:
    """Yield the kind, the name and the two sources of each pair, before gray levels."""
    for name in GRAY:
        yield from of_one_picture(name, square(getattr(data, name)() / 255))
    for name in COLOR:
        picture = square(getattr(data, name)() / 255)
        yield "channels", name, [picture[..., 0], picture[..., 2]]
        yield from of_one_picture(name, rgb2gray(picture))
    dyes = ndimage.gaussian_filter(rgb2hed(data.immunohistochemistry()), (0.7, 0.7, 0))
    for row in (0, SIZE):
        for column in (0, SIZE):
            piece = dyes[row : row + SIZE, column : column + SIZE]
            yield "stains", f"{row}, {column}", [stretch(piece[..., dye]) for dye in (0, 2)]


def of_one_picture(name: str, picture: Image) -> Pairs:
    for sigma in (2, 4):
        blurred = ndimage.gaussian_filter(picture, sigma)
        pair = [np.where(LEFT, blurred, picture), np.where(LEFT, picture, blurred)]
        yield f"focus, {sigma} pixels", name, pair
    yield "shade", name, [picture * FALL, picture * FALL[::-1]]
    smooth = ndimage.gaussian_filter(picture, 3)
    negative = [np.where(LEFT, picture, smooth), 1 - np.where(LEFT, smooth, picture)]
    yield "inverted", name, negative
    yield "gamma", name, [picture**0.5, picture**2]


def square(picture: Image) -> Image:
    """Return the middle of a picture, reduced to the size that all have."""
    side = min(picture.shape[:2])
    top, left = ((n - side) // 2 for n in picture.shape[:2])
    middle = picture[top : top + side, left : left + side]
    small = resize(middle, (SIZE, SIZE, *picture.shape[2:]), anti_aliasing=True)
    return np.asarray(small).clip(0, 1)


def measure(images: Floats) -> dict[str, Figures]:
    """Return the metrics of each method's fused image of one pair, shape (2, M, N)."""
    which, fused = tuple(CLEAN_HEADINGS), fuse_by_each(images)
    return {n: evaluate(images, i, data_range=1.0, which=which) for n, i in fused.items()}


def average(results: Sequence[dict[str, Figures]], method: str) -> Figures:
    return {m: mean(r[method][m] for r in results) for m in CLEAN_HEADINGS}


def tables(results: dict[str, dict[str, dict[str, Figures]]]) -> Iterator[str]:
    names = (OURS, *METHODS)
    every = [figures for kind in results.values() for figures in kind.values()]
    yield f"Means over {len(every)} pairs.\n"
    rows = [[n, *metric_cells(average(every, n), CLEAN_HEADINGS)] for n in names]
    yield markdown_table(["", *CLEAN_HEADINGS.values()], rows)
    yield "## VIF of each kind\n"
    by_kind = {f"{k} ({len(r)})": list(r.values()) for k, r in results.items()}
    rows = [[n, *(f"{average(r, n)['vif']:.3f}" for r in by_kind.values())] for n in names]
    yield markdown_table(["", *by_kind], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("-o", "--output", type=Path, default=Path("pictures"), metavar="FOLDER")
    folder = parser.parse_args().output
    results: dict[str, dict[str, dict[str, Figures]]] = {}
    for kind, name, pair in pairs():
        results.setdefault(kind, {})[name] = measure(in_gray_levels(pair))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pictures.json").write_text(json.dumps(results, indent=1) + "\n")
    text = "\n".join(tables(results))
    (folder / "pictures.md").write_text(text)
    print(text, end="")


if __name__ == "__main__":
    main()
