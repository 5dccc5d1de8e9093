"""Sound DICOM files of unusual kinds are read, or the line says what they are and what to do."""

import gzip
import os
import shutil
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pydicom.data
import pytest
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset, write_file_meta_info
from pydicom.tag import Tag
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
from napari_dip_fusion.io.claimed import is_claimed
from napari_dip_fusion.io.dicom import volume
from napari_dip_fusion.io.dicom.files import find_dicom_files, holds_dicom, is_dicom
from napari_dip_fusion.io.formats import find_format

EXAMPLES = Path(pydicom.data.__file__).parent / "test_files"
PIXELS = np.arange(4 * 6 * 8, dtype=np.uint16).reshape(4, 6, 8)


def make(number=0, pixels=PIXELS, **fields):
    """Return the data set of a slice; a field that is None is left out."""
    header = Dataset()
    header.SOPClassUID, header.SOPInstanceUID = CTImageStorage, generate_uid()
    header.SeriesInstanceUID, header.SeriesNumber, header.Modality = "1.2.3", 4, "CT"
    header.InstanceNumber = number + 1
    header.ImagePositionPatient = [0, 0, 2 * number]
    header.ImageOrientationPatient, header.PixelSpacing = [1, 0, 0, 0, 1, 0], [1, 1]
    header.Rows, header.Columns = pixels.shape[-2:]
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.BitsAllocated = header.BitsStored = 8 * pixels.dtype.itemsize
    header.HighBit, header.PixelRepresentation = header.BitsStored - 1, 0
    header.PixelData = pixels[number].tobytes()
    header["PixelData"].VR = "OW"
    for keyword, value in fields.items():
        if value is None:
            delattr(header, keyword)
        else:
            setattr(header, keyword, value)
    return header


def encode(header, syntax=ExplicitVRLittleEndian):
    """Return the bytes of a data set without anything before it."""
    buffer = DicomBytesIO()
    buffer.is_little_endian = syntax.is_little_endian
    buffer.is_implicit_VR = syntax.is_implicit_VR
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_dataset(buffer, header)
    return buffer.getvalue()


def encode_meta(header, syntax=ExplicitVRLittleEndian):
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = header.SOPClassUID
    meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID or "1.2"
    meta.TransferSyntaxUID = syntax
    buffer = DicomBytesIO()
    write_file_meta_info(buffer, meta)
    return buffer.getvalue()


def encode_file(header, syntax=ExplicitVRLittleEndian, *, preamble=bytes(128)):
    return preamble + b"DICM" + encode_meta(header, syntax) + encode(header, syntax)


FORMS = {
    "file": encode_file,
    "preamble of TIFF": lambda header: encode_file(header, preamble=b"II*\0" + bytes(124)),
    "implicit": lambda header: encode(header, ImplicitVRLittleEndian),
    "explicit": encode,
    "big endian": lambda header: encode(header, ExplicitVRBigEndian),
    "meta alone": lambda header: encode_meta(header) + encode(header),
    "meta alone, implicit": lambda header: (
        encode_meta(header, ImplicitVRLittleEndian) + encode(header, ImplicitVRLittleEndian)
    ),
    "no preamble": lambda header: b"DICM" + encode_meta(header) + encode(header),
    "no meta": lambda header: bytes(128) + b"DICM" + encode(header),
    "no meta, implicit": lambda header: (
        bytes(128) + b"DICM" + encode(header, ImplicitVRLittleEndian)
    ),
}


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("ending", ["", ".dcm", ".ima"])
def test_data_sets_are_read_whatever_stands_before_them(tmp_path, name, ending):
    pixels = PIXELS.byteswap() if name == "big endian" else PIXELS
    folder = tmp_path / "series"
    folder.mkdir()
    for n in range(4):
        (folder / f"IM{n}{ending}").write_bytes(FORMS[name](make(n, pixels)))
    image = read_image(folder)
    np.testing.assert_array_equal(image.data, PIXELS)
    np.testing.assert_allclose(image.affine @ (3, 0, 0, 1), [6, 0, 0, 1])
    np.testing.assert_array_equal(read_image(folder / f"IM2{ending}").data[0], PIXELS[2])
    assert all(map(is_dicom, folder.iterdir()))
    assert holds_dicom(folder)
    assert is_claimed(folder)


