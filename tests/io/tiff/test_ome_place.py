"""Where an OME-TIFF lies, and what else its OME-XML says of it."""

import itertools

import numpy as np
import pytest
import tifffile

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io import read_image, read_images, write_image
from napari_dip_fusion.sources import Source

YEAR = "2016-06"
# Times, planes in depth, channels, rows and columns.
TRUTH = np.random.default_rng(0).integers(0, 255, (3, 4, 2, 12, 16)).astype(np.uint8)


def make_xml(attributes="", inner="<TiffData/>", *, order="XYZCT", sizes=(1, 4, 1), year=YEAR):
    t, z, c = sizes
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>'
        f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/{year}">'
        f'<Image ID="Image:0" Name="img"><Pixels ID="Pixels:0" DimensionOrder="{order}" '
        f'Type="uint8" SizeX="16" SizeY="12" SizeZ="{z}" SizeC="{c}" SizeT="{t}" {attributes}>'
        f"{inner}</Pixels></Image></OME>"
    )


def write(path, pixels, xml, **options):
    options = {"photometric": "minisblack", "metadata": None, **options}
    content = xml if isinstance(xml, bytes) else xml.encode()
    tifffile.imwrite(path, pixels.reshape(-1, *pixels.shape[-2:]), description=content, **options)
    return path


def write_planes(path, attributes, planes, *, along="Z"):
    """Write a stack in depth or time whose planes have elements of their own."""
    inner = "<TiffData/>" + "".join(
        f'<Plane The{along}="{n}" The{"TZ".replace(along, "")}="0" TheC="0" {p}/>'
        for n, p in enumerate(planes)
    )
    count = len(planes)
    sizes = (1, count, 1) if along == "Z" else (count, 1, 1)
    return write(
        path, np.tile(TRUTH[0, 0, :1], (count, 1, 1)), make_xml(attributes, inner, sizes=sizes)
    )


@pytest.mark.parametrize(
    ("attributes", "steps", "units"),
    [
        ("", (1, 1, 1), "pixel pixel pixel"),
        (
            'PhysicalSizeX="0.1" PhysicalSizeY="0.2" PhysicalSizeZ="0.3"',
            (0.3, 0.2, 0.1),
            "um um um",
        ),
        # Each has its own unit, and its own default.
        (
            'PhysicalSizeX="100" PhysicalSizeXUnit="nm" PhysicalSizeY="0.2" '
            'PhysicalSizeZ="0.003" PhysicalSizeZUnit="mm"',
            (0.003, 0.2, 100),
            "mm um nm",
        ),
        ('PhysicalSizeX="2" PhysicalSizeXUnit="&#197;"', (1, 1, 2), "pixel pixel Å"),
        ('PhysicalSizeX="2" PhysicalSizeXUnit="pixel"', (1, 1, 2), "pixel pixel pixel"),
        ('PhysicalSizeX="2" PhysicalSizeXUnit="reference frame"', (1, 1, 2), "pixel pixel pixel"),
        # A unit that no table knows is kept as it is.
        ('PhysicalSizeX="2" PhysicalSizeXUnit="li"', (1, 1, 2), "pixel pixel li"),
        # What says nothing is as if it were not there.
        ('PhysicalSizeX="null" PhysicalSizeY=""', (1, 1, 1), "pixel pixel pixel"),
        ('PhysicalSizeX="2" PhysicalSizeXUnit=""', (1, 1, 2), "pixel pixel um"),
    ],
)
@pytest.mark.parametrize("year", [YEAR, "2011-06", "2031-01"])
def test_each_axis_has_its_own_size_and_unit(tmp_path, attributes, steps, units, year):
    path = write(tmp_path / "a.ome.tif", TRUTH[0, :, 0], make_xml(attributes, year=year))
    image = read_image(path)
    np.testing.assert_allclose(image.spacing, steps)
    assert image.units == tuple(units.split())
    np.testing.assert_array_equal(image.to_numpy(), TRUTH[0, :, 0])


