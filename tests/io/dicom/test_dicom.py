import json
import pickle
import warnings
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pydicom
import pydicom.data
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    RLELossless,
    generate_uid,
)

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io import read_image, read_images, write_image
from napari_dip_fusion.io.dicom import checks, series, volume
from napari_dip_fusion.io.dicom.files import holds_dicom

EXAMPLES = Path(pydicom.data.__file__).parent / "test_files"
PATIENT = {
    "PatientName": "Mustermann^Erika",
    "PatientID": "K-4711",
    "PatientBirthDate": "19640812",
    "StudyDescription": "Frau Mustermann Kontrolle",
    "InstitutionName": "Klinikum Nirgendwo",
}
ROW = np.array([0.8, 0.6, 0.0])
COLUMN = np.array([0.0, 0.0, -1.0])
NORMAL = np.cross(ROW, COLUMN)
ORIGIN = np.array([-20.5, 33.25, 7.0])
STEP, SPACING = 2.5, (0.5, 0.75)


def slice_header(pixels, number=0, *, series="1.2.3", **fields):
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.file_meta.MediaStorageSOPClassUID = CTImageStorage
    header.SOPClassUID = CTImageStorage
    header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    header.SeriesInstanceUID, header.SeriesNumber, header.Modality = series, 4, "CT"
    header.InstanceNumber = number + 1
    header.Rows, header.Columns = pixels.shape[-2:]
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.BitsAllocated = header.BitsStored = 8 * pixels.dtype.itemsize
    header.HighBit = header.BitsStored - 1
    header.PixelRepresentation = int(pixels.dtype.kind == "i")
    header.ImageOrientationPatient = [*ROW, *COLUMN]
    header.ImagePositionPatient = list(ORIGIN + number * STEP * NORMAL)
    header.PixelSpacing, header.SliceThickness = list(SPACING), 1.0
    header.PixelData = pixels.tobytes()
    for keyword, value in {**PATIENT, **fields}.items():
        if value is None:
            delattr(header, keyword)
        else:
            setattr(header, keyword, value)
    return header


def save(header, path):
    header.save_as(path, enforce_file_format=True)
    return path


def save_series(folder, data, *, order=None, **fields):
    """Write slices under names that do not tell their order."""
    folder.mkdir(exist_ok=True)
    order = np.random.default_rng(1).permutation(len(data)) if order is None else order
    return [
        save(slice_header(data[n], n, **fields), folder / f"IM{name:03d}.dcm")
        for name, n in enumerate(order)
    ]


DATA = np.arange(5 * 6 * 8, dtype=np.int16).reshape(5, 6, 8)


def test_series_is_sorted_and_placed(tmp_path):
    save_series(tmp_path / "ct", DATA)
    image = read_image(tmp_path / "ct")
    np.testing.assert_array_equal(image.data, DATA)
    assert image.axes == ("z", "y", "x")
    assert image.units == ("mm",) * 3
    assert image.name == "CT series 4"
    world = ORIGIN + 3 * STEP * NORMAL + 4 * SPACING[0] * COLUMN + 5 * SPACING[1] * ROW
    np.testing.assert_allclose(image.affine @ (3, 4, 5, 1), [*world[::-1], 1])


def test_series_keep_apart(tmp_path):
    save_series(tmp_path, DATA)
    save(slice_header(DATA[0], 0, series="9.9", SeriesNumber=7), tmp_path / "other.dcm")
    axial = [1, 0, 0, 0, 1, 0]
    save(slice_header(DATA[0], ImageOrientationPatient=axial), tmp_path / "localizer.dcm")
    (tmp_path / "readme.txt").write_text("no image")
    images = read_images(tmp_path)
    assert sorted((image.name, len(image.data)) for image in images) == [
        ("CT series 4 axial", 1),
        ("CT series 4 coronal", 5),
        ("CT series 7", 1),
    ]
    with pytest.raises(ImageFileError, match="holds 3 images, choose a channel of 0: CT series"):
        read_image(tmp_path)
    assert read_image(tmp_path, channel="CT series 7").shape == (1, 6, 8)


def test_values_are_scaled_per_slice(tmp_path):
    for n in range(3):
        fields = {"RescaleSlope": 0.5 * (n + 1), "RescaleIntercept": -1}
        save(slice_header(DATA[n], n, **fields), tmp_path / f"{n}.dcm")
    image = read_image(tmp_path)
    assert image.dtype == np.float32
    np.testing.assert_array_equal(image.data[2], DATA[2] * 1.5 - 1)


