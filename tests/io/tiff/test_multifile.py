"""One image in several files is read whole, whichever is named; what is missing is said."""

import json
import struct
import warnings

import numpy as np
import pytest
import tifffile

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io import read_image, read_images
from napari_dip_fusion.io.tiff import pages

SCHEMA = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
# Channels, planes in depth, rows and columns.
TRUTH = np.random.default_rng(0).integers(100, 4000, (2, 3, 32, 40)).astype(np.uint16)
NAMES = ("DAPI", "GFP")


def make_id(number):
    return f"urn:uuid:11111111-1111-1111-1111-11111111111{number}"


def make_xml(blocks, root="", size_z=3, dtype="uint16", name="img"):
    channels = "".join(
        f'<Channel ID="Channel:0:{n}" Name="{one}" SamplesPerPixel="1"/>'
        for n, one in enumerate(NAMES)
    )
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><OME xmlns="{SCHEMA}" {root}>'
        f'<Image ID="Image:0" Name="{name}"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" '
        f'Type="{dtype}" SizeX="40" SizeY="32" SizeZ="{size_z}" SizeC="2" SizeT="1" '
        f'PhysicalSizeX="0.2" PhysicalSizeY="0.2" PhysicalSizeZ="2">{channels}{blocks}</Pixels>'
        "</Image></OME>"
    )


def make_block(c, file, *, z=0, ifd=0, count=3, uuid=None):
    key = make_id(c) if uuid is None else uuid
    counted = f'IFD="{ifd}" PlaneCount="{count}"' if count else ""
    return (
        f'<TiffData FirstC="{c}" FirstZ="{z}" FirstT="0" {counted}>'
        f'<UUID FileName="{file}">{key}</UUID></TiffData>'
    )


def write_file(path, planes, xml):
    tifffile.imwrite(
        path, planes, description=xml.encode(), metadata=None, photometric="minisblack"
    )
    return path


def write_channels(folder, files=("ch0.ome.tif", "ch1.ome.tif"), **options):
    """Write a file for each channel; each holds the whole OME-XML."""
    blocks = "".join(make_block(c, file, **options) for c, file in enumerate(files))
    for c, file in enumerate(files):
        write_file(folder / file, TRUTH[c], make_xml(blocks, f'UUID="{make_id(c)}"'))
    return files


def write_planes(folder):
    """Write a file for each plane, in an order that is not that of their names."""
    places = [(c, z) for c in range(2) for z in range(3)]
    files = {place: f"p{(5 * n) % 6}.ome.tif" for n, place in enumerate(places)}
    blocks = "".join(
        make_block(c, files[c, z], z=z, count=1, uuid=f"urn:uuid:{c}{z}") for c, z in places
    )
    for c, z in places:
        write_file(folder / files[c, z], TRUTH[c, z], make_xml(blocks, f'UUID="urn:uuid:{c}{z}"'))
    return tuple(files.values())


def write_companion(folder):
    """Write the OME-XML into a file of its own, which the files of pixels name."""
    files = ("ch0.ome.tif", "ch1.ome.tif")
    blocks = "".join(make_block(c, file) for c, file in enumerate(files))
    xml = make_xml(blocks, 'UUID="urn:uuid:of-the-companion"')
    (folder / "set.companion.ome").write_text(xml, encoding="utf-8-sig")
    for c, file in enumerate(files):
        pointer = f'<BinaryOnly MetadataFile="set.companion.ome" UUID="{make_id(c)}"/>'
        root = f'<OME xmlns="{SCHEMA}" UUID="{make_id(c)}">'
        write_file(folder / file, TRUTH[c], f"{root}{pointer}</OME>")
    return files


