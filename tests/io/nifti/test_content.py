"""Pixels and their files: types, scales, offsets, packing and names."""

import gzip
import lzma
import warnings

import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io import read_image
from napari_dip_fusion.io.nifti import pixels

EXTENSION = (32).to_bytes(4, "little") + (4).to_bytes(4, "little") + b"<xml/>" + bytes(18)


def read(path):
    """Return the one image of a path, and its warnings as one text."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        image = read_image(path)
        image.to_numpy()
    return image, " ".join(str(w.message) for w in caught)


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("factors", [(0, 5), (1, 0), (2, -3), (0.25, 1), (np.nan, 7), (-1, 0)])
def test_values_are_those_of_nibabel(make_nifti, dtype, order, factors):
    data = np.random.default_rng(0).integers(0, 127, (4, 5, 6)).astype(dtype)
    path = make_nifti(data=data, order=order, scl_slope=factors[0], scl_inter=factors[1])
    image, warned = read(path)
    assert not warned
    np.testing.assert_allclose(image.to_numpy(), nib.load(path).get_fdata().T, rtol=1e-6)
    # ITK adds the intercept even where the slope of 0 says that nothing is scaled.
    if np.isfinite(factors).all() and factors[0]:
        by_itk = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
        np.testing.assert_allclose(image.to_numpy(), by_itk, rtol=1e-6)


def test_odd_scales(make_nifti):
    path = make_nifti(scl_slope=np.inf, scl_inter=1)
    image, warned = read(path)
    assert "has the scl_slope inf; its values are not scaled" in warned
    np.testing.assert_array_equal(image.to_numpy(), nib.load(path).get_fdata().T)
    with pytest.raises(ImageFileError, match="by 2 and adds nan; set scl_inter to a number"):
        read(make_nifti(scl_slope=2, scl_inter=np.nan))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"datatype": 1}, "holds single bits; convert them"),
        ({"datatype": 32}, r"holds complex numbers \(complex64\); convert them"),
        ({"datatype": 1792}, r"holds complex numbers \(complex128\)"),
        ({"datatype": 2048}, r"holds complex numbers \(complex256\)"),
        ({"datatype": 1536}, "holds 128-bit floats"),
        ({"datatype": 0}, "declares the type of pixels 0, which NIfTI does not have"),
        ({"datatype": 77}, "declares the type of pixels 77, which NIfTI does not have"),
        ({"dim": {0: 0}}, "declares 0 dimensions, NIfTI has 1 to 7"),
        ({"dim": {0: 8}}, "declares 8 dimensions, NIfTI has 1 to 7"),
        ({"dim": {0: -3}}, "declares -3 dimensions"),
        ({"dim": {2: 0}}, "declares the size"),
        ({"vox_offset": 0}, "pixels at byte 0, within its header of 352 bytes"),
        ({"vox_offset": 348}, "pixels at byte 348, within its header of 352 bytes"),
        ({"vox_offset": 351}, "pixels at byte 351, within its header"),
        ({"vox_offset": -352}, "pixels at byte -352, within its header"),
        ({"vox_offset": 352.5}, r"pixels at byte 352\.5; it is damaged"),
        ({"vox_offset": 1e30}, r"pixels at byte 1e\+30; it is damaged"),
        ({"vox_offset": 10000}, "declares 10 kB of image but holds .* cut short or damaged"),
        ({"kind": nib.Nifti2Header, "vox_offset": 352}, "within its header of 544 bytes"),
        ({"kind": nib.Nifti2Header, "eol_check": (10, 10, 26, 10)}, "a transfer as text"),
        ({"magic": b""}, "a header of Analyze 7.5, which cannot say where left and right are"),
        ({"magic": b"n+3"}, "has b'n.3' where NIfTI has its mark 'n.1'"),
        ({"magic": b"ni1", "vox_offset": 0}, r"one file of a pair: its pixels lie in a\.img"),
        ({"intent_code": 3001, "kind": nib.Nifti2Header}, r"is CIFTI-2 \(intent 3001\)"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_what_cannot_be_read_is_named(make_nifti, fields, message, packed):
    if packed and "10000" in str(fields):
        message = "cannot be read as NIfTI .* cut short or damaged"
    with pytest.raises(ImageFileError, match=message):
        read_image(make_nifti("a.nii.gz" if packed else "a.nii", packed=packed, **fields))


@pytest.mark.parametrize("kind", [nib.Nifti1Header, nib.Nifti2Header])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "A.v2.NII", "A.v2.NII.GZ", "a.Nii.gz"])
def test_a_file_is_known_by_its_content(make_nifti, monkeypatch, kind, packed, lazy, name):
    """nibabel goes by the ending, and fails over plain files that are named as packed ones."""
    if lazy:
        monkeypatch.setattr(pixels, "_EAGER_BYTES", 100)
    data = np.random.default_rng(0).integers(0, 9999, (4, 5, 6), np.int16)
    image, warned = read(make_nifti(name, data=data, kind=kind, packed=packed))
    assert not warned
    assert image.name == name[: name.lower().index(".nii")]
    np.testing.assert_array_equal(image.to_numpy(), data.T)
    if lazy:
        assert image.data.chunks[0] == ((6,) if packed else (2, 2, 2))
        np.testing.assert_array_equal(image.take("z", 4).to_numpy(), data.T[4])
        np.testing.assert_array_equal(image.data[1:5:2, ::-1, 2], data.T[1:5:2, ::-1, 2])


@pytest.mark.parametrize(
    ("between", "said"),
    [
        (b"\1\0\0\0" + EXTENSION, ""),
        (b"\1\0\0\0" + EXTENSION * 2, ""),
        (bytes(4) + bytes(5), ""),
        (bytes(4) + b"anything", ""),
        (b"\1\0\0\0" + bytes(16), ""),
        (b"\1\0\0\0" + EXTENSION[:16], "an extension of 32 bytes where 16 are left"),
        (b"\1\0\0\0" + b"\xff" * 16, "an extension of -1 bytes where 16 are left"),
    ],
)
def test_pixels_lie_where_the_header_says(make_nifti, between, said):
    """The offset need be no multiple of 16, as SPM wants it, and bytes may follow the pixels."""
    path = make_nifti(between=between, behind=b"more")
    image, warned = read(path)
    assert said in warned if said else not warned
    expected = np.arange(4 * 5 * 6).reshape(4, 5, 6).T
    np.testing.assert_array_equal(image.to_numpy(), expected)


@pytest.mark.parametrize(
    "change",
    [
        lambda packed: packed + b"garbage",
        lambda packed: packed + bytes(100),
        lambda packed: packed + gzip.compress(b"more"),
        lambda packed: (
            gzip.compress(gzip.decompress(packed)[:400])
            + gzip.compress(gzip.decompress(packed)[400:])
        ),
    ],
    ids=["garbage behind", "zeros behind", "another member behind", "two members"],
)
def test_odd_gzip_files_are_read(make_nifti, change):
    path = make_nifti("a.nii.gz", packed=True)
    path.write_bytes(change(path.read_bytes()))
    np.testing.assert_array_equal(read_image(path).to_numpy(), np.arange(120).reshape(4, 5, 6).T)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda packed: packed[:-30], "end-of-stream marker .* cut short or damaged"),
        (lambda packed: packed[:100], "end-of-stream marker .* cut short or damaged"),
        # The checksum is compared only when somebody reads on behind the pixels.
        (lambda packed: packed[:-8] + bytes(4) + packed[-4:], "CRC check failed"),
        (lambda packed: b"BZh9" + packed, "is packed by bzip2, not by gzip; unpack it"),
        (lambda packed: b"\x28\xb5\x2f\xfd" + packed, "is packed by zstd, not by gzip"),
        (lambda packed: gzip.compress(packed), "is packed twice by gzip; unpack it once"),
        (lambda packed: lzma.compress(packed), "is packed by xz, not by gzip"),
        (lambda packed: b"PK\3\4" + packed, "is packed by zip, not by gzip"),
        (lambda packed: gzip.compress(b"<?xml version='1.0'?>" + bytes(600)), "is no NIfTI"),
        (lambda packed: gzip.compress(gzip.decompress(packed)[:300]), "within its header of 348"),
    ],
)
def test_broken_and_other_packing_is_named(make_nifti, change, message):
    data = np.random.default_rng(0).random((4, 5, 6))
    path = make_nifti("a.nii.gz", data=data, packed=True)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ImageFileError, match=message):
        read_image(path)


@pytest.mark.parametrize("names", [("a.hdr", "a.img"), ("a.nii", "a.img"), ("A.HDR", "A.IMG")])
@pytest.mark.parametrize("packed", [False, True])
def test_a_pair_is_read(make_nifti, names, packed):
    path = make_nifti(names[0], magic=b"ni1", vox_offset=0)
    content = path.read_bytes()
    path.write_bytes(content[:348])
    image_name = f"{names[1]}.gz" if packed and "A" not in names[1] else names[1]
    partner = path.with_name(image_name)
    partner.write_bytes(gzip.compress(content[352:]) if packed else content[352:])
    image, warned = read(path)
    assert not warned
    assert image.name == names[0][:1]
    np.testing.assert_array_equal(image.to_numpy(), np.arange(120).reshape(4, 5, 6).T)
    if names[0].endswith("hdr") and not packed:
        np.testing.assert_array_equal(image.to_numpy(), nib.load(path).get_fdata().T)
    if names[0].lower().endswith("hdr"):
        with pytest.raises(ImageFileError, match=f"of a pair; open its header {names[0]}"):
            read_image(partner)
    partner.unlink()
    with pytest.raises(ImageFileError, match=rf"lie in {names[0][:1]}\.img, which is not beside"):
        read_image(path)


@pytest.mark.parametrize(("kind", "size"), [(nib.Nifti1Header, 352), (nib.Nifti2Header, 544)])
def test_a_header_alone_is_not_damaged(make_nifti, kind, size):
    """nibabel's own example says that the pixels begin behind the header."""
    path = make_nifti("a.hdr", kind=kind, magic=b"ni1" if size == 352 else b"ni2")
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ImageFileError, match=r"lie in a\.img, which is not beside"):
        read_image(path)


def test_a_file_that_is_marked_as_half_of_a_pair(make_nifti):
    """nibabel and ITK read the pixels from where the header puts them."""
    image, warned = read(make_nifti(magic=b"ni1"))
    assert "the other is missing; the pixels are taken from byte 352 on" in warned
    np.testing.assert_array_equal(image.to_numpy(), np.arange(120).reshape(4, 5, 6).T)


def test_opening_a_large_volume_reads_its_header_only(make_nifti, monkeypatch):
    monkeypatch.setattr(pixels, "_EAGER_BYTES", 100)
    read = []
    original = pixels._ScaledPixels.__getitem__
    monkeypatch.setattr(
        pixels._ScaledPixels, "__getitem__", lambda self, w: read.append(w) or original(self, w)
    )
    image = read_image(make_nifti())
    assert not read
    image.take("z", 2).to_numpy()
    assert len(read) == 1


def test_a_file_that_has_gone_meanwhile_is_not_damaged(make_nifti, monkeypatch):
    monkeypatch.setattr(pixels, "_EAGER_BYTES", 100)
    path = make_nifti()
    image = read_image(path)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        image.to_numpy()