@pytest.mark.parametrize("lazy", [False, True])
def test_a_data_set_that_stands_alone_is_lazy(tmp_path, monkeypatch, lazy):
    monkeypatch.setattr(volume, "_EAGER_BYTES", 0 if lazy else 10**6)
    (tmp_path / "a").write_bytes(b"DICM" + encode_meta(make(3)) + encode(make(3)))
    np.testing.assert_array_equal(read_image(tmp_path / "a").to_numpy()[0], PIXELS[3])


def test_a_file_of_two_formats_is_what_its_name_says(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "plain.tif", PIXELS[1])
    start = (tmp_path / "plain.tif").read_bytes()[:128]
    for name, expected in (("a.tif", "TIFF"), ("a.dcm", "DICOM"), ("a", "DICOM")):
        (tmp_path / name).write_bytes(encode_file(make(), preamble=start))
        assert find_format(tmp_path / name).name == expected


OTHERS = {
    "text": b"\x08\0 is how this text begins" * 50,
    "zeros": bytes(5000),
    "numbers": np.arange(8, 4000, dtype="<u2").tobytes(),
    "large numbers": np.arange(8, 4000, dtype="<u4").tobytes(),
    "twos": np.full(4000, 2, "<u2").tobytes(),
    "eights": np.full(4000, 8, "<u2").tobytes(),
    "elements of no data set": b"\x08\0\x01\0\x02\0\0\0ab\x08\0\x02\0\x02\0\0\0ab" * 50,
    "one element": b"\x08\0\x16\0UI\x1a\x001.2.840.10008.5.1.4.1.1.2\0\0" + b"\xff" * 200,
    "short": b"\x08\0\x05\0",
    "DICM": b"DICM",
    "PNG": b"\x89PNG\r\n\x1a\n" + bytes(200),
    "NIfTI": b"\x5c\x01\0\0" + bytes(400),
}


@pytest.mark.parametrize("name", [name for name in OTHERS if name != "DICM"])
def test_other_files_are_not_taken_for_dicom(tmp_path, name):
    (tmp_path / "a").write_bytes(OTHERS[name])
    assert not is_dicom(tmp_path / "a")
    assert not holds_dicom(tmp_path)
    with pytest.raises(ImageFileError, match=r"holds no DICOM files; name the folder.*such as a"):
        read_images(tmp_path)


@pytest.mark.parametrize("name", OTHERS)
def test_other_files_that_are_named_dicom_are_refused(tmp_path, name):
    path = tmp_path / "a.dcm"
    path.write_bytes(OTHERS[name])
    with pytest.raises(ImageFileError, match=r"no DICOM file|holds PNG|holds no image|cut short"):
        read_images(path)


def test_random_bytes_are_no_data_set(tmp_path):
    rng = np.random.default_rng(0)
    for start in (b"\x08\0", b"\x02\0", b"\0\x08"):
        for _ in range(100):
            (tmp_path / "a").write_bytes(start + rng.bytes(3000))
            assert not is_dicom(tmp_path / "a")


def test_looking_at_a_file_imports_no_library(tmp_path):
    (tmp_path / "a").write_bytes(encode(make()))
    code = (
        "import sys; from pathlib import Path; "
        "from napari_dip_fusion.io.dicom.files import holds_dicom; "
        f"assert holds_dicom(Path({str(tmp_path)!r})); assert 'pydicom' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ})


def test_what_is_packed_is_named(tmp_path):
    for name in ("a.dcm", "a.dcm.gz", "a"):
        (tmp_path / name).write_bytes(gzip.compress(encode_file(make())))
        with pytest.raises(ImageFileError, match="holds data packed by gzip; unpack"):
            read_images(tmp_path / name)
    (tmp_path / "a.dcm").write_bytes(b"PK\x03\x04" + bytes(200))
    with pytest.raises(ImageFileError, match="named DICOM but holds a ZIP archive"):
        read_images(tmp_path / "a.dcm")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("rtplan.dcm", "RT Plan Storage"),
        ("rtstruct.dcm", "RT Structure Set Storage"),
        ("reportsi.dcm", "Basic Text SR Storage"),
        ("waveform_ecg.dcm", "12-lead ECG Waveform Storage"),
        ("ExplVR_BigEndNoMeta.dcm", "RT Ion Plan Storage"),
    ],
)
def test_what_is_no_image_is_named(tmp_path, name, kind):
    with pytest.raises(ImageFileError, match="holds no image") as told:
        read_images(EXAMPLES / name)
    assert kind in str(told.value)
    assert "damaged" not in str(told.value)
    # Beside images it is no failure.
    shutil.copy(EXAMPLES / name, tmp_path)
    with pytest.raises(ImageFileError, match="holds no image"):
        read_images(tmp_path)
    (tmp_path / "image").write_bytes(encode_file(make()))
    assert read_image(tmp_path).shape == (1, 6, 8)