def write_master(folder):
    """Write the OME-XML into the first file, which the second one names."""
    files = ("ch0.ome.tif", "ch1.ome.tif")
    blocks = "".join(make_block(c, file) for c, file in enumerate(files))
    write_file(folder / files[0], TRUTH[0], make_xml(blocks, f'UUID="{make_id(0)}"'))
    pointer = f'<BinaryOnly MetadataFile="{files[0]}" UUID="{make_id(0)}"/>'
    write_file(folder / files[1], TRUTH[1], f'<OME xmlns="{SCHEMA}">{pointer}</OME>')
    return files


def write_uncounted(folder):
    return write_channels(folder, count=0)


def write_anonymous(folder):
    """Write files without identifiers of their own."""
    files = ("ch0.ome.tif", "ch1.ome.tif")
    blocks = "".join(make_block(c, file) for c, file in enumerate(files))
    for c, file in enumerate(files):
        write_file(folder / file, TRUTH[c], make_xml(blocks))
    return files


def write_one_identifier(folder):
    """Write files that all have the identifier of the set."""
    files = ("ch0.ome.tif", "ch1.ome.tif")
    blocks = "".join(make_block(c, file, uuid=make_id(7)) for c, file in enumerate(files))
    for c, file in enumerate(files):
        write_file(folder / file, TRUTH[c], make_xml(blocks, f'UUID="{make_id(7)}"'))
    return files


def check_whole(images):
    assert [image.name for image in images] == list(NAMES)
    for truth, image in zip(TRUTH, images, strict=True):
        np.testing.assert_array_equal(image.to_numpy(), truth)
        np.testing.assert_allclose(image.spacing, (2, 0.2, 0.2))
        assert image.units == ("um",) * 3


@pytest.mark.parametrize(
    "write",
    [
        write_channels,
        write_planes,
        write_companion,
        write_master,
        write_uncounted,
        write_anonymous,
        write_one_identifier,
    ],
)
@pytest.mark.parametrize("lazy", [False, True])
def test_a_set_is_read_whole_whichever_file_is_named(tmp_path, monkeypatch, write, lazy):
    if lazy:
        monkeypatch.setattr(pages, "_PIECE_BYTES", 3000)
    for file in write(tmp_path):
        images = read_images(tmp_path / file)
        check_whole(images)
        assert images[0].path == tmp_path / file
        assert hasattr(images[0].data, "chunks") == lazy


def test_a_companion_file_is_read_as_its_set(tmp_path):
    write_companion(tmp_path)
    check_whole(read_images(tmp_path / "set.companion.ome"))
    for file in ("ch0.ome.tif", "ch1.ome.tif"):
        (tmp_path / file).unlink()
    with pytest.raises(ImageFileError, match=r"describes pixels in ch0.ome.tif, ch1.ome.tif; put"):
        read_images(tmp_path / "set.companion.ome")
    for content in (b"<OME \x81 \xe9/>", b"\xff\xfe<\x00O\x00\x00\xd8"):
        (tmp_path / "set.companion.ome").write_bytes(content)
        with pytest.raises(ImageFileError, match=r"damaged OME-XML|holds no OME-XML"):
            read_images(tmp_path / "set.companion.ome")
    (tmp_path / "set.companion.ome").write_text("nothing")
    with pytest.raises(ImageFileError, match="holds no OME-XML; name a file of the set"):
        read_images(tmp_path / "set.companion.ome")


@pytest.mark.parametrize("write", [write_channels, write_companion])
def test_a_file_that_was_renamed_is_found_by_its_identifier(tmp_path, write):
    write(tmp_path)
    (tmp_path / "ch0.ome.tif").rename(tmp_path / "first.ome.tif")
    (tmp_path / "other.tif").write_bytes(b"nothing that is read")
    check_whole(read_images(tmp_path / "first.ome.tif"))
    check_whole(read_images(tmp_path / "ch1.ome.tif"))


@pytest.mark.parametrize("write", [write_anonymous, write_one_identifier])
def test_a_renamed_file_that_nothing_identifies_is_called_missing(tmp_path, write):
    write(tmp_path)
    (tmp_path / "ch1.ome.tif").rename(tmp_path / "second.ome.tif")
    for file in ("ch0.ome.tif", "second.ome.tif"):
        with pytest.warns(UserWarning, match=r"ch1.ome.tif is missing: GFP is left out"):
            (image,) = read_images(tmp_path / file)
        np.testing.assert_array_equal(image.to_numpy(), TRUTH[0])


