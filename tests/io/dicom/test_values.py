"""DICOM pixels mean what the header says: they are compared with pydicom and SimpleITK."""

import json
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended, parse_fragments
from pydicom.pixels import apply_color_lut, apply_modality_lut
from pydicom.pixels.encoders import RLELosslessEncoder
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
    generate_uid,
)

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io import read_image, read_images
from napari_dip_fusion.io.dicom import decoding, volume
from napari_dip_fusion.io.dicom.header import unpack_pixels
from napari_dip_fusion.io.dicom.stored import StoredValues, choose_dtype

RNG = np.random.default_rng(14)
SHAPE = (6, 8)
COLORS = ("Red", "Green", "Blue", "Alpha")


def make(pixels, **fields):
    """Return a header with pixels; a field that is None is left out."""
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID = CTImageStorage
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID = generate_uid()
    header.SeriesInstanceUID, header.SeriesNumber, header.Modality = "1.2.3", 4, "CT"
    header.InstanceNumber = 1
    header.Rows, header.Columns = pixels.shape[-2:]
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.BitsAllocated = header.BitsStored = 8 * pixels.dtype.itemsize
    header.HighBit = fields.get("BitsStored", header.BitsStored) - 1
    header.PixelRepresentation = int(pixels.dtype.kind == "i")
    header.PixelData = pixels.tobytes()
    for keyword, value in fields.items():
        if value is None:
            delattr(header, keyword)
        else:
            setattr(header, keyword, value)
    return header