@pytest.mark.parametrize(
    ("uid", "kind"),
    [
        ("1.2.840.10008.5.1.4.1.1.11.1", "Grayscale Softcopy Presentation State Storage"),
        ("1.2.840.10008.5.1.4.1.1.104.1", "Encapsulated PDF Storage"),
        ("1.2.840.10008.5.1.4.1.1.66", "Raw Data Storage"),
        ("1.2.840.10008.5.1.4.1.1.4.2", "MR Spectroscopy Storage"),
        ("1.2.3.4.5", "1.2.3.4.5"),
    ],
)
def test_objects_without_pixels_are_named(tmp_path, uid, kind):
    header = Dataset()
    header.SOPClassUID, header.SOPInstanceUID, header.Modality = uid, generate_uid(), "MR"
    if "Spectroscopy" in kind:
        header.Rows = header.Columns = 4
    (tmp_path / "a.dcm").write_bytes(encode_file(header))
    with pytest.raises(ImageFileError, match="holds no image") as told:
        read_images(tmp_path / "a.dcm")
    assert f"({kind})" in str(told.value)


def write_directory(folder, names):
    """Write a DICOMDIR that names files, and the images that it names."""
    header = Dataset()
    header.SOPClassUID, header.SOPInstanceUID = "1.2.840.10008.1.3.10", generate_uid()
    header.FileSetID = "DISK"
    records = []
    for n, parts in enumerate(names):
        record = Dataset()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of names that no disk has
            record.DirectoryRecordType, record.ReferencedFileID = "IMAGE", list(parts)
        records.append(record)
        path = folder.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_file(make(n)))
    header.DirectoryRecordSequence = records
    path = folder / "DICOMDIR"
    path.write_bytes(encode_file(header))
    return path


def test_a_directory_stands_for_its_files(tmp_path):
    names = [("DISK", f"IM{n}") for n in range(4)]
    path = write_directory(tmp_path, names)
    (tmp_path / "other.dcm").write_bytes(encode_file(make(SeriesInstanceUID="9")))
    (image,) = read_images(path)
    np.testing.assert_array_equal(image.data, PIXELS)
    assert sorted(len(image.data) for image in read_images(tmp_path)) == [1, 4]
    # Disks may write names in small letters.
    (tmp_path / "DISK").rename(tmp_path / "disk")
    for n in range(4):
        (tmp_path / f"disk/IM{n}").rename(tmp_path / f"disk/im{n}")
    assert read_image(path).shape == (4, 6, 8)
    (tmp_path / "disk/im3").unlink()
    with pytest.warns(UserWarning, match=r"names 1 files that are not there, such as .*IM3"):
        assert read_image(path).shape == (3, 6, 8)
    path = path.rename(tmp_path / "list.dcm")
    with pytest.raises(ImageFileError, match=r"is a DICOMDIR, a list of files.*open the folder"):
        read_images(path)


def test_a_directory_leads_nowhere_else(tmp_path):
    (tmp_path / "secret").write_bytes(encode_file(make()))
    folder = tmp_path / "disk"
    folder.mkdir()
    path = write_directory(folder, [("..", "secret")])
    with pytest.raises(ImageFileError, match=r"is not read|link out of"):
        read_images(path)
    path = write_directory(folder, [("IM0",)])
    (folder / "IM0").unlink()
    with pytest.raises(ImageFileError, match="none of the 1 files that it names is there"):
        read_images(path)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"Rows": None}, "lacks Rows, without which"),
        ({"BitsStored": None, "PixelRepresentation": None}, "lacks BitsStored and PixelRep"),
        ({"PixelData": None}, r"is an image \(CT Image Storage\) that lacks its pixels"),
        ({"Rows": 7}, "declares 112 B of image but holds 96 B; its header does not fit"),
        ({"BitsStored": 17}, "17 of 16 bits hold the value; the file is damaged"),
        ({"NumberOfFrames": 200_000}, "declares 200000 frames; 1 to 100000 can be read"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "lacks PlanarConfiguration"),
    ],
)
def test_what_a_header_lacks_is_named(tmp_path, fields, message):
    (tmp_path / "a.dcm").write_bytes(encode_file(make(**fields)))
    with pytest.raises(ImageFileError, match=message) as told:
        read_images(tmp_path / "a.dcm")
    assert "cut short" not in str(told.value)