@pytest.mark.parametrize("root", ["", f'UUID="{make_id(0)}"'])
def test_a_copy_is_read_and_not_what_it_was_made_from(tmp_path, root):
    blocks = '<TiffData IFD="0" PlaneCount="6">'
    blocks += f'<UUID FileName="a.ome.tif">{make_id(0)}</UUID></TiffData>'
    xml = make_xml(blocks, root)
    write_file(tmp_path / "a.ome.tif", 0 * TRUTH.reshape(6, 32, 40), xml)
    check_whole(read_images(write_file(tmp_path / "b.ome.tif", TRUTH.reshape(6, 32, 40), xml)))


@pytest.mark.parametrize("write", [write_channels, write_anonymous, write_one_identifier])
def test_a_copy_does_not_stand_in_for_a_file_that_is_missing(tmp_path, write):
    write(tmp_path)
    (tmp_path / "copy.ome.tif").write_bytes((tmp_path / "ch0.ome.tif").read_bytes())
    (tmp_path / "ch1.ome.tif").unlink()
    for file in ("copy.ome.tif", "ch0.ome.tif"):
        with pytest.warns(UserWarning, match=r"ch1.ome.tif is missing: GFP is left out"):
            (image,) = read_images(tmp_path / file)
        np.testing.assert_array_equal(image.to_numpy(), TRUTH[0])


@pytest.mark.parametrize("root", ["", f'UUID="{make_id(0)}"'])
@pytest.mark.parametrize("named", ["as it was.ome.tif", "", "C:\\data\\a.ome.tif", "/tmp/a.tif"])
def test_a_single_file_that_was_renamed_is_read(tmp_path, root, named):
    file = f'<UUID FileName="{named}">{make_id(0)}</UUID>'.replace(' FileName=""', "")
    blocks = f'<TiffData IFD="0" PlaneCount="6">{file}</TiffData>'
    path = write_file(tmp_path / "now.ome.tif", TRUTH.reshape(6, 32, 40), make_xml(blocks, root))
    check_whole(read_images(path))


@pytest.mark.parametrize("write", [write_channels, write_companion, write_uncounted])
def test_a_missing_channel_is_named_and_left_out(tmp_path, write):
    write(tmp_path)
    (tmp_path / "ch1.ome.tif").unlink()
    with pytest.warns(UserWarning, match=r"ch1.ome.tif is missing: GFP is left out; put") as said:
        (image,) = read_images(tmp_path / "ch0.ome.tif")
    assert len(said) == 1
    assert image.name == "DAPI"
    np.testing.assert_array_equal(image.to_numpy(), TRUTH[0])


@pytest.mark.parametrize("lazy", [False, True])
def test_missing_planes_are_counted_and_named(tmp_path, monkeypatch, lazy):
    if lazy:
        monkeypatch.setattr(pages, "_PIECE_BYTES", 3000)
    write_planes(tmp_path)
    # The planes at c=0 z=1, c=0 z=2 and c=1 z=2.
    for name in ("p5.ome.tif", "p4.ome.tif", "p1.ome.tif"):
        (tmp_path / name).unlink()
    said = (
        r"p5.ome.tif, p4.ome.tif, p1.ome.tif are missing: 3 of its planes are read as 0 "
        r"\(c=0 z=1, c=0 z=2, c=1 z=2\)"
    )
    with pytest.warns(UserWarning, match=said):
        images = read_images(tmp_path / "p0.ome.tif")
    expected = TRUTH.copy()
    expected[0, 1:], expected[1, 2] = 0, 0
    np.testing.assert_array_equal(np.stack([image.to_numpy() for image in images]), expected)