def save(header, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom does not like to write what others wrote
        syntax = header.file_meta.TransferSyntaxUID
        pydicom.dcmwrite(
            path,
            header,
            enforce_file_format=True,
            little_endian=syntax.is_little_endian,
            implicit_vr=syntax.is_implicit_VR,
        )
    return path


def read(path):
    return np.squeeze(read_image(path).to_numpy())


def read_with_pydicom(path):
    header = pydicom.dcmread(path)
    if header.get("NumberOfFrames", 1) is None:
        del header.NumberOfFrames  # pydicom warns of an empty one
    palette = header.PhotometricInterpretation == "PALETTE COLOR"
    return (apply_color_lut if palette else apply_modality_lut)(header.pixel_array, header)


def read_with_itk(path):
    return np.squeeze(sitk.GetArrayFromImage(sitk.ReadImage(str(path))))


def integers(low, high, dtype, shape=SHAPE):
    return RNG.integers(low, high, shape).astype(dtype)


def palette(pixels, tables, descriptor, *, segmented=False, **fields):
    for color, table in zip(COLORS, tables, strict=False):
        if color != "Alpha":
            fields[f"{color}PaletteColorLookupTableDescriptor"] = descriptor
        keyword = f"{'Segmented' if segmented else ''}{color}PaletteColorLookupTableData"
        fields[keyword] = table
    return make(pixels, PhotometricInterpretation="PALETTE COLOR", **fields)


def table(high, dtype, count=256, colors=3):
    return [integers(0, high, dtype, count) for _ in range(colors)]


def to_bytes(tables):
    return [entries.tobytes() for entries in tables]


BYTES, WORDS = table(256, "u1"), table(65536, "<u2")
LINES = [0, 3, 10, 20, 30, 1, 200, 250, 1, 53, 0]
COPIES = [0, 3, 10, 20, 30, 1, 100, 250, 2, 2, 0, 0, 0, 0, 1, 50, 0]
PALETTES = {
    "8 bits": (integers(0, 256, "u1"), to_bytes(BYTES), [256, 0, 8], {}),
    "8 bits in words": (
        integers(0, 256, "u1"),
        to_bytes([entries.astype("<u2") for entries in BYTES]),
        [256, 0, 8],
        {},
    ),
    "8 of declared 16 bits": (
        integers(0, 256, "u1"),
        to_bytes([entries.astype("<u2") for entries in BYTES]),
        [256, 0, 16],
        {},
    ),
    "16 declared, 8 there": (integers(0, 256, "u1"), to_bytes(BYTES), [256, 0, 16], {}),
    "16 bits": (integers(0, 256, "u1"), to_bytes(WORDS), [256, 0, 16], {}),
    "not from 0": (integers(0, 70, "u2"), to_bytes(table(256, "u1", 40)), [40, 10, 8], {}),
    "from below 0": (integers(-50, 50, "i2"), to_bytes(table(65536, "<u2", 40)), [40, -20, 16], {}),
    "65536 entries": (
        integers(0, 65536, "u2"),
        to_bytes(table(65536, "<u2", 65536)),
        [0, 0, 16],
        {},
    ),
    "alpha": (integers(0, 256, "u1"), to_bytes(table(256, "u1", colors=4)), [256, 0, 8], {}),
    "segments of 8 bits": (
        integers(0, 256, "u1"),
        [bytes([*LINES, 0])] * 3,
        [256, 0, 8],
        {"segmented": True},
    ),
    "segments of 16 bits": (
        integers(0, 256, "u1"),
        [np.array([0, 2, 9, 65000, 1, 254, 7], "<u2").tobytes()] * 3,
        [256, 0, 16],
        {"segmented": True},
    ),
    "copied segments": (
        integers(0, 256, "u1"),
        [bytes([*COPIES, 0])] * 3,
        [256, 0, 8],
        {"segmented": True},
    ),
}


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("name", PALETTES)
def test_palettes_give_the_colors_of_pydicom(tmp_path, name, syntax):
    pixels, tables, descriptor, options = PALETTES[name]
    header = palette(pixels, tables, descriptor, **options)
    header.file_meta.TransferSyntaxUID = syntax
    path = save(header, tmp_path / "a.dcm")
    image, expected = read_image(path), read_with_pydicom(path)
    assert image.rgb
    assert image.dtype == (np.uint16 if expected.max() > 255 else np.uint8)
    np.testing.assert_array_equal(np.squeeze(image.data), expected)


def test_palettes_that_pydicom_or_itk_reads_wrong(tmp_path):
    # An odd number of bytes is padded.
    pixels = integers(0, 41, "u1")
    odd = table(256, "u1", 41)
    header = palette(pixels, [entries.tobytes() + b"\0" for entries in odd], [41, 0, 8])
    colors = read(save(header, tmp_path / "odd.dcm"))
    np.testing.assert_array_equal(colors, np.stack(odd, axis=-1)[pixels])
    # The offset of a copied segment counts bytes (C.7.9.2.3): 10 are 5 words.
    words = np.array([0, 3, 1000, 20, 30, 1, 100, 250, 2, 1, 10, 0, 1, 53, 0], "<u2")
    header = palette(integers(0, 256, "u1"), [words.tobytes()] * 3, [256, 0, 16], segmented=True)
    header.PixelData = np.arange(48, dtype=np.uint8).tobytes()
    assert read(save(header, tmp_path / "copy.dcm"))[0, 0].tolist() == [1000] * 3
    # A pixel of 16 bits is no index modulo 256.
    pixels = integers(0, 1000, "u2")
    colors = read(save(palette(pixels, to_bytes(BYTES), [256, 0, 8]), tmp_path / "deep.dcm"))
    np.testing.assert_array_equal(colors, np.stack(BYTES, axis=-1)[np.minimum(pixels, 255)])


def test_colors_with_and_without_alpha_keep_apart(tmp_path):
    pixels = integers(0, 256, "u1")
    for n, tables in enumerate((BYTES, [*BYTES, BYTES[0]], BYTES)):
        save(palette(pixels, to_bytes(tables), [256, 0, 8]), tmp_path / f"{n}.dcm")
    shapes = {image.data.shape for image in read_images(tmp_path)}
    assert shapes == {(*SHAPE, 4), (2, *SHAPE, 3)}


@pytest.mark.parametrize("bits", [8, 16])
def test_palettes_in_big_endian(tmp_path, bits):
    pixels = integers(0, 256, "u1")
    # Two entries of 8 bits share a word, the first in its low half.
    swapped = [np.frombuffer(entries.tobytes(), "u2").byteswap() for entries in BYTES]
    stored = swapped if bits == 8 else [entries.astype(">u2") for entries in BYTES]
    header = palette(pixels, to_bytes(stored), [256, 0, bits])
    header.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    header["PixelData"].VR = "OB"
    path = save(header, tmp_path / "a.dcm")
    np.testing.assert_array_equal(read(path), np.stack(BYTES, axis=-1)[pixels])
    if bits == 8:
        np.testing.assert_array_equal(read(path), read_with_itk(path))


@pytest.mark.parametrize(
    ("tables", "descriptor", "segmented", "message"),
    [
        ([b"\0" * 100] * 3, [256, 0, 8], False, "256 entries has 100 bytes"),
        ([b"\0" * 256] * 2, [256, 0, 8], False, "the Blue one is missing"),
        ([b"\0" * 256] * 3, [256, 0, 12], False, "8 or 16 bits an entry, got 12"),
        ([b"\0\1\5\0"] * 3, [256, 0, 8], True, "256 entries gives 1"),
        ([b"\1\5\5\0"] * 3, [256, 0, 8], True, "segment 1 out of place"),
        # One that copies itself would never end.
        ([bytes([0, 1, 5, 2, 1, 3, 0, 0, 0, 0])] * 3, [256, 0, 8], True, "segment 2 out of place"),
    ],
)
def test_broken_palettes_are_refused(tmp_path, tables, descriptor, segmented, message):
    header = palette(integers(0, 9, "u1"), tables, descriptor, segmented=segmented)
    with pytest.raises(ImageFileError, match=message):
        read_image(save(header, tmp_path / "a.dcm"))


def modality(pixels, data, descriptor, vr, **fields):
    item = Dataset()
    item.LUTDescriptor, item.ModalityLUTType = descriptor, "US"
    item["LUTDescriptor"].VR = "SS" if descriptor[1] < 0 else "US"
    item.add_new("LUTData", vr, data)
    return make(pixels, ModalityLUTSequence=[item], **fields)


LUT = integers(0, 65536, "<u2", 200)
TABLES = {
    "numbers": (integers(0, 250, "u2"), LUT.tolist(), [200, 0, 16], "US", {}),
    "words": (integers(0, 250, "u2"), LUT.tobytes(), [200, 20, 16], "OW", {}),
    "8 bits": (integers(0, 250, "u2"), (LUT % 256).tolist(), [200, 20, 8], "US", {}),
    "from below 0": (integers(-90, 90, "i2"), LUT.tobytes(), [200, -30, 16], "OW", {}),
    "8-bit pixels": (integers(0, 250, "u1"), LUT.tobytes(), [200, 20, 16], "OW", {}),
    "beside factors": (
        integers(0, 250, "u2"),
        LUT.tobytes(),
        [200, 0, 16],
        "OW",
        {"RescaleSlope": 3, "RescaleIntercept": 1},
    ),
}


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("name", TABLES)
def test_modality_tables_give_the_values_of_pydicom(tmp_path, name, syntax):
    pixels, data, descriptor, vr, fields = TABLES[name]
    header = modality(pixels, data, descriptor, vr, **fields)
    header.file_meta.TransferSyntaxUID = syntax
    path = save(header, tmp_path / "a.dcm")
    expected = read_with_pydicom(path)
    values = read(path)
    assert values.dtype == expected.dtype
    np.testing.assert_array_equal(values, expected)


def test_modality_tables_that_pydicom_cannot_read(tmp_path):
    pixels = integers(0, 200, "u2")
    packed = modality(pixels, (LUT % 256).astype("u1").tobytes(), [200, 0, 8], "OW")
    values = read(save(packed, tmp_path / "packed.dcm"))
    np.testing.assert_array_equal(values, (LUT % 256)[pixels])
    twelve = modality(pixels, (LUT % 4096).tobytes(), [200, 0, 12], "OW")
    values = read(save(twelve, tmp_path / "twelve.dcm"))
    np.testing.assert_array_equal(values, (LUT % 4096)[pixels])
    assert values.dtype == np.uint16


DEEP = integers(0, 65536, "u2")
STORED = {
    "12 of 16 bits, others in use": (DEEP, {"BitsStored": 12}),
    "12 bits with a sign": (DEEP.astype("i2"), {"BitsStored": 12}),
    "5 of 8 bits with a sign": (integers(0, 256, "u1").view("i1"), {"BitsStored": 5}),
    "overlay in the pixels": (DEEP, {"BitsStored": 10}),
    "32 bits": (integers(0, 2**32, "u4"), {}),
    "slope": (DEEP, {"RescaleSlope": "0.5", "RescaleIntercept": "-7.25"}),
    "whole slope": (DEEP, {"RescaleSlope": "2", "RescaleIntercept": "-1024"}),
    "negative slope": (DEEP.astype("i2"), {"RescaleSlope": "-3", "RescaleIntercept": "0"}),
    "empty frames": (DEEP, {"NumberOfFrames": ""}),
    "padded": (
        DEEP[:3, :3].astype("u1"),
        {"PixelData": DEEP[:3, :3].astype("u1").tobytes() + b"\0"},
    ),
}


@pytest.mark.parametrize("name", STORED)
def test_stored_values_are_those_of_pydicom_and_itk(tmp_path, name):
    pixels, fields = STORED[name]
    path = save(make(pixels, **fields), tmp_path / "a.dcm")
    np.testing.assert_allclose(read(path), read_with_pydicom(path), rtol=1e-6)
    if name != "5 of 8 bits with a sign":  # for which SimpleITK raises an error
        np.testing.assert_allclose(read(path), read_with_itk(path), rtol=1e-6)


def make_float(pixels, **fields):
    keyword = "FloatPixelData" if pixels.itemsize == 4 else "DoubleFloatPixelData"
    without = dict.fromkeys(("PixelData", "BitsStored", "HighBit", "PixelRepresentation"))
    header = make(pixels, **fields, **{keyword: pixels.tobytes()})
    for name in without:
        delattr(header, name)
    return header


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_float_pixels(tmp_path, dtype, photometric):
    header = make_float(RNG.normal(size=SHAPE).astype(dtype), PhotometricInterpretation=photometric)
    path = save(header, tmp_path / "a.dcm")
    expected = read_with_pydicom(path)
    values = read(path)
    assert values.dtype == dtype
    np.testing.assert_array_equal(values, -expected if photometric == "MONOCHROME1" else expected)


def test_floats_are_known_by_their_element(tmp_path):
    values = RNG.normal(size=SHAPE).astype(np.float32)
    # Fields of integers beside floats mean nothing.
    header = make_float(values, PixelRepresentation=0)
    header.PixelRepresentation, header.BitsStored = 1, 32
    np.testing.assert_array_equal(read(save(header, tmp_path / "a.dcm")), values)
    header = make(integers(0, 9, "u4"), PixelRepresentation=None)
    with pytest.raises(ImageFileError, match="lacks PixelRepresentation"):
        read_image(save(header, tmp_path / "b.dcm"))
    header = make_float(values, BitsAllocated=16)
    with pytest.raises(ImageFileError, match="declares floats of 16 bits"):
        read_image(save(header, tmp_path / "c.dcm"))


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
def test_an_image_of_few_bytes_is_not_cut_short(tmp_path, syntax):
    header = make(np.array([[3, 7]], np.uint8))
    header.file_meta.TransferSyntaxUID = syntax
    assert read(save(header, tmp_path / "a.dcm")).tolist() == [3, 7]


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_single_bits(tmp_path, photometric, syntax):
    bits = integers(0, 2, "u1", (3, 5, 7))  # 35 bits: later frames begin within a byte
    packed = np.packbits(bits.ravel(), bitorder="little").tobytes()
    fields = {"BitsAllocated": 1, "BitsStored": 1, "NumberOfFrames": 3, "PixelData": packed}
    header = make(bits, PhotometricInterpretation=photometric, **fields)
    header.file_meta.TransferSyntaxUID = syntax
    path = save(header, tmp_path / "a.dcm")
    np.testing.assert_array_equal(read_with_pydicom(path), bits)
    np.testing.assert_array_equal(read(path), 1 - bits if photometric == "MONOCHROME1" else bits)


@pytest.mark.parametrize("dtype", ["u1", "i2", "f4", "f8"])
def test_a_deflated_file_is_unpacked_once_for_all_of_its_frames(tmp_path, monkeypatch, dtype):
    values = integers(0, 100, dtype, (5, *SHAPE))
    header = (make_float if values.dtype.kind == "f" else make)(values, NumberOfFrames=5)
    header.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    path = save(header, tmp_path / "a.dcm")
    unpacked = []

    def unpack(path):
        unpacked.append(path)
        return unpack_pixels(path)

    monkeypatch.setattr(decoding, "unpack_pixels", unpack)
    np.testing.assert_array_equal(read(path), values)
    assert unpacked == [path]


def test_a_deflated_file_needs_no_preamble(tmp_path):
    header = make(integers(0, 256, "u1"))
    header.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    path = save(header, tmp_path / "a.dcm")
    path.write_bytes(path.read_bytes()[128:])
    np.testing.assert_array_equal(read(path), header.pixel_array)


# How the frames of a file are found: what encapsulates them, and how often all are gone through.
TABLES_OF_OFFSETS = {
    "none": (lambda frames: (encapsulate(frames, has_bot=False),), 1),
    "basic": (lambda frames: (encapsulate(frames, has_bot=True),), 0),
    "basic, in pieces": (lambda frames: (encapsulate(frames, fragments_per_frame=2),), 0),
    "extended": (encapsulate_extended, 0),
}


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("kind", TABLES_OF_OFFSETS)
def test_compressed_frames_are_looked_for_once(tmp_path, monkeypatch, kind, lazy):
    wrap, most = TABLES_OF_OFFSETS[kind]
    values = integers(0, 4096, "u2", (6, *SHAPE))
    values[::2] = 7  # frames of several sizes
    header = make(values, NumberOfFrames=6)
    options = {
        "rows": SHAPE[0],
        "columns": SHAPE[1],
        "samples_per_pixel": 1,
        "bits_allocated": 16,
        "bits_stored": 16,
        "pixel_representation": 0,
        "number_of_frames": 1,
        "photometric_interpretation": "MONOCHROME2",
    }
    frames = [RLELosslessEncoder.encode(plane, **options) for plane in values]
    header.PixelData, *tables = wrap(frames)
    for keyword, content in zip(("", "Lengths"), tables, strict=False):
        setattr(header, f"ExtendedOffsetTable{keyword}", content)
    header["PixelData"].is_undefined_length = True
    header.file_meta.TransferSyntaxUID = RLELossless
    path = save(header, tmp_path / "a.dcm")
    searched = []

    def search(buffer, **options):
        searched.append(buffer)
        return parse_fragments(buffer, **options)

    monkeypatch.setattr(decoding, "parse_fragments", search)
    monkeypatch.setattr("pydicom.encaps.parse_fragments", search)
    monkeypatch.setattr(volume, "_EAGER_BYTES", 0 if lazy else 10**6)
    image = read_image(path)
    for n in (3, 0, 5, 1, 2, 4):
        np.testing.assert_array_equal(np.asarray(image.data[n]), values[n])
    assert len(searched) == most


@pytest.mark.parametrize("slope", [None, "-2", "0.5"])
@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2"])
def test_inverted_values_are_those_of_itk(tmp_path, dtype, bits, slope):
    held = min(bits, 8 * np.dtype(dtype).itemsize)
    low, high = (-(2 ** (held - 1)), 2 ** (held - 1)) if dtype[0] == "i" else (0, 2**held)
    pixels = integers(low, high, dtype)
    pixels[0, :2] = low, high - 1
    factors = {"RescaleSlope": slope, "RescaleIntercept": "5"} if slope else {}
    header = make(pixels, BitsStored=held, PhotometricInterpretation="MONOCHROME1", **factors)
    path = save(header, tmp_path / "a.dcm")
    image = read_image(path)
    if (dtype, bits) != ("i2", 12):  # for which SimpleITK raises an error
        np.testing.assert_allclose(np.squeeze(image.data), read_with_itk(path))
    np.testing.assert_allclose(
        np.squeeze(image.data), image.metadata["mirrored"] - read_with_pydicom(path)
    )


@pytest.mark.parametrize("dtype", ["u4", "i4", "u8", "i8"])
def test_wide_inverted_values(tmp_path, dtype):
    info = np.iinfo(dtype)
    pixels = np.array([[info.min, info.max, 0, 1]], dtype)
    path = save(make(pixels, PhotometricInterpretation="MONOCHROME1"), tmp_path / "a.dcm")
    expected = [info.min + info.max - int(value) for value in pixels[0]]
    assert read(path).tolist() == expected


def test_inverted_values_of_a_table(tmp_path):
    pixels = integers(0, 200, "u2")
    header = modality(
        pixels, LUT.tobytes(), [200, 0, 16], "OW", PhotometricInterpretation="MONOCHROME1"
    )
    ends = int(LUT.min()) + int(LUT.max())
    expected = ends - LUT[pixels].astype(int)
    np.testing.assert_array_equal(read(save(header, tmp_path / "a.dcm")), expected)


def test_equal_values_stay_equal_in_an_inverted_series(tmp_path):
    orientation = {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "PixelSpacing": [1, 1]}
    for n, slope in enumerate((1, 2, 4)):
        pixels = np.full(SHAPE, 8 // slope, np.uint16)
        place = {"ImagePositionPatient": [0, 0, n], "InstanceNumber": n}
        factors = {"RescaleSlope": slope, "RescaleIntercept": 0}
        header = make(
            pixels, PhotometricInterpretation="MONOCHROME1", **orientation, **place, **factors
        )
        save(header, tmp_path / f"{n}.dcm")
    assert np.unique(read(tmp_path)).tolist() == [4 * 65535 - 8]


def test_a_window_is_mirrored_with_the_values(tmp_path):
    fields = {"WindowCenter": 100, "WindowWidth": 20}
    path = save(make(integers(0, 256, "u1"), **fields), tmp_path / "a.dcm")
    assert read_image(path).display == {"contrast_limits": [90, 110]}
    header = make(integers(0, 256, "u1"), PhotometricInterpretation="MONOCHROME1", **fields)
    path = save(header, tmp_path / "b.dcm")
    assert read_image(path).display == {"contrast_limits": [145, 165]}


def group(keyword, **fields):
    item, frame = Dataset(), Dataset()
    for name, value in fields.items():
        setattr(item, name, value)
    setattr(frame, keyword, [item])
    return frame


def test_factors_of_each_frame(tmp_path):
    pixels = integers(0, 4096, "u2", (3, *SHAPE))
    header = make(pixels, NumberOfFrames=3, RescaleSlope=9, RescaleIntercept=9)
    keyword = "PixelValueTransformationSequence"
    header.PerFrameFunctionalGroupsSequence = [
        group(keyword, RescaleSlope=slope, RescaleIntercept=intercept)
        for slope, intercept in ((1, -10), (0.5, 3), (2, 0))
    ]
    values = read(save(header, tmp_path / "own.dcm"))
    np.testing.assert_allclose(values[1], pixels[1] * 0.5 + 3)
    np.testing.assert_allclose(values[2], pixels[2] * 2.0)
    del header.PerFrameFunctionalGroupsSequence
    shared = group(keyword, RescaleSlope=2, RescaleIntercept=-1)
    shared.FrameVOILUTSequence = group("a", WindowCenter=50, WindowWidth=10).a
    header.SharedFunctionalGroupsSequence = [shared]
    image = read_image(save(header, tmp_path / "shared.dcm"))
    np.testing.assert_array_equal(image.data, pixels.astype(int) * 2 - 1)
    assert image.display == {"contrast_limits": [45, 55]}


@pytest.mark.parametrize(
    ("fields", "factors"),
    [
        ({"RescaleSlope": "", "RescaleIntercept": "3"}, (1, 3)),
        ({"RescaleSlope": "2", "RescaleIntercept": ""}, (2, 0)),
        ({"RescaleIntercept": "7"}, (1, 7)),
        ({"RescaleSlope": "2"}, (2, 0)),
    ],
)
def test_a_factor_that_is_missing_changes_nothing(tmp_path, fields, factors):
    path = save(make(DEEP, **fields), tmp_path / "a.dcm")
    np.testing.assert_array_equal(read(path), DEEP.astype(int) * factors[0] + factors[1])
    np.testing.assert_array_equal(read(path), read_with_itk(path))


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("factors", [("1e308", "0"), ("1", "-1e35"), ("1e30", "0.5")])
def test_factors_that_no_value_can_have_are_refused(tmp_path, factors, photometric):
    slope, intercept = factors
    fields = {"RescaleSlope": slope, "RescaleIntercept": intercept}
    header = make(DEEP, PhotometricInterpretation=photometric, **fields)
    with pytest.raises(ImageFileError, match=r"finite and below 1e\+30"):
        read_image(save(header, tmp_path / "a.dcm"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"RescaleSlope": "0", "RescaleIntercept": "5"}, "RescaleSlope is 0.*1 is taken"),
        ({"DoseGridScaling": "0", "Modality": "RTDOSE"}, "DoseGridScaling is 0.*1 is taken"),
        ({"BitsStored": 12, "HighBit": 15}, "HighBit is 15 and must be 11"),
        ({"PresentationLUTShape": "INVERSE"}, "INVERSE, which is not applied"),
        ({"PhotometricInterpretation": None}, "lacks PhotometricInterpretation"),
        ({"SamplesPerPixel": None}, "lacks SamplesPerPixel; 1 is taken"),
        ({"PixelData": DEEP.tobytes() * 2}, "fill 2 frames, and its header declares 1"),
    ],
)
def test_what_is_odd_is_said_once_for_a_series(tmp_path, fields, message):
    place = {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "PixelSpacing": [1, 1]}
    for n in range(3):
        header = make(DEEP, **place, **fields, ImagePositionPatient=[0, 0, n])
        save(header, tmp_path / f"{n}.dcm")
    with pytest.warns(UserWarning, match=message) as told:
        values = read(tmp_path)
    assert len(told) == 1
    expected = DEEP & 0xFFF if "BitsStored" in fields else DEEP
    expected = expected + 5 if "RescaleIntercept" in fields else expected
    np.testing.assert_array_equal(values, [expected] * 3)


