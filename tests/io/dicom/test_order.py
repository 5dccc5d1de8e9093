"""Frames of a series are sorted by what they are, in whatever order and under whatever names."""

import itertools

import numpy as np
import pytest
from pydicom.uid import (
    CTImageStorage,
    MRImageStorage,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io import read_images
from napari_dip_fusion.io.dicom.series import read_files

SLICES, STEP = 4, 3.0


def clock(milliseconds):
    seconds, rest = divmod(milliseconds, 1000)
    return f"12{seconds // 60:02}{seconds % 60:02}.{rest:03}000"


# What volume v and its slice z have in their headers, the axis, and its values.
KINDS = {
    "temporal position": (lambda v, z: {"TemporalPositionIdentifier": v + 1}, "t", [1, 2, 3]),
    "trigger time": (lambda v, z: {"TriggerTime": 40.0 * v}, "t", [0, 40, 80]),
    # The heart beats a little slower while the last slice is taken.
    "trigger time by slice": (lambda v, z: {"TriggerTime": (40.0 + z) * v}, "t", [0, 40, 80]),
    "trigger delay": (
        lambda v, z: {"NominalPercentageOfCardiacPhase": 30.0 * v},
        "phase",
        [0, 30, 60],
    ),
    "frame reference": (lambda v, z: {"FrameReferenceTime": 500.0 + 1000 * v}, "t", None),
    "PET": (
        lambda v, z: {
            "Modality": "PT",
            "ImageIndex": v * SLICES + z + 1,
            "NumberOfSlices": SLICES,
            "NumberOfTimeSlices": 3,
            "SeriesType": ["DYNAMIC", "IMAGE"],
        },
        "t",
        None,
    ),
    "acquisition number": (lambda v, z: {"AcquisitionNumber": v + 1}, "t", None),
    "acquisition time of volumes": (lambda v, z: {"AcquisitionTime": clock(2000 * v)}, "t", None),
    "acquisition time of slices": (
        lambda v, z: {"AcquisitionTime": clock(2000 * v + 300 * z)},
        "t",
        [0, 2000, 4000],
    ),
    "interleaved slices": (
        lambda v, z: {"ContentTime": clock(2000 * v + 300 * [0, 2, 1, 3][z])},
        "t",
        [0, 2000, 4000],
    ),
    "slice after slice": (lambda v, z: {"ContentTime": clock(5000 * z + 50 * v)}, "t", None),
    "echo time": (lambda v, z: {"EchoTime": 2.5 * (v + 1)}, "echo", [2.5, 5.0, 7.5]),
    "rounded echo time": (
        lambda v, z: {"EchoTime": f"{4.92 + 2.46 * v + 1e-4 * z:.5f}"},
        "echo",
        [4.92, 7.38, 9.84],
    ),
    "echo number": (lambda v, z: {"EchoNumbers": v + 1}, "echo", [1, 2, 3]),
    "b": (lambda v, z: {"DiffusionBValue": 500.0 * v}, "b", [0, 500, 1000]),
    "direction": (
        lambda v, z: {
            "DiffusionBValue": 800.0,
            "DiffusionGradientOrientation": list(np.eye(3)[v]),
        },
        "b",
        None,
    ),
    "inversion": (lambda v, z: {"InversionTime": 100.0 * (v + 1)}, "inversion", [100, 200, 300]),
    "inversion shuffled over slices": (
        lambda v, z: {"InversionTime": 100.0 * (v + 1), "TriggerTime": 7.0 * ((v + z) % 3)},
        "inversion",
        [100, 200, 300],
    ),
    "flip": (lambda v, z: {"FlipAngle": 5.0 * (v + 1)}, "flip", [5, 10, 15]),
}


@pytest.mark.parametrize(
    ("kind", "numbers"),
    [*((kind, "equal") for kind in KINDS), ("echo time", "shuffled"), ("direction", "shuffled")],
)
def test_volumes_are_told_apart(tmp_path, make_slice, value, save, read, levels, kind, numbers):
    fields, axis, values = KINDS[kind]
    shuffled = iter(np.random.default_rng(2).permutation(3 * SLICES))
    headers = [
        make_slice(
            v, z, InstanceNumber=z + 1 if numbers == "equal" else next(shuffled), **fields(v, z)
        )
        for v in range(3)
        for z in range(SLICES)
    ]
    images, told = read(save(tmp_path / "all", headers))
    assert (len(images), told) == (1, [])
    assert images[0].axes == (axis, "z", "y", "x")
    order = np.arange(3)
    if kind == "direction":  # their order is that of the numbers
        order = np.argmax(images[0].metadata["axis_values"]["b_direction"], axis=1)
    np.testing.assert_array_equal(levels(images[0]), value(order[:, None], np.arange(SLICES)))
    if values is not None:
        np.testing.assert_allclose(images[0].metadata["axis_values"][axis], values)


def test_the_time_of_day_leaves_no_file(tmp_path, make_slice, save, read):
    headers = [
        make_slice(v, z, AcquisitionDate="20250304", AcquisitionTime=clock(2500 * v))
        for v in range(3)
        for z in range(2)
    ]
    (image,), _ = read(save(tmp_path / "all", headers))
    assert image.metadata["axis_values"] == {"t": [0.0, 2500.0, 5000.0]}
    assert (image.units[0], image.affine[0, 0], image.affine[0, -1]) == ("ms", 2500.0, 0.0)


def test_uneven_times_are_no_step(tmp_path, make_slice, save, read):
    headers = [
        make_slice(v, z, FrameReferenceTime=time)
        for v, time in enumerate((500.0, 1500.0, 5000.0))
        for z in range(2)
    ]
    (image,), _ = read(save(tmp_path / "all", headers))
    assert (image.units[0], image.affine[0, 0]) == ("pixel", 1.0)
    assert image.metadata["axis_values"] == {"t": [500.0, 1500.0, 5000.0]}


def test_midnight_is_no_end(tmp_path, make_slice, save, read, levels):
    moments = (("20250304", "235959.0"), ("20250305", "000001.0"), ("20250305", "000003.0"))
    headers = [
        make_slice(v, z, AcquisitionDate=day, AcquisitionTime=time)
        for v, (day, time) in enumerate(moments)
        for z in range(2)
    ]
    (image,), _ = read(save(tmp_path / "all", headers))
    assert levels(image)[:, 0].tolist() == [0, 100, 200]
    assert image.affine[0, 0] == 2000.0


# The elements of b-value and direction, and whether that is a direction in the body.
PRIVATE = {
    "Siemens": (
        (0x0019, "SIEMENS MR HEADER", 0x0C, "IS", lambda b: str(b)),
        (0x0019, "SIEMENS MR HEADER", {0x0E: ("FD", [0.0, 0.6, 0.8])}),
        True,
    ),
    "GE": (
        (0x0043, "GEMS_PARM_01", 0x39, "IS", lambda b: [str(b + 10**9), "8", "0", "0"]),
        (
            0x0019,
            "GEMS_ACQU_01",
            {0xBB: ("DS", "0"), 0xBC: ("DS", "0.6"), 0xBD: ("DS", "0.8")},
        ),
        False,
    ),
    "Philips": (
        (0x2001, "Philips Imaging DD 001", 0x03, "FL", float),
        (
            0x2005,
            "Philips MR Imaging DD 001",
            {0xB0: ("FL", 0.0), 0xB1: ("FL", 0.6), 0xB2: ("FL", 0.8)},
        ),
        True,
    ),
}


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("maker", PRIVATE)
def test_private_diffusion_fields(tmp_path, make_slice, save, read, levels, maker, moved):
    (group, owner, element, vr, convert), (turned, turner, elements), in_body = PRIVATE[maker]
    headers = []
    for v in range(3):
        for z in range(2):
            header = make_slice(v, z)
            if moved:  # by an archive that uses the first blocks itself
                header.private_block(group, "ARCHIVE", create=True)
                header.private_block(turned, "ARCHIVE", create=True)
            block = header.private_block(group, owner, create=True)
            block.add_new(element, vr, convert(500 * v))
            block = header.private_block(turned, turner, create=True)
            for number, (kind, content) in elements.items():
                block.add_new(number, kind, content)
            headers.append(header)
    (image,), told = read(save(tmp_path / "all", headers))
    assert (image.axes[0], told) == ("b", [])
    assert levels(image)[:, 0].tolist() == [0, 100, 200]
    values = image.metadata["axis_values"]
    assert values["b"] == [0.0, 500.0, 1000.0]
    assert ("b_direction" in values) == in_body
    if in_body:
        expected = [[0, 0, 0], [0, 0.6, 0.8], [0, 0.6, 0.8]]
        np.testing.assert_allclose(values["b_direction"], expected, atol=1e-7)


def test_private_directions_tell_volumes_apart(tmp_path, make_slice, save, read, levels):
    """GE has them along readout, phase and slice."""
    headers = []
    for v in range(3):
        for z in range(2):
            header = make_slice(v, z, InstanceNumber=2 * v + z + 1)
            header.private_block(0x0043, "GEMS_PARM_01", create=True).add_new(0x39, "IS", "800")
            block = header.private_block(0x0019, "GEMS_ACQU_01", create=True)
            for n in range(3):
                block.add_new(0xBB + n, "DS", str(int(n == v)))
            headers.append(header)
    (image,), told = read(save(tmp_path / "all", headers))
    assert (image.axes[0], told) == ("b", [])
    assert levels(image)[:, 0].tolist() == [0, 100, 200]
    assert "axis_values" not in image.metadata


def test_several_axes_make_a_grid(tmp_path, make_slice, save, read, levels):
    headers = [
        make_slice(2 * t + e, z, EchoTime=(4.9, 7.4)[e], TemporalPositionIdentifier=t + 1)
        for t, e, z in itertools.product(range(3), range(2), range(SLICES))
    ]
    (image,), told = read(save(tmp_path / "all", headers))
    assert (image.axes, told) == (("t", "echo", "z", "y", "x"), [])
    assert levels(image)[:, :, 1].tolist() == [[1, 101], [201, 301], [401, 501]]
    assert image.metadata["axis_values"] == {"t": [1, 2, 3], "echo": [4.9, 7.4]}


def test_times_of_each_echo_are_found(tmp_path, make_slice, save, read, levels):
    headers = [
        make_slice(2 * t + e, z, EchoTime=(4.9, 7.4)[e], ContentTime=clock(1000 * t + 10 * z))
        for t, e, z in itertools.product(range(3), range(2), range(SLICES))
    ]
    (image,), told = read(save(tmp_path / "all", headers))
    assert (image.axes, told) == (("t", "echo", "z", "y", "x"), [])
    assert levels(image)[:, :, 1].tolist() == [[1, 101], [201, 301], [401, 501]]


@pytest.mark.parametrize(
    "when",
    [
        lambda t: {"TriggerTime": 40.0 * t},
        lambda t: {"FrameReferenceTime": 1000.0 * t},
        lambda t: {"AcquisitionTime": clock(2000 * t)},
    ],
)
def test_times_that_come_again_in_each_acquisition(
    tmp_path, make_slice, value, save, read, levels, when
):
    headers = [
        make_slice(3 * a + t, z, AcquisitionNumber=a + 1, **when(t))
        for a, t, z in itertools.product(range(2), range(3), range(SLICES))
    ]
    (image,), told = read(save(tmp_path / "all", headers))
    assert (image.axes, told) == (("t", "z", "y", "x"), [])
    np.testing.assert_array_equal(levels(image), value(np.arange(6)[:, None], np.arange(SLICES)))


def test_volumes_that_fill_no_grid_are_one_axis(tmp_path, make_slice, save, read, levels):
    weights = [(0.0, [0, 0, 0]), *((1000.0, list(row)) for row in np.eye(3)), (500.0, [1, 0, 0])]
    headers = [
        make_slice(v, z, DiffusionBValue=b, DiffusionGradientOrientation=direction)
        for v, (b, direction) in enumerate(weights)
        for z in range(2)
    ]
    (image,), told = read(save(tmp_path / "all", headers))
    assert (image.axes[0], image.shape[0], told) == ("b", 5, [])
    values = image.metadata["axis_values"]
    order = (levels(image)[:, 0] // 100).tolist()
    assert sorted(order) == [0, 1, 2, 3, 4]
    assert values["b"] == [weights[v][0] for v in order]
    assert values["b_direction"] == [weights[v][1] for v in order]


def test_several_images_without_weighting(tmp_path, make_slice, save, read, levels):
    weights = [0.0, 0.0, 700.0, 0.0, 1000.0]
    headers = [
        make_slice(v, z, DiffusionBValue=b, AcquisitionNumber=v + 1)
        for v, b in enumerate(weights)
        for z in range(2)
    ]
    (image,), told = read(save(tmp_path / "all", headers))
    assert (image.axes[0], image.shape[0], told) == ("b", 5, [])
    order = (levels(image)[:, 0] // 100).tolist()
    assert sorted(order) == [0, 1, 2, 3, 4]
    assert image.metadata["axis_values"]["b"] == [weights[v] for v in order]


def test_axes_that_change_together_are_one(tmp_path, make_slice, save, read, levels):
    headers = [
        make_slice(
            v, z, TemporalPositionIdentifier=v + 1, InversionTime=100.0 * (3 - v), FlipAngle=5.0
        )
        for v in range(3)
        for z in range(SLICES)
    ]
    (image,), told = read(save(tmp_path / "all", headers))
    assert (image.axes, told) == (("inversion", "z", "y", "x"), [])
    assert image.metadata["axis_values"] == {"inversion": [100, 200, 300], "t": [3, 2, 1]}
    assert levels(image)[:, 0].tolist() == [200, 100, 0]


def test_times_that_count_all_volumes_are_no_axis_beside_the_weighting(
    tmp_path, make_slice, save, read, levels
):
    weights = [0.0, 700.0, 0.0, 1000.0]
    headers = [
        make_slice(v, z, DiffusionBValue=b, TemporalPositionIdentifier=v + 1)
        for v, b in enumerate(weights)
        for z in range(2)
    ]
    (image,), told = read(save(tmp_path / "all", headers))
    assert (image.axes, told) == (("b", "z", "y", "x"), [])
    assert levels(image)[:, 0].tolist() == [0, 100, 200, 300]
    assert image.metadata["axis_values"] == {"b": weights, "t": [1, 2, 3, 4]}


NATURES = {
    "phase": (
        [{"ImageType": ["ORIGINAL", "PRIMARY", kind, "NORM"]} for kind in "MP"],
        ["MR series 3 magnitude", "MR series 3 phase"],
    ),
    "opposed phase": (
        [{"ImageType": ["ORIGINAL", "PRIMARY", "M", kind]} for kind in ("IP", "OP")],
        ["MR series 3 in phase", "MR series 3 opposed phase"],
    ),
    "manufacturer's terms": (
        [
            {"ImageType": ["ORIGINAL", "PRIMARY", *kind, "FFE"]}
            for kind in (("M_FFE", "M"), ("PHASE MAP", "P"))
        ],
        ["MR series 3 magnitude", "MR series 3 phase"],
    ),
    "derived": (
        [{"ImageType": [kind, "PRIMARY", "M"]} for kind in ("ORIGINAL", "DERIVED")],
        ["MR series 3 original primary", "MR series 3 derived primary"],
    ),
    "kernels": (
        [{"Modality": "CT", "ConvolutionKernel": kernel} for kernel in ("B30", "B60")],
        ["CT series 3 b30", "CT series 3 b60"],
    ),
    "class": (
        [{"SOPClassUID": uid} for uid in (MRImageStorage, SecondaryCaptureImageStorage)],
        ["MR series 3 MR", "MR series 3 Secondary Capture"],
    ),
    "unit": (
        [{"RescaleType": unit} for unit in ("HU", "ED")],
        ["MR series 3 HU", "MR series 3 ED"],
    ),
    "frame of reference": (
        [{"FrameOfReferenceUID": uid} for uid in ("1.2", "1.3")],
        ["MR series 3 (1)", "MR series 3 (2)"],
    ),
    "orientation": (
        [
            {"ImageOrientationPatient": turned}
            for turned in ([1, 0, 0, 0, 1, 0], [0, 1, 0, 0, 0, -1])
        ],
        ["MR series 3 axial", "MR series 3 sagittal"],
    ),
}


@pytest.mark.parametrize("kind", NATURES)
def test_natures_are_sources_of_their_own(tmp_path, make_slice, save, read, levels, kind):
    natures, names = NATURES[kind]
    headers = []
    for v, fields in enumerate(natures):
        across = fields.get("ImageOrientationPatient", [1])[0] == 0
        for z in range(SLICES):
            where = {"ImagePositionPatient": [STEP * z, 0, 0]} if across else {}
            headers.append(make_slice(v, z, InstanceNumber=z + 1, **where, **fields))
    images, told = read(save(tmp_path / "all", headers))
    assert told == []
    # A normal that points to the right turns the order of slices.
    found = {image.name: sorted(levels(image).tolist()) for image in images}
    if kind == "frame of reference":
        assert sorted(found) == names
        assert sorted(found.values()) == [[0, 1, 2, 3], [100, 101, 102, 103]]
    else:
        assert found == {name: [100 * v + z for z in range(4)] for v, name in enumerate(names)}


def test_a_scan_that_was_stopped(tmp_path, make_slice, save, read, levels):
    headers = [
        make_slice(v, z, TemporalPositionIdentifier=v + 1)
        for v in range(3)
        for z in range(SLICES if v < 2 else 3)
    ]
    (image,), told = read(save(tmp_path / "all", headers))
    assert levels(image).tolist() == [[0, 1, 2, 3], [100, 101, 102, 103]]
    assert told == ["MR series 3: 1 incomplete volumes were left out: t 2 has 3 of 4 slices"]


@pytest.mark.parametrize(
    "order", [(0, 1), (1, 0), (0, 2, 1), (2, 0, 1), (0, 2, 1, 3), (0, 2, 4, 1, 3)]
)
def test_a_scan_that_was_stopped_within_any_order_of_slices(
    tmp_path, make_slice, value, save, read, levels, order
):
    """Three slices in turns have the order of falling ones that begin elsewhere."""
    count = len(order)
    for held in range(1, count):
        headers = [
            make_slice(v, z, AcquisitionTime=clock(300 * (v * count + n)))
            for v in range(4)
            for n, z in enumerate(order)
            if v < 3 or n < held
        ]
        (image,), told = read(save(tmp_path / f"{held}", headers))
        assert levels(image).tolist() == [[value(v, z) for z in range(count)] for v in range(3)]
        assert len(told) == 1
        assert f"t 3 has {held} of {count} slices" in told[0]


def test_a_scan_that_was_stopped_between_uneven_heartbeats(
    tmp_path, make_slice, save, read, levels
):
    beats = np.random.default_rng(0).uniform(-8, 8, (3, SLICES)).round(1)
    headers = [
        make_slice(v, z, TriggerTime=100.0 + 40 * v + beats[v, z])
        for v in range(3)
        for z in range(SLICES if v < 2 else 3)
    ]
    (image,), told = read(save(tmp_path / "all", headers))
    assert levels(image).tolist() == [[0, 1, 2, 3], [100, 101, 102, 103]]
    assert told == ["MR series 3: 1 incomplete volumes were left out: t 2 has 3 of 4 slices"]


@pytest.mark.parametrize("lost", [0, 2])
@pytest.mark.parametrize("volume", [0, 1, 2])
@pytest.mark.parametrize(
    "kind", ["temporal position", "acquisition time of slices", "interleaved slices"]
)
def test_a_slice_lost_from_a_volume(tmp_path, make_slice, save, read, levels, kind, volume, lost):
    fields = KINDS[kind][0]
    headers = [
        make_slice(v, z, **fields(v, z))
        for v in range(3)
        for z in range(SLICES)
        if (v, z) != (volume, lost)
    ]
    (image,), told = read(save(tmp_path / "all", headers))
    kept = [v for v in range(3) if v != volume]
    assert (levels(image) // 100).tolist() == [[v] * SLICES for v in kept]
    assert levels(image)[0].tolist() == [100 * kept[0] + z for z in range(SLICES)]
    assert len(told) == 1
    assert "has 3 of 4 slices" in told[0]


def test_a_slice_lost_from_all_volumes_is_a_gap(tmp_path, make_slice, save, read, levels):
    headers = [
        make_slice(v, z, TemporalPositionIdentifier=v + 1)
        for v in range(2)
        for z in (0, 1, 2, 4, 5)
    ]
    (image,), told = read(save(tmp_path / "all", headers))
    assert image.shape[:2] == (2, 6)
    assert levels(image)[1, [0, 1, 2, 4, 5]].tolist() == [100, 101, 102, 104, 105]
    assert told == ["MR series 3: 1 of 6 slices are missing and shown blank: z 3"]


def test_a_stopped_grid(tmp_path, make_slice, save, read, levels):
    cells = [cell for cell in itertools.product(range(3), range(2)) if cell != (2, 1)]
    headers = [
        make_slice(2 * t + e, z, EchoTime=(4.9, 7.4)[e], TemporalPositionIdentifier=t + 1)
        for t, e in cells
        for z in range(SLICES)
    ]
    (image,), told = read(save(tmp_path / "all", headers))
    assert image.axes == ("t", "echo", "z", "y", "x")
    assert levels(image)[:, :, 0].tolist() == [[0, 100], [200, 300]]
    assert told == ["MR series 3: the last t lacks volumes; the 1 that it has were left out"]


def test_volumes_in_other_places_are_sources_of_their_own(tmp_path, make_slice, save, read, levels):
    headers = [make_slice(0, z, EchoTime=4.0) for z in range(4)]
    headers += [make_slice(1, z, EchoTime=8.0) for z in range(2, 8)]
    images, told = read(save(tmp_path / "all", headers))
    assert told == []
    assert sorted(levels(image).tolist() for image in images) == [
        [0, 1, 2, 3],
        [102, 103, 104, 105, 106, 107],
    ]
    assert {image.name for image in images} == {"MR series 3 echo 4", "MR series 3 echo 8"}


@pytest.mark.parametrize("kind", ["acquisition", "acquisition time", "number", "gap"])
def test_slices_between_those_of_another_volume(tmp_path, make_slice, save, read, levels, kind):
    headers = []
    for v in range(2):
        for z in range(SLICES):
            fields = {
                "acquisition": {"AcquisitionNumber": v + 1},
                "acquisition time": {"AcquisitionTime": clock(5000 * v + 100 * z)},
                "number": {"InstanceNumber": SLICES * v + z},
                "gap": {},
            }[kind]
            where = [-8.0, -6.0, STEP * z + (100.0 if kind == "gap" else 0.8) * v]
            headers.append(make_slice(v, z, ImagePositionPatient=where, **fields))
    images, told = read(save(tmp_path / "all", headers))
    assert told == []
    assert [levels(image).tolist() for image in images] == [[0, 1, 2, 3], [100, 101, 102, 103]]
    np.testing.assert_allclose([image.spacing[0] for image in images], STEP)


@pytest.mark.parametrize("kind", ["volume after volume", "slice after slice"])
def test_instance_numbers_tell_if_nothing_else_does(tmp_path, make_slice, save, read, levels, kind):
    number = (lambda v, z: 4 * v + z) if kind == "volume after volume" else (lambda v, z: 3 * z + v)
    headers = [
        make_slice(v, z, InstanceNumber=number(v, z)) for v in range(3) for z in range(SLICES)
    ]
    (image,), told = read(save(tmp_path / "all", headers))
    assert image.axes[0] == "t"
    assert (levels(image) // 100).tolist() == [[v] * SLICES for v in range(3)]
    assert len(told) == 1
    assert "nothing but InstanceNumber tells several volumes apart" in told[0]


def test_frames_that_nothing_tells_apart_are_left_out(tmp_path, make_slice, save, read, levels):
    headers = [make_slice(v, z, InstanceNumber=1) for v in range(2) for z in range(SLICES)]
    folder = save(tmp_path / "all", headers)
    with (
        pytest.warns(UserWarning, match="8 frames lie in 4 places, and nothing"),
        pytest.raises(ImageFileError, match="nothing in the headers tells which frames"),
    ):
        read_images(folder)
    (folder / "ct").mkdir()
    make_slice(0, 0, SeriesInstanceUID="9.9").save_as(folder / "ct" / "a", enforce_file_format=True)
    images, told = read(folder)
    assert [levels(image).tolist() for image in images] == [[0]]
    assert len(told) == 1


def test_copies_are_dropped_but_not_other_slices_of_the_same_uid(
    tmp_path, make_slice, save, read, levels
):
    uid = generate_uid()
    headers = [make_slice(0, z, SOPInstanceUID=uid) for z in range(SLICES)]
    folder = save(tmp_path / "all", [*headers, headers[2]])
    (image,), told = read(folder)
    assert levels(image).tolist() == [0, 1, 2, 3]
    assert told == ["MR series 3: 1 doubled slices were left out"]


def test_files_may_be_named_in_any_order(tmp_path, make_slice, save, levels):
    folder = save(
        tmp_path / "all",
        [make_slice(v, z, EchoTime=float(v + 1)) for v in range(2) for z in range(SLICES)],
    )
    paths = sorted(folder.iterdir())
    for order in (paths, paths[::-1], paths[3:] + paths[:3]):
        (image,) = read_files(order)
        assert levels(image).tolist() == [[0, 1, 2, 3], [100, 101, 102, 103]]


def test_pictures_without_a_place_are_frames(tmp_path, make, save, read, levels):
    headers = [
        make(np.full((3, 4), n), ImageOrientationPatient=None, InstanceNumber=n + 1)
        for n in range(3)
    ]
    (image,), told = read(save(tmp_path / "all", headers))
    assert (image.axes, image.units[0], told) == (("frame", "y", "x"), "pixel", [])
    assert levels(image).tolist() == [0, 1, 2]


def test_a_slice_has_a_value_of_its_own(tmp_path, make_slice, save, read, levels):
    headers = [make_slice(0, z, TemporalPositionIdentifier=z + 1, EchoTime=4.0) for z in range(4)]
    (image,), told = read(save(tmp_path / "all", headers))
    assert (levels(image).tolist(), told) == ([0, 1, 2, 3], [])


def test_classes_need_no_field(tmp_path, make_slice, save, read, levels):
    headers = [
        make_slice(0, z, SOPClassUID=CTImageStorage, Modality="CT", AcquisitionTime="")
        for z in range(SLICES)
    ]
    (image,), _ = read(save(tmp_path / "all", headers))
    assert levels(image).tolist() == [0, 1, 2, 3]


def test_slices_of_several_types_are_one_volume(tmp_path, make_slice, save, read, levels):
    headers = [make_slice(0, z, PixelRepresentation=z % 2) for z in range(SLICES)]
    headers[1].PixelData = np.full((3, 4), -5, "<i2").tobytes()
    headers[2].PixelData = np.full((3, 4), 60000, "<u2").tobytes()
    (image,), told = read(save(tmp_path / "all", headers))
    assert (levels(image).tolist(), told) == ([0, -5, 60000, 3], [])
