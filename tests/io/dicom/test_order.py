"""Frames of a series are sorted by what they are, in whatever order and under whatever names."""

import itertools
import warnings

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    CTImageStorage,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io import read_images
from napari_dip_fusion.io.dicom.series import read_files

SLICES, STEP = 4, 3.0


def value(volume, place):
    """Return the value of all pixels of a slice."""
    return 100 * volume + place


def make(pixels, **fields):
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.SOPClassUID = MRImageStorage
    header.SOPInstanceUID = generate_uid()
    header.SeriesInstanceUID, header.SeriesNumber, header.Modality = "1.2.3", 3, "MR"
    header.Rows, header.Columns = pixels.shape[-2:]
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.BitsAllocated = header.BitsStored = 16
    header.HighBit, header.PixelRepresentation = 15, 0
    header.PixelSpacing, header.SliceThickness = [2.0, 2.0], STEP
    header.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    header.PixelData = pixels.astype("<u2").tobytes()
    for keyword, content in fields.items():
        if content is None:
            delattr(header, keyword)
        else:
            setattr(header, keyword, content)
    header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
    return header


def make_slice(volume, place, **fields):
    position = {"ImagePositionPatient": [-8.0, -6.0, STEP * place]}
    return make(np.full((3, 4), value(volume, place)), **{**position, **fields})


def save(folder, headers, *, seed=5):
    """Write files in any order, under names that say nothing."""
    folder.mkdir(exist_ok=True)
    names = np.random.default_rng(seed).permutation(len(headers))
    for name, header in zip(names, headers, strict=True):
        header.save_as(folder / f"{name:04}", enforce_file_format=True)
    return folder