UNAPPLIED = {
    "VOI LUT": {"VOILUTSequence": [group("a", LUTDescriptor=[1, 0, 16]).a[0]]},
    "VOI window": {"WindowCenter": 40, "WindowWidth": 400},
    "Real World": {"RealWorldValueMappingSequence": [group("a", RealWorldValueSlope=2.0).a[0]]},
    "supplemental palette": {"RedPaletteColorLookupTableDescriptor": [256, 0, 16]},
    "pixel padding": {"PixelPaddingValue": 0},
    "display shutter": {"ShutterShape": "CIRCULAR"},
    "ICC profile": {"ICCProfile": b"\0\0"},
}


@pytest.mark.parametrize("name", UNAPPLIED)
def test_what_is_not_applied_is_said_in_metadata(tmp_path, name):
    path = save(make(DEEP, **UNAPPLIED[name]), tmp_path / "a.dcm")
    image = read_image(path)
    assert [line for line in image.metadata["not_applied"] if line.startswith(name)]
    json.dumps(image.metadata)
    np.testing.assert_array_equal(np.squeeze(image.data), DEEP)


def test_overlays_are_said_in_metadata(tmp_path):
    header = make(DEEP)
    header.add_new((0x6000, 0x0010), "US", 6)
    image = read_image(save(header, tmp_path / "a.dcm"))
    assert image.metadata["not_applied"] == ["overlays (C.9.2)"]
    assert "not_applied" not in read_image(save(make(DEEP), tmp_path / "b.dcm")).metadata