@pytest.mark.parametrize("size", ["0", "-0.5", "NaN", "INF", "0,5", "many"])
def test_a_size_that_is_none_is_said(tmp_path, size):
    xml = make_xml(f'PhysicalSizeX="{size}" PhysicalSizeY="0.5"')
    path = write(tmp_path / "a.ome.tif", TRUTH[0, :, 0], xml)
    with pytest.warns(UserWarning, match=f"PhysicalSizeX is {size}, which is no size; the axis x"):
        image = read_image(path)
    assert image.units == ("pixel", "um", "pixel")


def test_times_of_planes_stand_in_for_an_increment_of_none(tmp_path):
    described = {"axes": "TYX", "TimeIncrement": 0.0, "Plane": {"DeltaT": [1.0, 3.0, 5.0]}}
    data = np.zeros((3, 4, 5), np.uint8)
    tifffile.imwrite(tmp_path / "a.ome.tif", data, ome=True, metadata=described)
    with pytest.warns(
        UserWarning, match=r"is 0\.0, which is no size; the axis t is taken from its"
    ):
        image = read_image(tmp_path / "a.ome.tif")
    assert (image.spacing[0], image.units[0]) == (2, "s")


@pytest.mark.parametrize("order", ["".join(o) for o in itertools.permutations("ZCT")])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_axes_are_in_one_order_whatever_that_of_the_file(tmp_path, order, byteorder):
    stored = np.transpose(TRUTH, [*("TZC".index(axis) for axis in reversed(order)), 3, 4])
    xml = make_xml(
        'PhysicalSizeZ="2" TimeIncrement="5" TimeIncrementUnit="min"',
        order=f"XY{order}",
        sizes=(3, 4, 2),
    )
    path = write(tmp_path / "a.ome.tif", np.ascontiguousarray(stored), xml, byteorder=byteorder)
    images = read_images(path)
    assert len(images) == 2
    for n, image in enumerate(images):
        assert image.axes == ("t", "z", "y", "x")
        np.testing.assert_array_equal(image.to_numpy(), TRUTH[:, :, n])
        np.testing.assert_allclose(image.spacing, (5, 2, 1, 1))
        assert image.units[0] == "min"


@pytest.mark.parametrize(
    ("attributes", "planes", "step", "unit", "values"),
    [
        ("", ['DeltaT="1"', 'DeltaT="3"', 'DeltaT="5"'], 2, "s", None),
        ("", ['DeltaT="0" DeltaTUnit="ms"', 'DeltaT="50" DeltaTUnit="ms"'], 50, "ms", None),
        ('TimeIncrement="9"', ['DeltaT="1"', 'DeltaT="3"'], 9, "s", None),
        ("", ['DeltaT="0"', 'DeltaT="1"', 'DeltaT="5"'], 2.5, "s", [0, 1, 5]),
        ("", ['DeltaT="0"', "", 'DeltaT="5"'], 1, "pixel", None),
    ],
)
def test_times_of_planes_say_the_step_where_nothing_else_does(
    tmp_path, attributes, planes, step, unit, values
):
    image = read_image(write_planes(tmp_path / "a.ome.tif", attributes, planes, along="T"))
    assert (image.spacing[0], image.units[0]) == (step, unit)
    assert image.metadata.get("axis_values", {}).get("t") == values