@pytest.mark.parametrize("slope", [1, 2.5])
@pytest.mark.parametrize("dtype", [np.uint16, np.int16])
def test_small_is_bright_is_inverted(tmp_path, dtype, slope):
    pixels = np.arange(48, dtype=dtype).reshape(6, 8)
    fields = {"PhotometricInterpretation": "MONOCHROME1", "BitsStored": 12, "HighBit": 11}
    save(slice_header(pixels, RescaleSlope=slope, RescaleIntercept=0, **fields), tmp_path / "a.dcm")
    ends = 4095 if dtype == np.uint16 else -1
    np.testing.assert_array_equal(read_image(tmp_path / "a.dcm").data[0], (ends - pixels) * slope)


@pytest.mark.parametrize("bits", [8, 16])
def test_palettes_of_either_depth_give_the_same_colors(tmp_path, bits):
    pixels = np.array([[0, 1], [2, 3]], np.uint8)
    colors = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0], [10, 20, 30]], np.uint8)
    fields = {"PhotometricInterpretation": "PALETTE COLOR"}
    for name, values in zip(("Red", "Green", "Blue"), colors.T, strict=True):
        entries = values.copy() if bits == 8 else values.astype("<u2") * 257
        fields[f"{name}PaletteColorLookupTableDescriptor"] = [4, 0, bits]
        fields[f"{name}PaletteColorLookupTableData"] = entries.tobytes()
    save(slice_header(pixels, **fields), tmp_path / "a.dcm")
    np.testing.assert_array_equal(read_image(tmp_path / "a.dcm").data[0], colors[pixels])


def test_missing_slices_are_reported_and_blank(tmp_path):
    data = np.concatenate([DATA, DATA])
    paths = save_series(tmp_path, data, order=range(10))
    paths[4].unlink()
    paths[5].unlink()
    with pytest.warns(UserWarning, match="2 of 10 slices are missing and shown blank"):
        image = read_image(tmp_path)
    np.testing.assert_array_equal(image.data[6:], data[6:])
    assert len(np.unique(image.data[4:6])) == 1
    np.testing.assert_allclose(image.spacing[0], STEP)


def test_doubled_slices_are_reported(tmp_path):
    paths = save_series(tmp_path, DATA)
    (tmp_path / "copy.dcm").write_bytes(paths[0].read_bytes())
    with pytest.warns(UserWarning, match="1 doubled slices were left out"):
        np.testing.assert_array_equal(read_image(tmp_path).data, DATA)
    (tmp_path / "copy.dcm").unlink()
    save(slice_header(DATA[0], 2, InstanceNumber=99), tmp_path / "again.dcm")
    with pytest.warns(UserWarning, match="1 slices lie where another does"):
        np.testing.assert_array_equal(read_image(tmp_path).data, DATA)


def test_uneven_slices_are_reported(tmp_path):
    for n, where in enumerate((0, 1, 2.4, 3)):
        position = list(ORIGIN + where * NORMAL)
        save(slice_header(DATA[n], n, ImagePositionPatient=position), tmp_path / f"{n}.dcm")
    with pytest.warns(UserWarning, match="slices are 0.6 to 1.4 mm apart"):
        read_image(tmp_path)


def test_repeated_places_are_times(tmp_path):
    for time in range(3):
        for n in range(5):
            header = slice_header(DATA[n] + time, n, InstanceNumber=10 * time + n)
            save(header, tmp_path / f"{time}{n}.dcm")
    with pytest.warns(UserWarning, match="nothing but InstanceNumber tells several volumes apart"):
        image = read_image(tmp_path)
    assert image.axes == ("t", "z", "y", "x")
    np.testing.assert_array_equal(image.data[2], DATA + 2)


def test_tilted_gantry_is_a_shear(tmp_path):
    for n in range(3):
        position = list(ORIGIN + n * (STEP * NORMAL + 0.4 * COLUMN))
        save(slice_header(DATA[n], n, ImagePositionPatient=position), tmp_path / f"{n}.dcm")
    world = ORIGIN + 2 * (STEP * NORMAL + 0.4 * COLUMN)
    np.testing.assert_allclose(read_image(tmp_path).affine @ (2, 0, 0, 1), [*world[::-1], 1])


def enhanced(data):
    header = slice_header(data, NumberOfFrames=len(data), ImagePositionPatient=None)
    shared = Dataset()
    for group, keyword in (
        ("PixelMeasuresSequence", "PixelSpacing"),
        ("PlaneOrientationSequence", "ImageOrientationPatient"),
    ):
        item = Dataset()
        setattr(item, keyword, header[keyword].value)
        setattr(shared, group, [item])
        delattr(header, keyword)
    header.SharedFunctionalGroupsSequence = [shared]
    frames = []
    for n in reversed(range(len(data))):
        place, values, frame = Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient = list(ORIGIN + n * STEP * NORMAL)
        values.RescaleSlope, values.RescaleIntercept = 1, -10
        frame.PlanePositionSequence = [place]
        frame.PixelValueTransformationSequence = [values]
        frames.append(frame)
    header.PerFrameFunctionalGroupsSequence = frames
    return header