@pytest.mark.parametrize("maker", ["Philips MR Imaging DD 001", "ANOTHER"])
@pytest.mark.parametrize("moved", [False, True])
def test_private_scales_are_said_in_metadata(tmp_path, maker, moved):
    header = make(DEEP)
    if moved:
        header.private_block(0x2005, "ARCHIVE", create=True)
    header.private_block(0x2005, maker, create=True).add_new(0x0E, "FL", 0.5)
    metadata = read_image(save(header, tmp_path / "a.dcm")).metadata
    expected = ["private scale of Philips"] if maker.startswith("Philips") else []
    assert metadata.get("not_applied", []) == expected


def color(pixels, photometric, planar, **fields):
    header = make(np.zeros(SHAPE, pixels.dtype), PhotometricInterpretation=photometric)
    header.SamplesPerPixel, header.PlanarConfiguration = 3, planar
    header.PixelData = pixels.tobytes()
    for keyword, value in fields.items():
        setattr(header, keyword, value)
    return header


PLANES = integers(0, 256, "u1", (3, *SHAPE))
SAMPLES = np.ascontiguousarray(PLANES.transpose(1, 2, 0))
HALVED = integers(0, 256, "u1", (SHAPE[0], SHAPE[1] * 2))


@pytest.mark.parametrize(
    ("pixels", "photometric", "planar"),
    [
        (SAMPLES, "RGB", 0),
        (PLANES, "RGB", 1),
        (SAMPLES.astype("u2") * 200, "RGB", 0),
        (SAMPLES, "YBR_FULL", 0),
        (PLANES, "YBR_FULL", 1),
        (HALVED, "YBR_FULL_422", 0),
    ],
)
def test_colors_are_those_of_pydicom_and_itk(tmp_path, pixels, photometric, planar):
    path = save(color(pixels, photometric, planar), tmp_path / "a.dcm")
    image = read_image(path)
    assert image.rgb
    np.testing.assert_array_equal(np.squeeze(image.data), pydicom.dcmread(path).pixel_array)
    np.testing.assert_array_equal(np.squeeze(image.data), read_with_itk(path))