@pytest.mark.parametrize(
    ("attributes", "unit", "place", "units"),
    [
        # The place of the first plane, in the unit of the axis.
        (
            'PhysicalSizeX="1" PhysicalSizeY="1" PhysicalSizeZ="5"',
            "µm",
            (100, 20, 10),
            ("um",) * 3,
        ),
        (
            'PhysicalSizeX="100" PhysicalSizeXUnit="nm" PhysicalSizeY="1" PhysicalSizeZ="5"',
            "µm",
            (100, 20, 10000),
            ("um", "um", "nm"),
        ),
        # Steps in depth that only the planes say.
        ('PhysicalSizeX="1" PhysicalSizeY="1"', "µm", (100, 20, 10), ("um",) * 3),
        # Where the unit is not one of length nothing is known, and in a grid of pixels neither.
        ('PhysicalSizeX="1"', "reference frame", (0, 0, 0), ("pixel", "pixel", "um")),
        ('PhysicalSizeZ="5"', "µm", (100, 0, 0), ("um", "pixel", "pixel")),
    ],
)
def test_the_place_is_that_of_the_stage(tmp_path, attributes, unit, place, units):
    named = "".join(f' Position{axis}Unit="{unit}"' for axis in "XYZ")
    planes = [f'PositionX="10" PositionY="20" PositionZ="{100 + 5 * n}"{named}' for n in range(3)]
    image = read_image(write_planes(tmp_path / "a.ome.tif", attributes, planes))
    np.testing.assert_allclose(image.affine[:-1, -1], place)
    assert image.units == units
    assert image.spacing[0] == (5 if units[0] == "um" else 1)
    assert image.metadata["stage_position"]["x"].startswith("10 ")


def test_two_tiles_of_one_scan_lie_side_by_side(tmp_path):
    sizes = 'PhysicalSizeX="0.5" PhysicalSizeY="0.5"'
    places = []
    for n in range(2):
        plane = f'PositionX="{n * 7.5}" PositionY="1" PositionXUnit="µm" PositionYUnit="µm"'
        image = read_image(write_planes(tmp_path / f"{n}.ome.tif", sizes, [plane]))
        places.append(image.affine @ (3, 1 if n else 16, 1))
    np.testing.assert_allclose(places[0], places[1])


def test_positions_that_contradict_the_sizes_are_said(tmp_path):
    unit = 'PositionZUnit="µm"'
    planes = [f'PositionZ="{z}" {unit}' for z in (0, 2, 5)]
    path = write_planes(tmp_path / "a.ome.tif", 'PhysicalSizeZ="2"', planes)
    with pytest.warns(UserWarning, match="PhysicalSizeZ is 2 um, the stage moved by 2 to 3 um"):
        assert read_image(path).spacing[0] == 2
    image = read_image(write_planes(tmp_path / "b.ome.tif", "", planes))
    assert image.metadata["axis_values"] == {"z": [0, 2, 5]}


def test_what_this_program_wrote_is_not_doubted(tmp_path):
    affine = np.array([[2.0, 0.5, 0, 9], [-0.5, 1, 0, 8], [0, 0, 1, 7], [0, 0, 0, 1]])
    image = Source(TRUTH[0, :, 0], affine=affine, units=("um",) * 3)
    with pytest.warns(UserWarning, match="rotation, shear and flips are kept in a comment"):
        path = write_image(tmp_path / "a.ome.tif", image)
    found = read_image(path)
    np.testing.assert_array_equal(found.affine, affine)
    assert not found.metadata


def test_what_this_program_wrote_keeps_its_own_place(tmp_path):
    affine = np.diag([2.0, 0.5, 0.25, 1])
    affine[:3, 3] = (10, 20, 30)
    image = Source(TRUTH[0, :, 0], affine=affine, units=("um",) * 3)
    path = write_image(tmp_path / "a.ome.tif", image)
    np.testing.assert_array_equal(read_image(path).affine, affine)
    # Without our comment the fields of OME say the same.
    xml = tifffile.tiffcomment(path)
    tifffile.tiffcomment(path, xml.replace("napari-dip-fusion/image/1", "another").encode())
    np.testing.assert_allclose(read_image(path).affine, affine)


