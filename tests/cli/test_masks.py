"""Masks from files, on the grid of their source or another one."""

from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from napari_dip_fusion.cli.masks import hash_masks, read_mask
from napari_dip_fusion.io import write_image
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.views import View

SEEN = np.zeros((20, 30), bool)
SEEN[4:, 6:] = True
PICTURE = Source(np.zeros((20, 30), np.uint8))


def place(pixels: np.ndarray, *steps: float, axes: str = "zyx") -> Source:
    units = tuple("s" if axis == "t" else "mm" for axis in axes)
    return Source(pixels, axes=tuple(axes), units=units, affine=np.diag([*steps, 1.0]))


@pytest.mark.parametrize(
    "pixels",
    [
        SEEN,
        SEEN.astype(np.uint8),
        SEEN * np.uint8(255),
        np.where(SEEN, 2.5, 0).astype(np.float32),
        np.where(SEEN, 2.5, np.nan).astype(np.float32),
        np.dstack([SEEN * np.uint8(9), *[np.zeros((20, 30), np.uint8)] * 2]),
        np.dstack([SEEN * np.uint8(9)] * 3 + [np.full((20, 30), 255, np.uint8)]),
    ],
    ids=["bool", "one", "white", "float", "nan", "red", "opaque"],
)
def test_what_is_not_0_was_seen(tmp_path: Path, pixels: np.ndarray) -> None:
    import tifffile

    path = tmp_path / "mask.tif"
    kind = "rgb" if pixels.ndim == 3 else "minisblack"
    tifffile.imwrite(path, pixels, photometric=kind)
    seen = read_mask(path, PICTURE, "a.png")
    assert seen.dtype == bool
    np.testing.assert_array_equal(seen, SEEN)


def test_a_picture_is_a_mask_of_the_same_pixels_of_a_placed_image(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    iio.imwrite(path, SEEN.astype(np.uint8))
    np.testing.assert_array_equal(
        read_mask(path, place(PICTURE.data, 2, 2, axes="yx"), "a.nii"), SEEN
    )


def test_a_mask_on_another_grid_is_taken_from_where_it_lies(tmp_path: Path) -> None:
    coarse = np.zeros((4, 5, 6), np.uint8)
    coarse[1:3, 2:, 3:] = 1
    fine = coarse.repeat(2, 0).repeat(2, 1).repeat(2, 2).astype(bool)
    mask = place(coarse, 4, 2, 2)
    # The pixels of the image lie half a pixel of its own beside those of the mask.
    offset = np.eye(4)
    offset[:3, 3] = -1, -0.5, -0.5
    image = place(fine.astype(np.uint8), 2, 1, 1)
    image = image.replace(affine=offset @ image.affine)
    path = write_image(tmp_path / "mask.nii.gz", mask)
    np.testing.assert_array_equal(read_mask(path, image, "a.nii"), fine)
    # Beyond its own pixels a mask says that nothing was seen.
    part = write_image(tmp_path / "part.nii.gz", mask.replace(data=coarse[:, :3] + 1))
    seen = read_mask(part, image, "a.nii")
    assert seen[:, :6].all()
    assert not seen[:, 6:].any()


def test_a_mask_stored_the_other_way_round_lies_where_the_world_says(tmp_path: Path) -> None:
    image = place(np.zeros((4, 20, 30), np.uint8), 2, 1, 1)
    seen = np.zeros((4, 20, 30), bool)
    seen[0, :, 3:7] = True
    turned = place(seen[:, ::-1].astype(np.uint8), 2, -1, 1)
    affine = turned.affine.copy()
    affine[1, 3] = 19
    path = write_image(tmp_path / "mask.nii", turned.replace(affine=affine))
    np.testing.assert_array_equal(read_mask(path, image, "a.nii"), seen)


def test_one_mask_stands_for_all_frames_of_a_series(tmp_path: Path) -> None:
    image = place(np.zeros((3, 4, 20, 30), np.uint8), 1, 2, 1, 1, axes="tzyx")
    volume = np.broadcast_to(SEEN, (4, 20, 30)).astype(np.uint8)
    path = write_image(tmp_path / "mask.nii", place(volume, 2, 1, 1))
    seen = read_mask(path, image, "a.nii")
    assert seen.shape == (3, 4, 20, 30)
    np.testing.assert_array_equal(seen, np.broadcast_to(SEEN, seen.shape))


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (SEEN[1:], r"mask.png does not fit a.png: .*19 x 30 pixels.*20 x 30"),
        (np.zeros((20, 30)), "mask.png leaves nothing of a.png: it is 0 everywhere"),
    ],
)
def test_masks_that_do_not_fit(tmp_path: Path, pixels: np.ndarray, message: str) -> None:
    path = tmp_path / "mask.png"
    iio.imwrite(path, pixels.astype(np.uint8))
    with pytest.raises(ValueError, match=message):
        read_mask(path, PICTURE, "a.png")
    with pytest.raises(ValueError, match=r"does not fit|leaves nothing"):
        read_mask(path, place(PICTURE.data, 2, 2, axes="yx"), "a.nii")


def test_a_mask_of_another_place_does_not_fit(tmp_path: Path) -> None:
    mask = place(np.ones((4, 20, 30), np.uint8), 2, 1, 1)
    far = mask.affine.copy()
    far[:3, 3] = 500
    path = write_image(tmp_path / "mask.nii", mask.replace(affine=far))
    with pytest.raises(ValueError, match=r"mask.nii does not fit a.nii: the image.*do not overlap"):
        read_mask(path, mask, "a.nii")


def test_masks_are_told_apart_by_what_they_show(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.png", "b.png", "c.png")]
    for path, pixels in zip(paths, (SEEN, SEEN * 2, ~SEEN), strict=True):
        iio.imwrite(path, pixels.astype(np.uint8))
    one, none, same, other = hash_masks([str(paths[0]), "-", *map(str, paths[1:])])
    assert none is None
    assert one == same != other


def test_a_mask_that_lies_on_its_image_is_read_part_by_part(tmp_path) -> None:
    pixels = np.zeros((600, 40), np.uint8)
    pixels[500:, 20:] = 7
    path = tmp_path / "seen.ome.zarr"
    write_image(path, Source(pixels, axes="yx", units=("um", "um")))
    image = Source(np.ones(pixels.shape), axes="yx", units=("um", "um"))
    seen = read_mask(path, image, "image")
    assert isinstance(seen, View)
    np.testing.assert_array_equal(seen, pixels != 0)