def read(folder):
    """Return the images of a folder, and the warnings."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        images = read_images(folder)
    return images, [str(warning.message) for warning in told]


def levels(image):
    """Return the values of the slices, which are constant."""
    pixels = image.to_numpy()
    assert (pixels == pixels[..., :1, :1]).all()
    return pixels[..., 0, 0]


def group(**fields):
    item = Dataset()
    for keyword, content in fields.items():
        setattr(item, keyword, content)
    return Sequence([item])


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
def test_volumes_are_told_apart(tmp_path, kind, numbers):
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


def test_the_time_of_day_leaves_no_file(tmp_path):
    headers = [
        make_slice(v, z, AcquisitionDate="20250304", AcquisitionTime=clock(2500 * v))
        for v in range(3)
        for z in range(2)
    ]
    (image,), _ = read(save(tmp_path / "all", headers))
    assert image.metadata["axis_values"] == {"t": [0.0, 2500.0, 5000.0]}
    assert (image.units[0], image.affine[0, 0], image.affine[0, -1]) == ("ms", 2500.0, 0.0)


def test_uneven_times_are_no_step(tmp_path):
    headers = [
        make_slice(v, z, FrameReferenceTime=time)
        for v, time in enumerate((500.0, 1500.0, 5000.0))
        for z in range(2)
    ]
    (image,), _ = read(save(tmp_path / "all", headers))
    assert (image.units[0], image.affine[0, 0]) == ("pixel", 1.0)
    assert image.metadata["axis_values"] == {"t": [500.0, 1500.0, 5000.0]}


def test_midnight_is_no_end(tmp_path):
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
def test_private_diffusion_fields(tmp_path, maker, moved):
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


def test_private_directions_tell_volumes_apart(tmp_path):
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


def test_several_axes_make_a_grid(tmp_path):
    headers = [
        make_slice(2 * t + e, z, EchoTime=(4.9, 7.4)[e], TemporalPositionIdentifier=t + 1)
        for t, e, z in itertools.product(range(3), range(2), range(SLICES))
    ]
    (image,), told = read(save(tmp_path / "all", headers))
    assert (image.axes, told) == (("t", "echo", "z", "y", "x"), [])
    assert levels(image)[:, :, 1].tolist() == [[1, 101], [201, 301], [401, 501]]
    assert image.metadata["axis_values"] == {"t": [1, 2, 3], "echo": [4.9, 7.4]}


def test_times_of_each_echo_are_found(tmp_path):
    headers = [
        make_slice(2 * t + e, z, EchoTime=(4.9, 7.4)[e], ContentTime=clock(1000 * t + 10 * z))
        for t, e, z in itertools.product(range(3), range(2), range(SLICES))
    ]
    (image,), told = read(save(tmp_path / "all", headers))
    assert (image.axes, told) == (("t", "echo", "z", "y", "x"), [])
    assert levels(image)[:, :, 1].tolist() == [[1, 101], [201, 301], [401, 501]]


def test_volumes_that_fill_no_grid_are_one_axis(tmp_path):
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


def test_several_images_without_weighting(tmp_path):
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


def test_axes_that_change_together_are_one(tmp_path):
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


def test_times_that_count_all_volumes_are_no_axis_beside_the_weighting(tmp_path):
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
def test_natures_are_sources_of_their_own(tmp_path, kind):
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


def test_a_scan_that_was_stopped(tmp_path):
    headers = [
        make_slice(v, z, TemporalPositionIdentifier=v + 1)
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
def test_a_slice_lost_from_a_volume(tmp_path, kind, volume, lost):
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


def test_a_slice_lost_from_all_volumes_is_a_gap(tmp_path):
    headers = [
        make_slice(v, z, TemporalPositionIdentifier=v + 1)
        for v in range(2)
        for z in (0, 1, 2, 4, 5)
    ]
    (image,), told = read(save(tmp_path / "all", headers))
    assert image.shape[:2] == (2, 6)
    assert levels(image)[1, [0, 1, 2, 4, 5]].tolist() == [100, 101, 102, 104, 105]
    assert told == ["MR series 3: 1 of 6 slices are missing and shown blank: z 3"]


def test_a_stopped_grid(tmp_path):
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


def test_volumes_in_other_places_are_sources_of_their_own(tmp_path):
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
def test_slices_between_those_of_another_volume(tmp_path, kind):
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
def test_instance_numbers_tell_if_nothing_else_does(tmp_path, kind):
    number = (lambda v, z: 4 * v + z) if kind == "volume after volume" else (lambda v, z: 3 * z + v)
    headers = [
        make_slice(v, z, InstanceNumber=number(v, z)) for v in range(3) for z in range(SLICES)
    ]
    (image,), told = read(save(tmp_path / "all", headers))
    assert image.axes[0] == "t"
    assert (levels(image) // 100).tolist() == [[v] * SLICES for v in range(3)]
    assert len(told) == 1
    assert "nothing but InstanceNumber tells several volumes apart" in told[0]


def test_frames_that_nothing_tells_apart_are_left_out(tmp_path):
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


def test_copies_are_dropped_but_not_other_slices_of_the_same_uid(tmp_path):
    uid = generate_uid()
    headers = [make_slice(0, z, SOPInstanceUID=uid) for z in range(SLICES)]
    folder = save(tmp_path / "all", [*headers, headers[2]])
    (image,), told = read(folder)
    assert levels(image).tolist() == [0, 1, 2, 3]
    assert told == ["MR series 3: 1 doubled slices were left out"]


def enhanced(frames, *, shared=None, **fields):
    """Return an enhanced object of (value, place, functional groups of the frame)."""
    header = make(
        np.stack([np.full((3, 4), level) for level, _, _ in frames]),
        NumberOfFrames=len(frames),
        ImageOrientationPatient=None,
        PixelSpacing=None,
        SOPClassUID=EnhancedMRImageStorage,
        **fields,
    )
    common = Dataset()
    common.PlaneOrientationSequence = group(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    common.PixelMeasuresSequence = group(PixelSpacing=[2, 2], SliceThickness=STEP)
    for keyword, content in (shared or {}).items():
        setattr(common, keyword, content)
    own = []
    for _, place, groups in frames:
        item = Dataset()
        item.PlanePositionSequence = group(ImagePositionPatient=[0, 0, STEP * place])
        for keyword, content in groups.items():
            setattr(item, keyword, content)
        own.append(item)
    header.SharedFunctionalGroupsSequence = Sequence([common])
    header.PerFrameFunctionalGroupsSequence = Sequence(own)
    return header


def direction(v):
    return group(
        DiffusionBValue=1000.0,
        DiffusionDirectionality="DIRECTIONAL",
        DiffusionGradientDirectionSequence=group(DiffusionGradientOrientation=list(np.eye(3)[v])),
    )


GROUPS = {
    "temporal position": (
        lambda v, z: {"FrameContentSequence": group(TemporalPositionIndex=v + 1)},
        "t",
    ),
    "time offset": (
        lambda v, z: {"TemporalPositionSequence": group(TemporalPositionTimeOffset=0.5 * v)},
        "t",
    ),
    "acquisition": (
        lambda v, z: {
            "FrameContentSequence": group(
                FrameAcquisitionDateTime="20250304" + clock(3000 * v + 100 * z)
            )
        },
        "t",
    ),
    "echo": (lambda v, z: {"MREchoSequence": group(EffectiveEchoTime=2.5 * v + 2)}, "echo"),
    "direction": (lambda v, z: {"MRDiffusionSequence": direction(v)}, "b"),
    "inversion": (
        lambda v, z: {"MRModifierSequence": group(InversionTimes=[100.0 * (v + 1)])},
        "inversion",
    ),
    "flip": (
        lambda v, z: {"MRTimingAndRelatedParametersSequence": group(FlipAngle=5.0 * (v + 1))},
        "flip",
    ),
    "cardiac phase": (
        lambda v, z: {
            "CardiacSynchronizationSequence": group(
                NominalPercentageOfCardiacPhase=33.0 * v, NominalCardiacTriggerDelayTime=300.0 * v
            )
        },
        "phase",
    ),
}


@pytest.mark.parametrize(("kind", "files"), [*((kind, 2) for kind in GROUPS), ("echo", 1)])
def test_frames_of_one_object_are_told_apart(tmp_path, kind, files):
    fields, axis = GROUPS[kind]
    frames = [(value(v, z), z, fields(v, z)) for v in range(3) for z in range(SLICES)]
    frames = [frames[n] for n in np.random.default_rng(7).permutation(len(frames))]
    cut = len(frames) // files
    headers = [enhanced(frames[n * cut : (n + 1) * cut]) for n in range(files)]
    (image,), told = read(save(tmp_path / "all", headers))
    assert (image.axes, told) == ((axis, "z", "y", "x"), [])
    order = np.arange(3)
    if axis == "b":
        order = np.argmax(image.metadata["axis_values"]["b_direction"], axis=1)
    np.testing.assert_array_equal(levels(image), value(order[:, None], np.arange(SLICES)))


@pytest.mark.parametrize("lost", [1, -1])
def test_frames_that_the_header_does_not_describe_are_told(tmp_path, lost):
    header = enhanced([(value(0, z), z, {}) for z in range(SLICES)])
    described = header.PerFrameFunctionalGroupsSequence
    header.PerFrameFunctionalGroupsSequence = [*described, *described][: SLICES - lost]
    images, told = read(save(tmp_path / "all", [header]))
    assert images[0].shape[0] == SLICES - max(lost, 0)
    assert len(told) == len(images)
    assert all(f"describes {SLICES - lost} frames, and it has {SLICES}" in line for line in told)


def test_frames_made_one_after_the_other_are_volumes(tmp_path):
    """Each frame has a time of its own, by one of two fields that count frames, not volumes."""
    for fields in ({"FrameTime": 20.0}, {"FrameTimeVector": [0, *[20] * (3 * SLICES - 1)]}):
        frames = [(value(v, z), z, {}) for v in range(3) for z in range(SLICES)]
        (image,), told = read(save(tmp_path / next(iter(fields)), [enhanced(frames, **fields)]))
        assert (image.axes, told) == (("t", "z", "y", "x"), [])
        assert levels(image)[:, 2].tolist() == [2, 102, 202]
        assert (image.units[0], image.affine[0, 0]) == ("ms", 20.0 * SLICES)


def test_a_dimension_is_named_by_what_it_points_to(tmp_path):
    pointers = (0x00209056, 0x00209057, 0x00189082)  # stack, position in it, echo time
    index = Sequence([group(DimensionIndexPointer=pointer)[0] for pointer in pointers])
    frames = [
        (value(v, z), z, {"FrameContentSequence": group(DimensionIndexValues=[1, z + 1, v + 1])})
        for v in (1, 0)
        for z in range(SLICES)
    ]
    folder = save(tmp_path / "all", [enhanced(frames, DimensionIndexSequence=index)])
    (image,), told = read(folder)
    assert (image.axes[0], told) == ("echo", [])
    assert levels(image)[:, 0].tolist() == [0, 100]


def test_a_private_dimension_tells_volumes_apart(tmp_path):
    pointers = (0x00209057, 0x20051413)
    index = Sequence([group(DimensionIndexPointer=pointer)[0] for pointer in pointers])
    frames = [
        (value(v, z), z, {"FrameContentSequence": group(DimensionIndexValues=[z + 1, v + 1])})
        for v in (1, 0)
        for z in range(SLICES)
    ]
    (image,), told = read(save(tmp_path / "all", [enhanced(frames, DimensionIndexSequence=index)]))
    assert (image.axes[0], told) == ("index", [])
    assert levels(image)[:, 0].tolist() == [0, 100]


def test_stacks_and_components_are_sources_of_their_own(tmp_path):
    frames = [
        (
            value(2 * s + c, z),
            z,
            {
                "FrameContentSequence": group(StackID=str(s + 1)),
                "MRImageFrameTypeSequence": group(
                    FrameType=["ORIGINAL", "PRIMARY", "T1", "NONE"],
                    ComplexImageComponent=("MAGNITUDE", "PHASE")[c],
                ),
            },
        )
        for s, c, z in itertools.product(range(2), range(2), range(SLICES))
    ]
    images, told = read(save(tmp_path / "all", [enhanced(frames)]))
    assert told == []
    assert {image.name: int(levels(image)[0]) for image in images} == {
        "MR series 3 magnitude stack 1": 0,
        "MR series 3 phase stack 1": 100,
        "MR series 3 magnitude stack 2": 200,
        "MR series 3 phase stack 2": 300,
    }


def test_segments_are_sources_of_their_own(tmp_path):
    frames = [
        (value(s, z), z, {"SegmentIdentificationSequence": group(ReferencedSegmentNumber=s + 1)})
        for s, places in enumerate(((0, 1, 2, 3), (1, 3, 5)))
        for z in places
    ]
    images, told = read(save(tmp_path / "all", [enhanced(frames)]))
    assert told == []
    # Slices without any pixel of a segment are left out of the file.
    assert {image.name: levels(image).tolist() for image in images} == {
        "MR series 3 segment 1": [0, 1, 2, 3],
        "MR series 3 segment 2": [101, 0, 103, 0, 105],
    }
    np.testing.assert_allclose([image.affine[0, -1] for image in images], [0, STEP], atol=1e-9)


def test_objects_that_nothing_else_tells_apart_are_sources_of_their_own(tmp_path):
    headers = [enhanced([(value(v, z), z, {}) for z in range(SLICES)]) for v in range(2)]
    images, told = read(save(tmp_path / "all", headers))
    assert told == []
    assert sorted(levels(image).tolist() for image in images) == [
        [0, 1, 2, 3],
        [100, 101, 102, 103],
    ]
    assert {image.name for image in images} == {"MR series 3 (1)", "MR series 3 (2)"}


def test_an_object_in_several_files(tmp_path):
    frames = [
        (value(v, z), z, {"FrameContentSequence": group(TemporalPositionIndex=v + 1)})
        for v in range(2)
        for z in range(SLICES)
    ]
    headers = [
        enhanced(
            frames[3 * n : 3 * n + 3],
            ConcatenationUID="1.7",
            InConcatenationNumber=n + 1,
            InConcatenationTotalNumber=3,
            ConcatenationFrameOffsetNumber=3 * n,
        )
        for n in range(3)
    ]
    (image,), told = read(save(tmp_path / "all", headers))
    assert (levels(image).tolist(), told) == ([[0, 1, 2, 3], [100, 101, 102, 103]], [])
    _, told = read(save(tmp_path / "lacking", headers[:2]))
    assert told == [
        "MR series 3: of an object in 3 files, 1 are missing: part 3",
        "MR series 3: 1 incomplete volumes were left out: t 1 has 2 of 4 slices",
    ]


def test_files_may_be_named_in_any_order(tmp_path):
    folder = save(
        tmp_path / "all",
        [make_slice(v, z, EchoTime=float(v + 1)) for v in range(2) for z in range(SLICES)],
    )
    paths = sorted(folder.iterdir())
    for order in (paths, paths[::-1], paths[3:] + paths[:3]):
        (image,) = read_files(order)
        assert levels(image).tolist() == [[0, 1, 2, 3], [100, 101, 102, 103]]


LOOPS = {
    "frame time": ({"FrameTime": 40.0, "FrameIncrementPointer": 0x00181063}, "t", 40.0),
    "frame time without a pointer": ({"FrameTime": 40.0}, "t", 40.0),
    "frame times": (
        {"FrameTimeVector": [0, 40, 40, 40], "FrameIncrementPointer": 0x00181065},
        "t",
        40.0,
    ),
    "uneven frame times": (
        {"FrameTimeVector": [0, 40, 80, 40], "FrameIncrementPointer": 0x00181065},
        "t",
        None,
    ),
    "nothing": ({}, "frame", None),
    "pages": (
        {"FrameIncrementPointer": 0x00182001, "PageNumberVector": [1, 2, 3, 4]},
        "frame",
        None,
    ),
}


@pytest.mark.parametrize("kind", LOOPS)
def test_frames_without_a_place(tmp_path, kind):
    fields, axis, step = LOOPS[kind]
    pixels = np.stack([np.full((3, 4), n) for n in range(4)])
    header = make(
        pixels,
        NumberOfFrames=4,
        ImageOrientationPatient=None,
        SOPClassUID=SecondaryCaptureImageStorage,
        **fields,
    )
    (image,), told = read(save(tmp_path / "all", [header]))
    assert (image.axes, told) == ((axis, "y", "x"), [])
    assert levels(image).tolist() == [0, 1, 2, 3]
    assert (image.units[0], image.affine[0, 0]) == (("ms", step) if step else ("pixel", 1.0))
    if kind == "uneven frame times":
        assert image.metadata["axis_values"] == {"t": [0, 40, 120, 160]}


def test_loops_in_several_files_stay_apart(tmp_path):
    headers = [
        make(np.full((n, 3, 4), n), NumberOfFrames=n, ImageOrientationPatient=None, FrameTime=40.0)
        for n in (4, 4, 3)
    ]
    images, _ = read(save(tmp_path / "all", headers))
    assert sorted(image.shape[0] for image in images) == [3, 4, 4]
    assert len({image.name for image in images}) == 3


def test_pictures_without_a_place_are_frames(tmp_path):
    headers = [
        make(np.full((3, 4), n), ImageOrientationPatient=None, InstanceNumber=n + 1)
        for n in range(3)
    ]
    (image,), told = read(save(tmp_path / "all", headers))
    assert (image.axes, image.units[0], told) == (("frame", "y", "x"), "pixel", [])
    assert levels(image).tolist() == [0, 1, 2]


def nuclear(vectors, count, **fields):
    tags = {
        "EnergyWindowVector": 0x00540010,
        "DetectorVector": 0x00540020,
        "PhaseVector": 0x00540030,
        "RotationVector": 0x00540050,
        "RRIntervalVector": 0x00540060,
        "TimeSlotVector": 0x00540070,
        "SliceVector": 0x00540080,
        "AngularViewVector": 0x00540090,
        "TimeSliceVector": 0x00540100,
    }
    return make(
        np.stack([np.full((3, 4), n) for n in range(count)]),
        Modality="NM",
        NumberOfFrames=count,
        FrameIncrementPointer=[tags[name] for name in vectors],
        ImageOrientationPatient=None,
        SpacingBetweenSlices=STEP,
        **vectors,
        **fields,
    )


NUCLEAR = {
    "planar": (
        "STATIC",
        {"EnergyWindowVector": [1, 1, 2, 2], "DetectorVector": [1, 2, 1, 2]},
        ("energy", "detector"),
    ),
    "dynamic": (
        "DYNAMIC",
        {"DetectorVector": [1, 1, 1], "PhaseVector": [1, 1, 2], "TimeSliceVector": [1, 2, 1]},
        ("t",),
    ),
    "gated": (
        "GATED",
        {"RRIntervalVector": [1, 1, 1], "TimeSlotVector": [1, 2, 3]},
        ("slot",),
    ),
    "projections": (
        "TOMO",
        {"RotationVector": [1, 1, 2, 2], "AngularViewVector": [1, 2, 1, 2]},
        ("rotation", "angle"),
    ),
}


@pytest.mark.parametrize("kind", NUCLEAR)
def test_frames_of_nuclear_medicine_are_no_slices(tmp_path, kind):
    term, vectors, axes = NUCLEAR[kind]
    count = len(next(iter(vectors.values())))
    header = nuclear(vectors, count, ImageType=["ORIGINAL", "PRIMARY", term])
    header.DetectorInformationSequence = group(
        ImagePositionPatient=[0, 0, 0], ImageOrientationPatient=[1, 0, 0, 0, 1, 0]
    )
    (image,), told = read(save(tmp_path / "all", [header]))
    assert told == []
    assert "z" not in image.axes
    assert levels(image).ravel().tolist() == list(range(count))
    assert image.axes == (*axes, "y", "x")


def test_phases_of_a_dynamic_study_are_times(tmp_path):
    vectors = {"PhaseVector": [1, 1, 1, 2, 2], "TimeSliceVector": [1, 2, 3, 1, 2]}
    header = nuclear(vectors, 5, ImageType=["ORIGINAL", "PRIMARY", "DYNAMIC"])
    phases = [
        group(PhaseDelay=0, ActualFrameDuration=n, PauseBetweenFrames=0, NumberOfFramesInPhase=k)
        for n, k in ((1000, 3), (4000, 2))
    ]
    header.PhaseInformationSequence = Sequence([phase[0] for phase in phases])
    (image,), _ = read(save(tmp_path / "all", [header]))
    assert (image.axes, image.units[0]) == (("t", "y", "x"), "pixel")
    assert image.metadata["axis_values"] == {"t": [0, 1000, 2000, 3000, 7000]}


def test_gated_slices_are_volumes(tmp_path):
    cells = list(itertools.product((1, 2), (1, 2, 3)))
    vectors = {"TimeSlotVector": [s for s, _ in cells], "SliceVector": [z for _, z in cells]}
    header = nuclear(vectors, 6, ImageType=["ORIGINAL", "PRIMARY", "RECON GATED TOMO"])
    header.SpacingBetweenSlices = -STEP
    header.DetectorInformationSequence = group(
        ImagePositionPatient=[0, 0, 50], ImageOrientationPatient=[1, 0, 0, 0, 1, 0]
    )
    (image,), told = read(save(tmp_path / "all", [header]))
    assert (image.axes, told) == (("slot", "z", "y", "x"), [])
    # The first slice lies on top.
    assert levels(image).tolist() == [[2, 1, 0], [5, 4, 3]]
    np.testing.assert_allclose(image.affine[1, [1, -1]], [STEP, 50 - 2 * STEP])


def test_tiles_are_refused(tmp_path):
    header = make(
        np.zeros((4, 3, 4)), NumberOfFrames=4, TotalPixelMatrixRows=6, TotalPixelMatrixColumns=8
    )
    with pytest.raises(ImageFileError, match="6 x 8 pixels in tiles, which are not put together"):
        read_images(save(tmp_path / "all", [header]))


def test_a_slice_has_a_value_of_its_own(tmp_path):
    headers = [make_slice(0, z, TemporalPositionIdentifier=z + 1, EchoTime=4.0) for z in range(4)]
    (image,), told = read(save(tmp_path / "all", headers))
    assert (levels(image).tolist(), told) == ([0, 1, 2, 3], [])


def test_classes_need_no_field(tmp_path):
    headers = [
        make_slice(0, z, SOPClassUID=CTImageStorage, Modality="CT", AcquisitionTime="")
        for z in range(SLICES)
    ]
    (image,), _ = read(save(tmp_path / "all", headers))
    assert levels(image).tolist() == [0, 1, 2, 3]


def test_slices_of_several_types_are_one_volume(tmp_path):
    headers = [make_slice(0, z, PixelRepresentation=z % 2) for z in range(SLICES)]
    headers[1].PixelData = np.full((3, 4), -5, "<i2").tobytes()
    headers[2].PixelData = np.full((3, 4), 60000, "<u2").tobytes()
    (image,), told = read(save(tmp_path / "all", headers))
    assert (levels(image).tolist(), told) == ([0, -5, 60000, 3], [])
