"""What is fused block by block goes into one file with its sources, none of them read whole."""

import numpy as np
import pytest

from napari_dip_fusion import FusionConfig, Source, fuse_blocks
from napari_dip_fusion.blocks import output, run
from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io import read_images, streaming, write_images
from napari_dip_fusion.io.tiff import tiles

CLEAN = FusionConfig(noise="none", restore="never")
UM = ("um", "um")
MASK = np.ones((96, 112), bool)
MASK[:9] = False


class Lazy:
    """An array that remembers how much is read of it at once."""

    def __init__(self, pixels):
        self.pixels, self.sizes = pixels, []
        self.shape, self.dtype, self.ndim = pixels.shape, pixels.dtype, pixels.ndim

    def __getitem__(self, index):
        part = self.pixels[index]
        self.sizes.append(part.size)
        return part


@pytest.fixture
def sources():
    """Return a source, and one of other pixels, which ends within the first."""
    rows, columns = np.mgrid[:192, :320]
    wave = 1000 + 900 * np.sin(rows / 9) * np.cos(columns / 7)
    coarse = (wave + columns)[:96, :112].astype(np.float32)
    return [
        Source(Lazy(wave.astype(np.uint16)), units=UM, name="a", metadata={"patient": "Doe"}),
        Source(Lazy(coarse), affine=np.diag([2, 2, 1.0]), units=UM, name="b", mask=MASK),
    ]


# Whoever opens a bundle is warned if a source is not what was fused.
@pytest.mark.filterwarnings("error")
def test_a_bundle_holds_sources_and_image_and_a_failure_loses_no_block(
    tmp_path, monkeypatch, sources
):
    options = {"block": 128, "config": CLEAN}
    zarr = fuse_blocks(sources, tmp_path / "f.ome.zarr", **options)
    # As if these images were too large to be read at once, or to be stored without a pyramid.
    monkeypatch.setattr(streaming, "_WHOLE_BYTES", 0)
    monkeypatch.setattr(streaming, "_PART_BYTES", 2**14)
    for name in ("_LARGEST_PLAIN", "_COARSEST", "TILE"):
        monkeypatch.setattr(tiles, name, 64)

    tries = []

    def write(*arguments, **more):
        tries.append(arguments)
        if len(tries) == 1:
            raise ImageFileError("no space left")
        for source in sources:
            source.data.sizes.clear()
        return write_images(*arguments, **more)

    monkeypatch.setattr(output, "write_images", write)
    path = tmp_path / "f.fusion.ome.tif"
    with pytest.raises(ImageFileError, match="no space left"):
        fuse_blocks(sources, path, **options)
    # All blocks are there.
    monkeypatch.setattr(run, "fuse_block", None)
    made = fuse_blocks(sources, path, **options, resume=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["f.fusion.ome.tif", "f.ome.zarr"]
    for source in sources:
        assert max(source.data.sizes) * source.dtype.itemsize <= 2**14

    *stored, fused = read_images(path)
    assert [image.name for image in stored] == ["a", "b"]
    for image, source in zip(stored, sources, strict=True):
        np.testing.assert_array_equal(image.data, source.data.pixels)
        np.testing.assert_array_equal(image.affine, source.affine)
        assert (image.units, image.dtype) == (UM, source.dtype)
        # Nothing is copied of what a file says of a patient.
        assert (image.metadata, len(image.pyramid)) == ({}, 3 if image.name == "a" else 1)
    np.testing.assert_array_equal(fused.data, np.asarray(zarr.to_source().data))
    np.testing.assert_array_equal(made.to_source().data, fused.data)
    assert len(fused.pyramid) == 3
    known = fused.metadata["dip_fusion"]
    assert (known["record"], known["metrics"]) == (made.record, made.metrics)


def test_sources_that_a_bundle_cannot_hold_are_refused_before(tmp_path, sources):
    half = sources[1].replace(data=Lazy(sources[1].data.pixels.astype(np.float16)))
    with pytest.raises(ImageFileError, match=r"OME-TIFF holds .*, got float16"):
        fuse_blocks([sources[0], half], tmp_path / "f.fusion.ome.tif", CLEAN)
    assert not list(tmp_path.iterdir())