def test_enhanced_multiframe(tmp_path):
    save(enhanced(DATA), tmp_path / "a.dcm")
    image = read_image(tmp_path / "a.dcm")
    np.testing.assert_array_equal(image.data, DATA[::-1].astype(int) - 10)
    world = ORIGIN + 2 * STEP * NORMAL + SPACING[0] * COLUMN
    np.testing.assert_allclose(image.affine @ (2, 1, 0, 1), [*world[::-1], 1])


def test_large_series_is_lazy(tmp_path, monkeypatch):
    save_series(tmp_path, DATA)
    monkeypatch.setattr(volume, "_EAGER_BYTES", 10)
    decoded = []
    original = volume.decode_frame
    monkeypatch.setattr(volume, "decode_frame", lambda *a: decoded.append(a) or original(*a))
    image = read_image(tmp_path)
    assert not decoded
    np.testing.assert_array_equal(image.take("z", 2).to_numpy(), DATA[2])
    assert len(decoded) == 1
    # Other processes, in other folders, read it as well.
    monkeypatch.chdir(tmp_path.parent)
    image = pickle.loads(pickle.dumps(read_image(tmp_path.name)))
    monkeypatch.chdir("/")
    np.testing.assert_array_equal(image.to_numpy(), DATA)


@pytest.mark.parametrize("ending", ["ome.tif", "nii", "ome.zarr"])
def test_no_patient_leaves_the_file(tmp_path, ending):
    save_series(tmp_path / "ct", DATA, PatientComments="calls herself Erika")
    image = read_image(tmp_path / "ct")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # not all formats hold the rotation
        path = write_image(tmp_path / f"out.{ending}", image)
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    content = b"".join(file.read_bytes() for file in files)
    told = json.dumps([image.metadata, dict(image.display), image.name]).encode() + content
    secrets = [*PATIENT.values(), "Mustermann", "Erika", "patient"]
    assert [secret for secret in secrets if secret.lower().encode() in told.lower()] == []
    asked = series.read(tmp_path / "ct", patient=True)[0]
    assert asked.metadata["patient"]["PatientName"] == PATIENT["PatientName"]


def test_compressed(tmp_path):
    header = slice_header(DATA[0])
    header.compress(RLELossless)
    save(header, tmp_path / "a.dcm")
    np.testing.assert_array_equal(read_image(tmp_path / "a.dcm").data[0], DATA[0])


def test_missing_decoder_is_named(tmp_path, monkeypatch):
    from pydicom.pixels.decoders import JPEGLSLosslessDecoder

    monkeypatch.setattr(JPEGLSLosslessDecoder, "_available", {})
    path = EXAMPLES / "MR_small_jpeg_ls_lossless.dcm"
    with pytest.raises(ImageFileError, match=r'missing: pip install "pylibjpeg>=2.0" "pylibjpeg-'):
        read_image(path)


def test_deflated_bomb_is_refused(tmp_path, monkeypatch):
    header = slice_header(np.zeros((3000, 3000), np.int16))
    header.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    path = save(header, tmp_path / "a.dcm")
    assert read_image(path).shape == (1, 3000, 3000)

    class Memory:
        available = 10_000_000

    monkeypatch.setattr("psutil.virtual_memory", Memory)
    with pytest.raises(ImageFileError, match=r"needs .* of memory"):
        read_image(path)


def test_a_deflated_file_is_measured_in_time_that_grows_with_its_size(tmp_path, monkeypatch):
    header = slice_header(np.random.default_rng(3).integers(0, 2**12, (300, 300)).astype(np.int16))
    header.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    path, read = save(header, tmp_path / "a.dcm"), []

    class Unpacker:
        def __init__(self, wbits):
            self.unpacker = zlib.decompressobj(wbits)

        def __getattr__(self, name):
            return getattr(self.unpacker, name)

        def decompress(self, packed, most):
            read.append(len(packed))
            return self.unpacker.decompress(packed, most)

    monkeypatch.setattr(checks, "_DEFLATE_STEP", 1000)
    monkeypatch.setattr(checks, "zlib", SimpleNamespace(decompressobj=Unpacker, MAX_WBITS=15))
    assert read_image(path).shape == (1, 300, 300)
    assert len(read) > 100
    assert sum(read) < 3 * path.stat().st_size