@pytest.mark.parametrize(
    ("blocks", "planes", "blank"),
    [
        # More is declared than there is.
        ('<TiffData IFD="0" PlaneCount="6"/>', 4, [(1, 1), (1, 2)]),
        ("<TiffData/>", 5, [(1, 2)]),
        ('<TiffData FirstZ="1" IFD="1" PlaneCount="5"/>', 6, [(0, 0)]),
        ('<TiffData IFD="0"/><TiffData FirstC="1" IFD="7"/>', 3, None),
    ],
)
def test_planes_that_the_file_does_not_hold_are_said(tmp_path, blocks, planes, blank):
    stored = TRUTH.reshape(6, 32, 40)[:planes]
    path = write_file(tmp_path / "a.ome.tif", stored, make_xml(blocks))
    with pytest.warns(UserWarning, match=r"a.ome.tif: planes are missing that it declares"):
        images = read_images(path)
    if blank is not None:
        expected = TRUTH.copy()
        for c, z in blank:
            expected[c, z] = 0
        np.testing.assert_array_equal(np.stack([image.to_numpy() for image in images]), expected)


def test_an_ome_xml_in_a_file_that_is_missing_is_said(tmp_path):
    write_companion(tmp_path)
    (tmp_path / "set.companion.ome").unlink()
    said = "its OME-XML lies in the file set.companion.ome, which is missing; its own pages are"
    with pytest.warns(UserWarning, match=said):
        image = read_image(tmp_path / "ch1.ome.tif")
    np.testing.assert_array_equal(image.to_numpy(), TRUTH[1])


@pytest.mark.parametrize("name", ["../set.companion.ome", "/etc/hostname", "a\\b.ome"])
def test_an_ome_xml_out_of_the_folder_is_refused(tmp_path, name):
    pointer = f'<BinaryOnly MetadataFile="{name}" UUID="{make_id(0)}"/>'
    path = write_file(tmp_path / "a.ome.tif", TRUTH[0], f'<OME xmlns="{SCHEMA}">{pointer}</OME>')
    with pytest.raises(ImageFileError, match="points out of its folder"):
        read_images(path)


def test_a_name_that_only_tifffile_would_follow_is_refused(tmp_path):
    block = f'<TiffData IFD="0"><OtherUUID FileName="../a.tif">{make_id(1)}</OtherUUID></TiffData>'
    path = write_file(tmp_path / "a.ome.tif", TRUTH[0], make_xml(block))
    with pytest.raises(ImageFileError, match="points out of its folder"):
        read_images(path)


def test_images_are_not_mixed_up_when_one_of_them_is_missing(tmp_path):
    sizes = (32, 20, 16)
    images = ""
    for n, size in enumerate(sizes):
        images += (
            f'<Image ID="Image:{n}" Name="image {n}"><Pixels ID="Pixels:{n}" '
            f'DimensionOrder="XYZCT" Type="uint8" SizeX="{size}" SizeY="{size}" SizeZ="1" '
            f'SizeC="1" SizeT="1" PhysicalSizeX="{n + 1}" PhysicalSizeY="1">'
            f'<Channel ID="Channel:{n}:0"/><TiffData IFD="0" PlaneCount="1">'
            f'<UUID FileName="i{n}.ome.tif">urn:uuid:{n}</UUID></TiffData></Pixels></Image>'
        )
    for n, size in enumerate(sizes):
        xml = f'<OME xmlns="{SCHEMA}" UUID="urn:uuid:{n}">{images}</OME>'
        write_file(tmp_path / f"i{n}.ome.tif", np.full((size, size), n, np.uint8), xml)
    for n, image in enumerate(read_images(tmp_path / "i2.ome.tif")):
        assert (image.to_numpy() == n).all()
    assert [image.name for image in read_images(tmp_path / "i2.ome.tif")] == [
        "image 0",
        "image 1",
        "image 2",
    ]
    (tmp_path / "i1.ome.tif").unlink()
    with pytest.warns(UserWarning, match=r"'image 1' is left out: .* with i1.ome.tif"):
        found = read_images(tmp_path / "i2.ome.tif")
    assert [(i.name, i.shape[0], i.spacing[1]) for i in found] == [
        ("image 0", 32, 1),
        ("image 2", 16, 3),
    ]