def test_compressed_colors_of_jpeg_2000(tmp_path):
    path = Path(pydicom.data.__file__).parent / "test_files" / "examples_jpeg2k.dcm"
    header = pydicom.dcmread(path)
    assert (header.PhotometricInterpretation, header.file_meta.TransferSyntaxUID) == (
        "YBR_RCT",
        JPEG2000Lossless,
    )
    np.testing.assert_array_equal(read(path), header.pixel_array)
    lied = color(SAMPLES, "YBR_RCT", 0)
    with pytest.raises(ImageFileError, match="YBR_RCT, which cannot be read uncompressed"):
        read_image(save(lied, tmp_path / "a.dcm"))


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (color(SAMPLES, "MONOCHROME2", 0), "3 samples a pixel, which do not fit MONOCHROME2"),
        (color(SAMPLES, "PALETTE COLOR", 0), "3 samples a pixel, which do not fit PALETTE"),
        (make(DEEP, PhotometricInterpretation="RGB"), "1 samples a pixel, which do not fit RGB"),
        (make(DEEP, SamplesPerPixel=2), "declares 2 samples"),
        (make(DEEP, SamplesPerPixel=4), "declares 4 samples"),
        (color(SAMPLES, "HSV", 0), "of the kind HSV, which cannot be read; export"),
        (color(SAMPLES, "CMYK", 0), "of the kind CMYK"),
        (color(SAMPLES, "ARGB", 0), "of the kind ARGB"),
        (color(SAMPLES, "YBR_PARTIAL_422", 0), "of the kind YBR_PARTIAL_422"),
        (color(SAMPLES, "YBR_FULL_422", 0), "has as many as RGB or YBR_FULL"),
        (color(SAMPLES.astype("u2"), "YBR_FULL", 0), "YBR_FULL of 16 bits, only 8"),
        (color(SAMPLES, "RGB", 0, PixelRepresentation=1), "colors with a sign"),
    ],
)
def test_samples_that_are_no_colors_are_refused(tmp_path, header, message):
    with pytest.raises(ImageFileError, match=message) as told:
        read_image(save(header, tmp_path / "a.dcm"))
    assert "cut short" not in str(told.value)