def test_damage_in_a_folder(tmp_path):
    paths = save_series(tmp_path, np.concatenate([DATA, DATA]), order=range(10))
    content = paths[4].read_bytes()
    for damage in (content[:-20], content[:300], b""):
        paths[4].write_bytes(damage)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            image = read_image(tmp_path)
        assert "a file was left out" in str(told[0].message)
        assert "IM004.dcm" in str(told[0].message)
        assert "1 of 10 slices are missing" in str(told[1].message)
        assert image.shape == (10, 6, 8)


def test_pixels_of_one_series_that_cannot_be_decoded_spare_the_others(tmp_path):
    save_series(tmp_path, DATA)
    broken = pydicom.dcmread(EXAMPLES / "MR_small_jp2klossless.dcm")
    broken.PixelData = encapsulate([b"no JPEG 2000"])
    broken.save_as(tmp_path / "broken.dcm")
    with pytest.warns(UserWarning, match=r"a file was left out: .*broken\.dcm cannot be decoded"):
        image = read_image(tmp_path)
    np.testing.assert_array_equal(image.data, DATA)
    with pytest.raises(ImageFileError, match=r"broken\.dcm cannot be decoded"):
        read_image(tmp_path / "broken.dcm")


def test_nothing_to_read(tmp_path):
    with pytest.raises(ImageFileError, match="holds no DICOM files; name the folder"):
        read_image(tmp_path)
    (tmp_path / "a.dcm").touch()
    with pytest.raises(ImageFileError, match="is empty"):
        read_image(tmp_path / "a.dcm")
    (tmp_path / "a.dcm").write_bytes(bytes(500))
    with pytest.raises(ImageFileError, match="no DICM mark"):
        read_image(tmp_path / "a.dcm")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"Rows": 0}, "declares the size"),
        ({"Rows": 60000, "Columns": 60000}, "declares 7 GB of image|needs 14 GB"),
        ({"NumberOfFrames": 999_999_999}, "declares 999999999 frames"),
        ({"SamplesPerPixel": 4}, "declares 4 samples"),
        ({"BitsAllocated": 12}, "samples of 12 bits"),
        ({"RescaleSlope": "1e999"}, "must be finite"),
        ({"ImageOrientationPatient": [0] * 6, "PixelSpacing": [0, 0]}, None),
    ],
)
def test_absurd_headers(tmp_path, fields, message):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = save(slice_header(DATA[0], **fields), tmp_path / "a.dcm")
    if message is None:
        assert np.isfinite(read_image(path).affine).all()
        return
    with pytest.raises(ImageFileError, match=message):
        read_image(path)


@pytest.mark.parametrize(
    ("name", "shape", "rgb"),
    [
        ("CT_small.dcm", (1, 128, 128), False),
        ("MR_small_bigendian.dcm", (1, 64, 64), False),
        ("image_dfl.dcm", (512, 512), False),
        ("rtdose.dcm", (15, 10, 10), False),
        ("examples_palette.dcm", (350, 800), True),
        ("examples_ybr_color.dcm", (30, 240, 320), True),
        ("SC_ybr_full_422_uncompressed.dcm", (100, 100), True),
    ],
)
def test_examples_of_pydicom(name, shape, rgb):
    image = read_image(EXAMPLES / name)
    assert (image.shape, image.rgb) == (shape, rgb)


@pytest.mark.parametrize("name", ["MR_truncated.dcm", "badVR.dcm", "rtplan.dcm"])
def test_bad_examples_of_pydicom(name):
    with pytest.raises(ImageFileError, match=r"damaged|holds no image"):
        read_image(EXAMPLES / name)


def test_slices_without_a_number_of_their_own_are_no_copies(tmp_path):
    for n, pixels in enumerate(DATA):
        path = save(slice_header(pixels, n), tmp_path / f"{n}.dcm")
        blank = pydicom.dcmread(path)
        blank.SOPInstanceUID = ""
        blank.save_as(path)
    np.testing.assert_array_equal(read_image(tmp_path).data, DATA)


def test_an_empty_value_in_a_window_is_no_window(tmp_path):
    fields = {"WindowCenter": ["", "40"], "WindowWidth": "400"}
    path = save(slice_header(DATA[0], **fields), tmp_path / "one.dcm")
    assert read_image(path).display == {}


def test_a_folder_of_other_files_is_looked_at_a_little_only(tmp_path):
    for n in range(200):
        (tmp_path / f"{n:03}.txt").touch()
    (tmp_path / "slice.dcm").write_bytes(bytes(128) + b"DICM")
    assert not holds_dicom(tmp_path)
    (tmp_path / "000.txt").unlink()
    assert holds_dicom(tmp_path)
