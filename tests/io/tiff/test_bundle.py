import json

import numpy as np
import pytest

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io import read_image, read_images, write_image, write_images
from napari_dip_fusion.io.tiff import bundle
from napari_dip_fusion.record import describe_source
from napari_dip_fusion.sources import Source

CT = np.arange(20, dtype=np.uint8).reshape(4, 5)


def fused(*sources, **fields):
    known = {"record": {"sources": list(sources)}, "metrics": {"piella": 0.75}}
    pixels = np.random.default_rng(0).random((4, 5), dtype=np.float32)
    return Source(pixels, name="fused", metadata={"dip_fusion": known}, **fields)


def test_images_record_and_metrics_come_back(tmp_path):
    images = [
        Source(CT, name="ct", units=("mm", "mm"), affine=np.diag([2.0, 3, 1])),
        Source(np.zeros((3, 6, 7), np.float64), name="gain", display={"colormap": "viridis"}),
        fused(describe_source(CT, (0, 255), name="ct")),
    ]
    back = read_images(write_images(tmp_path / "a.fusion.ome.tif", images))
    for one, other in zip(back, images, strict=True):
        np.testing.assert_array_equal(one.data, other.data)
        np.testing.assert_array_equal(one.affine, other.affine)
        for field in ("dtype", "axes", "units", "name", "rgb", "display", "metadata"):
            assert getattr(one, field) == getattr(other, field)
    assert bundle.find_record(back[2]) == images[2].metadata["dip_fusion"]["record"]
    assert read_image(tmp_path / "a.fusion.ome.tif", channel="fused").name == "fused"


@pytest.mark.parametrize(
    ("stored", "told"),
    [
        (CT, []),
        (np.stack([CT + 1, CT]), []),
        (CT + 1, ["ct is not what"]),
        (CT.astype(np.uint16), ["ct is not what"]),
        (CT[:3], ["ct is not what"]),
    ],
)
def test_hashes_are_compared(stored, told):
    images = [Source(stored, name="ct"), fused(describe_source(CT, (0, 255), name="ct"))]
    problems = bundle.find_changed_sources(images)
    assert [line[: len(start)] for line, start in zip(problems, told, strict=True)] == told
    assert bundle.find_changed_sources(images[1:]) == []


def test_what_is_not_looked_at_is_not_called_changed():
    entry = describe_source(CT, (0, 255), name="ct")
    many = Source(np.zeros((513, *CT.shape), CT.dtype), name="ct")
    assert bundle.find_changed_sources([many, fused(entry)]) == []
    # Block by block, hashes are of what was read of a source for each block.
    image = fused(entry)
    image.metadata["dip_fusion"]["record"]["blocks"] = {"block": [64, 64]}
    assert bundle.find_changed_sources([Source(CT + 1, name="ct"), image]) == []


@pytest.mark.parametrize("record", [None, 7, {}, {"sources": 3}, {"sources": [4, {"shape": "x"}]}])
def test_strange_records_do_no_harm(record):
    image = Source(CT, name="ct", metadata={"dip_fusion": {"record": record}})
    assert isinstance(bundle.find_changed_sources([image]), list)


def test_names_and_foreign_files(tmp_path):
    with pytest.raises(ImageFileError, match=r"written together as \.fusion\.ome\.tif, got"):
        write_images(tmp_path / "a.tif", [fused()])
    with pytest.raises(ImageFileError, match="at least one image"):
        write_images(tmp_path / "a.fusion.ome.tif", [])
    write_image(tmp_path / "a.tif", CT)
    (tmp_path / "a.tif").rename(tmp_path / "a.fusion.ome.tif")
    with pytest.raises(ImageFileError, match="not written by this program"):
        read_images(tmp_path / "a.fusion.ome.tif")
    with pytest.raises(FileExistsError, match="choose another name"):
        write_images(tmp_path / "a.fusion.ome.tif", [fused()])


def test_damaged_description_leaves_the_pixels(tmp_path):
    path = write_images(tmp_path / "a.fusion.ome.tif", [Source(CT, name="ct")])
    content = path.read_bytes()
    path.write_bytes(content.replace(b"&quot;affine&quot;", b"&quot;effine&quot;"))
    assert json.dumps(read_image(path).axes) == '["y", "x"]'
    np.testing.assert_array_equal(read_image(path).data, CT)