def test_channels_have_names_and_colors(tmp_path):
    inner = (
        f'<Channel ID="Channel:0:0" Name="A" Color="{0xFF8000FF - 2**32}"/>'
        '<Channel ID="Channel:0:1" Color="-1"/><TiffData/>'
    )
    path = write(
        tmp_path / "a.ome.tif", TRUTH[0, :, :], make_xml("", inner, order="XYCZT", sizes=(1, 4, 2))
    )
    first, second = read_images(path)
    assert (first.name, second.name) == ("A", "img 1")
    assert first.display == {"colormap": "#ff8000"}
    assert not second.display


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize(
    ("photometric", "samples", "channels", "shapes"),
    [
        ("rgb", 3, 1, [(4, 12, 16, 3)]),
        ("minisblack", 3, 1, [(4, 12, 16)] * 3),
        ("rgb", 3, 2, [(4, 12, 16, 3)] * 2),
        ("minisblack", 2, 2, [(4, 12, 16)] * 4),
    ],
)
def test_samples_and_channels(tmp_path, photometric, samples, channels, shapes, planar):
    """Several samples of one channel are color where the photometric interpretation says so."""
    count = samples * channels
    truth = np.random.default_rng(0).integers(0, 255, (4, channels, 12, 16, samples), np.uint8)
    inner = "".join(
        f'<Channel ID="Channel:0:{n}" Name="n{n}" SamplesPerPixel="{samples}"/>'
        for n in range(channels)
    )
    xml = make_xml("", f"{inner}<TiffData/>", order="XYCZT", sizes=(1, 4, count))
    stored = truth if planar == "contig" else np.moveaxis(truth, -1, -3)
    tifffile.imwrite(
        tmp_path / "a.ome.tif",
        stored,
        photometric=photometric,
        planarconfig=planar,
        description=xml.encode(),
        metadata=None,
    )
    images = read_images(tmp_path / "a.ome.tif")
    assert [image.data.shape for image in images] == shapes
    expected = [truth[:, c, :, :, s] for c in range(channels) for s in range(samples)]
    if photometric == "rgb":
        expected = [truth[:, c] for c in range(channels)]
    for image, one in zip(images, expected, strict=True):
        np.testing.assert_array_equal(image.to_numpy(), one)


def test_levels_of_a_pyramid_have_as_many_channels(tmp_path):
    data = np.random.default_rng(0).integers(0, 255, (2, 64, 64)).astype(np.uint16)
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as writer:
        options = {"tile": (16, 16), "photometric": "minisblack"}
        described = {"axes": "CYX", "PhysicalSizeX": 0.5, "Channel": {"Name": ["a", "b"]}}
        writer.write(data, subifds=2, metadata=described, **options)
        for n in (2, 4):
            writer.write(data[:, ::n, ::n], subfiletype=1, **options)
    for channel, image in enumerate(read_images(tmp_path / "a.ome.tif")):
        assert [level.shape for level in image.pyramid] == [(32, 32), (16, 16)]
        np.testing.assert_array_equal(image.pyramid[1], data[channel, ::4, ::4])


PLAIN = make_xml('PhysicalSizeX="0.5"')


@pytest.mark.parametrize(
    "xml",
    [
        "\ufeff" + PLAIN,
        PLAIN.replace("UTF-8", "UTF-16"),
        PLAIN.replace('Name="img"', 'Name="im\x01g"'),
        PLAIN.replace('Name="img"', 'Name="a & b"'),
        PLAIN + "  \n<!-- written by a microscope -->\n",
        "\n " + PLAIN + "\0\0",
        PLAIN.replace("µ", "u").encode("latin-1"),
        make_xml('PhysicalSizeX="0.5" PhysicalSizeXUnit="µm"').encode("latin-1"),
        PLAIN.replace("<", "<ome:")
        .replace("<ome:/", "</ome:")
        .replace("xmlns=", "xmlns:ome=")
        .replace("<ome:?", "<?"),
        make_xml('PhysicalSizeX="0.5" BinDataID="null"', '<TiffData IFD="" PlaneCount="null"/>'),
        make_xml(
            'PhysicalSizeX="0.5"', '<Channel ID="Channel:0:0" SamplesPerPixel=""/><TiffData/>'
        ),
    ],
)
def test_xml_that_is_odd_but_says_all(tmp_path, xml):
    path = write(tmp_path / "a.ome.tif", TRUTH[0, :, 0], xml)
    image = read_image(path)
    assert (image.spacing[2], image.units[2]) == (0.5, "um")
    np.testing.assert_array_equal(image.to_numpy(), TRUTH[0, :, 0])