def test_a_large_set_is_no_cut_file(tmp_path):
    """The bytes of all files are counted, not those of the one that was named."""
    files = write_channels(tmp_path)
    assert sum((tmp_path / f).stat().st_size for f in files) > TRUTH.nbytes
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_images(tmp_path / files[0])
    with tifffile.TiffFile(tmp_path / files[1], mode="r+") as tif:
        tif.pages[2].tags["StripOffsets"].overwrite(10**7)
    with pytest.raises(ImageFileError, match=r"ch1.ome.tif .*cut short or damaged"):
        read_images(tmp_path / files[0])


def write_ndtiff(path, planes):
    """Write a file of NDTiff by hand, and return where the pixels of its planes begin."""
    summary = b"{}"
    header = struct.pack("<5I", 483729, 2, 2355492, len(summary), 0)[:16] + summary
    starts, content = [], b""
    first = 8 + len(header)
    rows, columns = planes[0].shape
    for plane in planes:
        starts.append(first + len(content))
        content += plane.astype("<u2").tobytes()
    note = b'{"a": 1}\0\0'
    content += note
    entries = [
        (256, 3, 1, columns),
        (257, 3, 1, rows),
        (258, 3, 1, 16),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (273, 4, 1, starts[0]),
        (277, 3, 1, 1),
        (278, 3, 1, rows),
        (279, 4, 1, planes[0].size * 2),
        (51123, 2, len(note), first + len(content) - len(note)),
    ]
    table = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    directory = struct.pack("<H", len(entries)) + table + bytes(4)
    start = b"II*\0" + struct.pack("<I", first + len(content))
    path.write_bytes(start + header + content + directory)
    return starts


def write_ndtiff_set(folder, skipped=()):
    """Write an NDTiff set of a file for each channel, with its index."""
    index = b""
    for c in range(2):
        name = f"set_{c}.tif"
        for z, start in enumerate(write_ndtiff(folder / name, TRUTH[c])):
            axes = json.dumps({"channel": NAMES[c], "z": z}).encode()
            parts = [struct.pack("<I", len(axes)), axes, struct.pack("<I", len(name))]
            place = struct.pack("<IiiiiIii", start, 40, 32, 1, 0, 0, 0, 0)
            if (c, z) not in skipped:
                index += b"".join(parts) + name.encode() + place
    (folder / "NDTiff.index").write_bytes(index)


def test_a_set_of_ndtiff_is_read_whole_and_its_gaps_are_said(tmp_path):
    write_ndtiff_set(tmp_path)
    for file in ("set_0.tif", "set_1.tif"):
        images = read_images(tmp_path / file)
        np.testing.assert_array_equal([image.to_numpy() for image in images], TRUTH)
    write_ndtiff_set(tmp_path, skipped=[(1, 1)])
    with pytest.warns(UserWarning, match=r"1 of its planes are read as 0 \(c=1 z=1\)"):
        images = read_images(tmp_path / "set_0.tif")
    assert not images[1].to_numpy()[1].any()
    (tmp_path / "set_1.tif").unlink()
    with pytest.raises(ImageFileError, match=r"NDTiff.index names set_1.tif, which is missing"):
        read_images(tmp_path / "set_0.tif")


def test_a_stack_of_micro_manager_over_several_files(tmp_path):
    """tifffile finds the files of such a stack by the OME-XML in the first of them."""
    files = ("a_MMStack_Pos0.ome.tif", "a_MMStack_Pos0_1.ome.tif")
    write_channels(tmp_path, files)
    check_whole(read_images(tmp_path / files[0]))
    check_whole(read_images(tmp_path / files[1]))
