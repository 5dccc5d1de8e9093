"""Images in several files and folders: chunks, series, wells and plates."""

import shutil
import warnings

import numpy as np
import pytest
import zarr

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io import read_images, write_image


def read(path):
    """Return the images of a path, and its warnings as one text."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        images = read_images(path)
    return images, " ".join(str(w.message) for w in caught)


LAYOUTS = {
    "flat": (2, {"chunk_key_encoding": {"name": "v2", "separator": "."}}),
    "nested": (2, {"chunk_key_encoding": {"name": "v2", "separator": "/"}}),
    "zarr 3": (3, {}),
    "zarr 3, flat": (3, {"chunk_key_encoding": {"name": "default", "separator": "."}}),
    "shards": (3, {"shards": (1, 1, 6, 8)}),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_chunks_are_found_however_they_are_named(make_zarr, describe, layout):
    zarr_format, options = LAYOUTS[layout]
    data = np.random.default_rng(0).integers(1, 999, (2, 3, 6, 8), np.uint16)
    options = {"chunks": (1, 1, 3, 4), **options}
    path = make_zarr({"0": data}, describe(names="tzyx"), zarr_format=zarr_format, options=options)
    (image,), warned = read(path)
    np.testing.assert_array_equal(image.to_numpy(), data)
    assert not warned


def list_files(path):
    return [p for p in path.rglob("*") if p.is_file() and not p.name.startswith((".z", "zarr"))]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_planes_without_chunks_are_said(make_zarr, describe, layout):
    zarr_format, options = LAYOUTS[layout]
    data = np.random.default_rng(0).integers(1, 999, (2, 3, 6, 8), np.uint16)
    options = {"chunks": (1, 1, 3, 4), **options}
    path = make_zarr({"0": data}, describe(names="tzyx"), zarr_format=zarr_format, options=options)
    for file in list_files(path / "0"):
        numbers = [
            int(n)
            for n in str(file.relative_to(path / "0")).replace(".", "/").split("/")
            if n.isdigit()
        ]
        if numbers[:2] in ([1, 1], [1, 2]):
            file.unlink()
    (image,), warned = read(path)
    missing = "2 of 6" if layout == "shards" else "8 of 24"
    assert (
        f"{missing} chunks of level 0 are not stored and read as 0, the first at t=1, z=1, y=0, "
        "x=0. Writers leave out what is empty, but if the folder was copied, compare it"
    ) in warned
    assert not image.to_numpy()[1, 1:].any()
    np.testing.assert_array_equal(image.to_numpy()[0], data[0])


def test_every_missing_chunk_is_counted_in_one_warning(make_zarr, describe):
    """Writers may leave out what is empty, but nobody can tell it from what was lost."""
    data = np.zeros((2, 6, 8), np.uint16)
    data[:, 0, 0] = 5
    arrays = {"0": data, "1": data[:, ::2, ::2]}
    datasets = [{"path": "0"}, {"path": "1"}]
    path = make_zarr(arrays, describe(datasets=datasets), options={"chunks": (1, 3, 4)})
    (image,), warned = read(path)
    np.testing.assert_array_equal(image.to_numpy(), data)
    assert "6 of 8 chunks of level 0 are not stored" in warned
    assert "y=0, x=4. Writers" in warned
    assert warned.count("a.ome.zarr") == 1


def test_of_many_chunks_planes_without_any_are_counted(make_zarr, describe):
    data = np.ones((3, 40, 40), np.uint8)
    path = make_zarr({"0": data}, describe(), options={"chunks": (1, 2, 2)})
    (path / "0" / "0" / "3" / "3").unlink()
    assert not read(path)[1]
    shutil.rmtree(path / "0" / "1")
    assert (
        "1 of 3 planes of chunks of level 0 are not stored and read as 0, the first at z=1."
        in read(path)[1]
    )


def test_an_image_without_any_chunk_is_said(make_zarr, describe):
    path = make_zarr({"0": np.ones((2, 6, 8))}, describe(), options={"fill_value": 7})
    shutil.rmtree(path / "0" / "0")
    (image,), warned = read(path)
    assert "no chunks of level 0 are stored, which would be read as 7. Writers" in warned
    assert (image.to_numpy() == 7).all()


def test_what_this_program_writes_is_whole(tmp_path):
    path = write_image(tmp_path / "a.ome.zarr", np.zeros((3, 6, 8)))
    (image,), warned = read(path)
    assert not warned
    assert not image.to_numpy().any()
    shutil.rmtree(path / "0" / "c" / "1")
    assert (
        "1 of 3 chunks of level 0 are not stored and read as 0, the first at z=1" in read(path)[1]
    )


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("series", [None, ["1", "10", "0"], ["1", "5", "0"]])
def test_series_of_a_converted_file(make_zarr, describe, zarr_format, series):
    scales = [describe(name=n) for n in ("0", "/1", "tenth")]
    for n, entry in zip(("0", "1", "10"), scales, strict=True):
        data = np.full((2, 3, 4), int(n) + 1, np.uint8)
        make_zarr({"0": data}, entry, name=f"s.zarr/{n}", zarr_format=zarr_format)
    root = make_zarr(
        {}, None, name="root.zarr", zarr_format=zarr_format, **{"bioformats2raw.layout": 3}
    )
    for n in ("0", "1", "10"):
        shutil.move(root.with_name("s.zarr") / n, root / n)
    if series:
        group = zarr.open_group(str(root), mode="a").create_group("OME")
        group.attrs.update({"series": series} if zarr_format == 2 else {"ome": {"series": series}})
    images, warned = read(root)
    order = [int(n) for n in series or ("0", "1", "10") if n != "5"]
    assert [int(image.to_numpy()[0, 0, 0]) - 1 for image in images] == order
    names = {0: "root 0", 1: "root 1", 10: "tenth"}
    assert [image.name for image in images] == [names[n] for n in order]
    assert (
        "lists the images 5, which are missing" in warned
        if series and "5" in series
        else not warned
    )


def test_numbered_folders_that_are_no_series(make_zarr, volume):
    path = make_zarr({"0": volume}, None, **{"bioformats2raw.layout": 3})
    with pytest.raises(ImageFileError, match="is no OME-Zarr image; choose one of the folders"):
        read(path)


def test_the_only_series_has_the_name_of_its_file(make_zarr, describe, volume):
    root = make_zarr({}, None, name="root.v1.zarr", **{"bioformats2raw.layout": 3})
    shutil.move(make_zarr({"0": volume}, describe(name="0")), root / "0")
    assert [image.name for image in read(root)[0]] == ["root.v1"]


def test_wells_and_plates(make_zarr, describe, volume):
    wells = [{"path": "A/1"}, {"path": "A/2"}]
    plate = make_zarr({}, None, name="p.zarr", plate={"wells": wells})
    with pytest.raises(
        ImageFileError, match=r"a plate of 2 wells; open .* such as .*p\.zarr/A/1/0"
    ):
        read(plate)
    well = make_zarr({}, None, name="p.zarr/A/1", well={"images": [{"path": "0"}, {"path": "1"}]})
    for n in (0, 1):
        make_zarr({"0": volume + n}, describe(name=None), name=f"p.zarr/A/1/{n}")
    images, warned = read(well)
    assert not warned
    assert [image.name for image in images] == ["1 0", "1 1"]
    np.testing.assert_array_equal(images[1].to_numpy(), volume + 1)
    np.testing.assert_array_equal(read(well / "0")[0][0].to_numpy(), volume)
    with pytest.raises(ImageFileError, match="points outside of itself"):
        read(make_zarr({}, None, name="w.zarr", well={"images": [{"path": "../p.zarr/A/1/0"}]}))


def test_a_group_without_attributes_names_what_is_in_it(make_zarr, volume):
    path = make_zarr({"first": volume, "second": volume}, None, name="b")
    (path / ".zattrs").unlink()
    with pytest.raises(ImageFileError, match="choose one of the folders in it: first, second"):
        read(path)
    (image,), _ = read(path / "second")
    np.testing.assert_array_equal(image.to_numpy(), volume)


def test_labels_are_no_channels(make_zarr, describe, volume):
    path = make_zarr({"0": volume, "labels/cells/0": volume}, describe())
    images, _ = read(path)
    assert len(images) == 1


def test_what_zarr_says_of_the_data_is_passed_on(make_zarr, describe, volume, monkeypatch):
    original = zarr.open_array

    def open_array(*args, **kwargs):
        warnings.warn("the chunks are odd", UserWarning, stacklevel=2)
        warnings.warn(
            "codecs are not in the Zarr version 3 specification", UserWarning, stacklevel=2
        )
        return original(*args, **kwargs)

    monkeypatch.setattr(zarr, "open_array", open_array)
    path = make_zarr({"0": volume}, describe())
    warned = read(path)[1]
    assert warned.count("the chunks are odd (said by zarr)") == 1
    assert "specification" not in warned