@pytest.mark.parametrize(
    ("xml", "said"),
    [
        (PLAIN.replace("</Pixels>", ""), r"its OME-XML is damaged \(mismatched tag"),
        (PLAIN[:200], r"its OME-XML is damaged"),
        ("nothing of this kind", "holds no OME-XML, in spite of its name; it is read as plain"),
        (make_xml(inner=""), "declares other images than its pages hold"),
        (PLAIN.replace('SizeX="16"', 'SizeX="99"'), "declares other images than its pages hold"),
        (PLAIN.replace('DimensionOrder="XYZCT"', ""), "its OME-XML cannot be followed"),
        (PLAIN.replace('SizeX="16"', 'SizeX="many"'), "its OME-XML cannot be followed"),
    ],
)
def test_sound_pages_are_read_with_a_word_where_the_xml_is_of_no_use(tmp_path, xml, said):
    path = write(tmp_path / "a.ome.tif", TRUTH[0, :, 0], xml)
    with pytest.warns(UserWarning, match=f"a.ome.tif: .*{said}"):
        image = read_image(path)
    np.testing.assert_array_equal(image.to_numpy(), TRUTH[0, :, 0])


def test_colors_that_are_declared_as_channels_keep_their_size(tmp_path):
    colors = np.ascontiguousarray(np.moveaxis(TRUTH[0, :3, 0], 0, -1))
    inner = '<Channel ID="C:0"/><Channel ID="C:1"/><Channel ID="C:2"/><TiffData/>'
    xml = make_xml('PhysicalSizeX="0.5" PhysicalSizeY="0.25"', inner, sizes=(1, 1, 3))
    options = {"photometric": "rgb", "metadata": None, "description": xml.encode()}
    tifffile.imwrite(tmp_path / "a.ome.tif", colors, **options)
    with pytest.warns(UserWarning, match="declares other images than its pages hold"):
        image = read_image(tmp_path / "a.ome.tif")
    assert image.rgb
    np.testing.assert_array_equal(image.to_numpy(), colors)
    assert (tuple(image.spacing), image.units) == ((0.25, 0.5), ("um", "um"))


def test_pages_beyond_those_that_are_declared_are_said(tmp_path):
    xml = make_xml("", '<TiffData IFD="0" PlaneCount="4"/>', sizes=(1, 3, 1))
    path = write(tmp_path / "a.ome.tif", TRUTH[0, :, 0], xml)
    with pytest.warns(UserWarning, match="expected 3 frames, got 4"):
        image = read_image(path)
    np.testing.assert_array_equal(image.to_numpy(), TRUTH[0, :3, 0])


def test_another_type_than_the_pages_have_is_said(tmp_path):
    path = write(tmp_path / "a.ome.tif", TRUTH[0, :, 0], PLAIN.replace("uint8", "int8"))
    with pytest.warns(UserWarning, match="OME-XML declares int8, its pages hold uint8; the pages"):
        assert read_image(path).dtype == np.uint8


def test_entities_are_refused_also_in_a_file_of_the_plain_ending(tmp_path):
    bomb = '<!DOCTYPE x [<!ENTITY a "ha">]>' + PLAIN
    for name in ("a.ome.tif", "a.tif"):
        with pytest.raises(ImageFileError, match="declares entities in its OME-XML"):
            read_images(write(tmp_path / name, TRUTH[0, :, 0], bomb))