def test_what_is_no_uid_is_not_quoted(tmp_path):
    content = encode_file(make(PixelData=None, PatientName="Erika"), ImplicitVRLittleEndian)
    start = content.rindex(CTImageStorage.encode())
    damaged = content[:start] + b"Erika" + content[start + 5 :]
    (tmp_path / "a.dcm").write_bytes(damaged)
    with pytest.raises(ImageFileError, match="header that cannot be read") as told:
        read_images(tmp_path / "a.dcm")
    assert "Erika" not in str(told.value)


CUT = r"cut short|lacks its pixels|no DICOM file|holds no image|its header is damaged or"


@pytest.mark.parametrize("form", ["file", "implicit", "no preamble"])
def test_every_cut_is_found(tmp_path, form):
    whole = FORMS[form](make())
    path = tmp_path / "a.dcm"
    for length in range(1, len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ImageFileError, match=CUT):
            read_images(path)
    for length in (len(whole) - 1, len(whole) - 95):
        path.write_bytes(whole[:length])
        with pytest.raises(ImageFileError, match="cut short"):
            read_images(path)
    path.write_bytes(whole + b"\xfc\xff\xfc\xff" + bytes(4))  # what follows does no harm
    np.testing.assert_array_equal(read_image(path).data[0], PIXELS[0])


@pytest.mark.parametrize(
    "fields",
    [
        {"SeriesInstanceUID": ""},
        {"SOPInstanceUID": ""},
        {"PixelSpacing": ""},
        {"RescaleSlope": "", "RescaleIntercept": ""},
        {"WindowCenter": "", "WindowWidth": ""},
        {"WindowCenter": ["", "3"], "WindowWidth": "4"},
        {"NumberOfFrames": ""},
        {"InstanceNumber": ""},
        {"InstanceNumber": "1.5"},
        {"InstanceNumber": "x"},
        {"SeriesNumber": ""},
        {"Modality": ""},
        {"FrameTime": ""},
        {"KVP": "high"},
        {"ImagePositionPatient": ""},
        {"ImageOrientationPatient": ""},
        {"SliceThickness": ""},
        {"SpacingBetweenSlices": ""},
        {"ModalityLUTSequence": ""},
        {"PixelPaddingValue": ""},
        {"PresentationLUTShape": ""},
    ],
)
def test_empty_and_odd_fields_are_no_damage(tmp_path, fields):
    header = make()
    for keyword, value in fields.items():
        content = "\\".join(np.atleast_1d(value)).encode()
        content += b" " * (len(content) % 2)
        tag, vr = Tag(keyword), pydicom.datadict.dictionary_VR(keyword)
        # pydicom would set none of the odd ones.
        header[tag] = RawDataElement(tag, vr, len(content), content, 0, True, True)
    (tmp_path / "a.dcm").write_bytes(encode_file(header, ImplicitVRLittleEndian))
    image = read_image(tmp_path / "a.dcm")
    np.testing.assert_array_equal(np.squeeze(image.data), PIXELS[0])
    assert image.name.split()[:2] == ["DICOM" if "Modality" in fields else "CT", "series"]


def test_a_syntax_that_is_not_that_of_the_pixels_is_named(tmp_path):
    path = tmp_path / "a.dcm"
    # Compressed, as the header says, and as it does not.
    header = make()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.compress(RLELossless)
    path.write_bytes(encode_file(header, RLELossless))
    np.testing.assert_array_equal(read_image(path).data[0], PIXELS[0])
    whole = encode_file(header, RLELossless)
    assert whole.count(b"OB\0\0\xff\xff\xff\xff") == 1
    start = whole.index(b"OB\0\0\xff\xff\xff\xff") + 4
    length = (len(whole) - start - 4).to_bytes(4, "little")
    path.write_bytes(whole[:start] + length + whole[start + 4 :])
    np.testing.assert_array_equal(read_image(path).data[0], PIXELS[0])
    path.write_bytes(encode_file(header))
    with pytest.raises(ImageFileError, match=r"not compressed .*Explicit VR.*, and they are;"):
        read_images(path)
    path.write_bytes(encode(header))
    with pytest.raises(ImageFileError, match="does not say how its pixels are compressed"):
        read_images(path)
    path.write_bytes(encode_file(make(), RLELossless))
    with pytest.raises(ImageFileError, match=r"compressed .*RLE Lossless.*, and they are not"):
        read_images(path)
    path.write_bytes(bytes(128) + b"DICM" + encode_meta(make(), generate_uid()) + encode(make()))
    with pytest.raises(ImageFileError, match=r"is encoded as .*, which cannot be read"):
        read_images(path)