@pytest.mark.parametrize("vr", ["OB", "OW"])
def test_big_endian_bytes(tmp_path, vr):
    pixels = integers(0, 256, "u1", (2, 3, 3))  # frames of nine bytes share words
    content = pixels.tobytes()
    swapped = np.frombuffer(content, "u2").byteswap().tobytes()
    header = make(pixels, NumberOfFrames=2, PixelData=swapped if vr == "OW" else content)
    header["PixelData"].VR = vr
    header.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    path = save(header, tmp_path / "a.dcm")
    np.testing.assert_array_equal(read(path), pixels)
    np.testing.assert_array_equal(read(path), read_with_pydicom(path))


def test_big_endian_words(tmp_path):
    header = make(DEEP, PixelData=DEEP.byteswap().tobytes())
    header["PixelData"].VR = "OW"
    header.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    path = save(header, tmp_path / "a.dcm")
    np.testing.assert_array_equal(read(path), DEEP)


@pytest.mark.parametrize("lazy", [False, True])
def test_palettes_are_compressed_and_lazy(tmp_path, monkeypatch, lazy):
    pixels = integers(0, 256, "u1", (3, *SHAPE))
    header = palette(pixels, to_bytes(BYTES), [256, 0, 8], NumberOfFrames=3)
    header.compress(RLELossless)
    if lazy:
        monkeypatch.setattr(volume, "_EAGER_BYTES", 10)
    path = save(header, tmp_path / "a.dcm")
    (image,) = read_images(path)
    assert isinstance(image.data, np.ndarray) is not lazy
    np.testing.assert_array_equal(image.to_numpy(), np.stack(BYTES, axis=-1)[pixels])


def test_doses_are_scaled(tmp_path):
    header = make(DEEP, DoseGridScaling="0.25", RescaleIntercept=4, Modality="RTDOSE")
    np.testing.assert_array_equal(read(save(header, tmp_path / "a.dcm")), DEEP * 0.25)


@pytest.mark.parametrize(
    ("types", "factors", "expected"),
    [
        (("u2", "i2"), (1, 0), "i4"),
        (("u1", "u2"), (1, 0), "u2"),
        (("u1", "i2"), (0.5, 0), "f4"),
        (("f4", "u2"), (1, 0), "f4"),
        (("u2",), (2, -4096), "i4"),  # as Siemens scales phases
        (("u1",), (1, -128), "i1"),
        (("u2",), (-1, -1), "i4"),
    ],
)
def test_slices_of_several_types_fit_into_one(types, factors, expected):
    values = [
        StoredValues(SHAPE, False, False, np.dtype(kind), (0, 255), *map(float, factors))
        for kind in types
    ]
    assert choose_dtype(values) == np.dtype(expected)