def test_pixels_that_begin_as_compressed_ones_are_none(tmp_path):
    pixels = np.array([[[0xFFFE, 0xE000, 4, 5]]], np.uint16)
    (tmp_path / "a.dcm").write_bytes(encode_file(make(pixels=pixels)))
    np.testing.assert_array_equal(read_image(tmp_path / "a.dcm").data[0], pixels[0])


def test_a_deflated_file_with_much_meta_information_is_checked(tmp_path, monkeypatch):
    header = make(pixels=np.zeros((1, 2000, 2000), np.uint16))
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, "1.2"
    meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    meta.PrivateInformationCreatorUID, meta.PrivateInformation = "1.2", bytes(5000)
    buffer = DicomBytesIO()
    write_file_meta_info(buffer, meta)
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    packed = packer.compress(encode(header)) + packer.flush()
    path = tmp_path / "a.dcm"
    path.write_bytes(bytes(128) + b"DICM" + buffer.getvalue() + packed)
    assert read_image(path).shape == (1, 2000, 2000)

    class Memory:
        available = 1_000_000

    monkeypatch.setattr("psutil.virtual_memory", Memory)
    with pytest.raises(ImageFileError, match=r"needs .* of memory"):
        read_image(path)


@pytest.mark.parametrize("named", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_the_other_vr_than_the_named_one_is_read_and_said(tmp_path, named):
    other = next(s for s in (ExplicitVRLittleEndian, ImplicitVRLittleEndian) if s != named)
    for n in range(4):
        content = bytes(128) + b"DICM" + encode_meta(make(n), named) + encode(make(n), other)
        (tmp_path / f"{n}").write_bytes(content)
    with pytest.warns(UserWarning, match=r"\(4 files\): Expected .* VR, but found") as told:
        image = read_image(tmp_path)
    assert len(told) == 1
    np.testing.assert_array_equal(image.data, PIXELS)


def test_how_texts_are_spelled_is_not_said(tmp_path):
    fields = {"Manufacturer": "x" * 70, "StudyDate": "long ago"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        content = encode_file(make(**fields), ImplicitVRLittleEndian)
    (tmp_path / "a.dcm").write_bytes(content)
    read_image(tmp_path / "a.dcm")


@pytest.mark.parametrize("lazy", [False, True])
def test_what_pydicom_says_of_pixels_is_said_once(tmp_path, monkeypatch, lazy):
    monkeypatch.setattr(volume, "_EAGER_BYTES", 0 if lazy else 10**6)
    original = pydicom.pixels.decoders.base.Decoder.as_array

    def as_array(*args, **options):
        warnings.warn(f"the frame {options['index']} of 'X' is strange", stacklevel=2)
        return original(*args, **options)

    monkeypatch.setattr(pydicom.pixels.decoders.base.Decoder, "as_array", as_array)
    for n in range(4):
        (tmp_path / f"{n}").write_bytes(encode_file(make(n)))
    with pytest.warns(UserWarning, match="CT series 4: the frame 0 of 'X' is strange") as told:
        arrays = [(image := read_image(tmp_path)).to_numpy(), image.to_numpy()]
    assert len(told) == 1
    np.testing.assert_array_equal(arrays, [PIXELS, PIXELS])


def test_files_that_may_not_be_read_are_not_denied(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(encode_file(make()))
    (tmp_path / "a").chmod(0)
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # the system's owner may always
    assert find_dicom_files(tmp_path) == [tmp_path / "a"]


def test_undecodable_pixels_are_not_called_damaged_at_once():
    with pytest.raises(ImageFileError, match=r"damaged, or .*JPEG.* needs another decoder: pip"):
        read_images(EXAMPLES / "JPGExtended.dcm")
    assert JPEG2000Lossless.is_compressed
