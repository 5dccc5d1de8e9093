"""Small good files of every kind that is read, for fuzz_readers.py to damage."""

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pydicom.data
import tifffile
import zarr
from PIL import Image
from pydicom.dataset import Dataset

from napari_dip_fusion.io import write_image, write_images
from napari_dip_fusion.io.zarr import writing as zarr_writing
from napari_dip_fusion.sources import Source

EXAMPLES = Path(pydicom.data.__file__).parent / "test_files"
# Examples of pydicom: one for each way in which pixels are stored.
DICOM = (
    "CT_small.dcm",
    "MR_small_RLE.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_jp2klossless.dcm",
    "SC_rgb_small_odd_jpeg.dcm",
    "image_dfl.dcm",
    "rtdose.dcm",
    "SC_rgb_rle_2frame.dcm",
)


def write_good_files(folder):
    """Write one small good file of each kind."""
    rng = np.random.default_rng(0)
    gray = rng.integers(0, 255, (20, 24), np.uint8)
    color = rng.integers(0, 255, (20, 24, 3), np.uint8)
    volume = Source(
        rng.random((4, 20, 24), dtype=np.float32),
        affine=np.array([[2, 0, 0, 1], [0, 0.8, 0.6, 2], [0, -0.6, 0.8, 3], [0, 0, 0, 1.0]]),
        units=("mm",) * 3,
        name="volume",
        display={"colormap": "magma"},
    )
    files = [
        write_image(folder / "gray.png", gray),
        write_image(folder / "deep.png", color.astype(np.uint16) * 257),
        write_image(folder / "gray.tif", gray),
        write_image(folder / "color.tif", color),
        write_image(folder / "volume.ome.tif", volume),
        write_images(
            folder / "all.fusion.ome.tif",
            [volume, Source(gray), Source(color, rgb=True)],
        ),
        write_image(folder / "volume.nii", volume),
        write_image(folder / "volume.nii.gz", volume),
        write_image(folder / "times.nii.gz", Source(rng.random((3, 4, 8, 9), dtype=np.float32))),
        write_image(folder / "volume.ome.zarr", volume),
        folder / "old.zarr",
    ]
    zarr_writing.write(folder / "old.zarr", volume, version="0.4")
    for ending in ("jpg", "bmp"):
        files.append(folder / f"color.{ending}")
        Image.fromarray(color).save(files[-1])
    files.append(folder / "palette.png")
    Image.fromarray(color).quantize(16).save(files[-1])
    for compression in ("lzw", "jpeg", "packbits", "zlib", "zstd"):
        files.append(folder / f"{compression}.tif")
        tifffile.imwrite(files[-1], color, compression=compression, tile=(16, 16))
    files += [Path(shutil.copy(EXAMPLES / name, folder / name)) for name in DICOM]
    return files + [write(folder) for write in OTHERS]


def write_imagej(folder):
    path = folder / "imagej.tif"
    planes = np.arange(2 * 3 * 20 * 24, dtype=np.uint16).reshape(2, 3, 20, 24)
    about = {"axes": "ZCYX", "unit": "\\u00B5m", "spacing": 0.3, "zunit": "nm"}
    tifffile.imwrite(path, planes, imagej=True, resolution=(10, 5), metadata=about)
    return path


def write_ome_set(folder):
    names = ("0.ome.tif", "1.ome.tif")
    parts = "".join(
        f'<TiffData FirstC="{n}" IFD="0" PlaneCount="1"><UUID FileName="{name}">'
        f"urn:uuid:11111111-1111-1111-1111-11111111111{n}</UUID></TiffData>"
        for n, name in enumerate(names)
    )
    (folder / "ome.set").mkdir()
    for n, name in enumerate(names):
        xml = (
            '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="urn:uuid:11111111-1111-1111-1111-11111111111{n}"><Image ID="Image:0">'
            '<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeX="24" SizeY="20" '
            'SizeZ="1" SizeC="2" SizeT="1" PhysicalSizeX="0.2" PhysicalSizeXUnit="nm">'
            '<Channel ID="Channel:0:0" SamplesPerPixel="1"/>'
            f'<Channel ID="Channel:0:1" SamplesPerPixel="1"/>{parts}</Pixels></Image></OME>'
        )
        plane = np.full((20, 24), n, np.uint8)
        tifffile.imwrite(folder / "ome.set" / name, plane, description=xml, metadata=None)
    return folder / "ome.set" / names[1]


def write_nifti_pair(folder):
    (folder / "nifti.set").mkdir()
    path = folder / "nifti.set" / "pair.hdr"
    nib.Nifti1Pair(np.arange(60, dtype=np.int16).reshape(3, 4, 5), np.eye(4)).to_filename(path)
    return path


def write_qform(folder):
    image = nib.Nifti2Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), None)
    image.set_qform(np.diag((2.0, -2, 3, 1)), code=1)
    image.set_sform(None, code=0)
    nib.save(image, folder / "qform.nii")
    return folder / "qform.nii"


def write_first_zarr(folder):
    path = folder / "first.ome.zarr"
    group = zarr.open_group(path, mode="w", zarr_format=2)
    group.create_array("0", data=np.ones((2, 8, 9), np.uint16))
    levels = {"version": "0.3", "axes": ["z", "y", "x"], "datasets": [{"path": "0"}]}
    group.attrs["multiscales"] = [levels]
    return path


def write_sharded_zarr(folder):
    path = folder / "sharded.zarr"
    array = zarr.create_array(path, shape=(4, 8, 8), dtype="u2", chunks=(2, 4, 4), shards=(4, 8, 8))
    array[...] = np.arange(256).reshape(4, 8, 8)
    return path


def make_item(**fields):
    item = Dataset()
    for keyword, value in fields.items():
        setattr(item, keyword, value)
    return item


def make_header(frames, **fields):
    """Return a header of some frames, made of an example."""
    header = pydicom.dcmread(EXAMPLES / "MR_small.dcm")
    header.Rows, header.Columns, header.NumberOfFrames = 6, 8, frames
    header.PixelData = np.arange(frames * 48, dtype=np.uint16).tobytes()
    for keyword, value in fields.items():
        setattr(header, keyword, value)
    return header


def write_enhanced(folder):
    frames = [
        make_item(
            FrameContentSequence=[make_item(TemporalPositionIndex=n // 3 + 1, StackID="1")],
            PlanePositionSequence=[make_item(ImagePositionPatient=[-10, -20, 5.0 * (n % 3)])],
            PixelValueTransformationSequence=[make_item(RescaleSlope=1 + n, RescaleIntercept=0)],
            MREchoSequence=[make_item(EffectiveEchoTime=5.0 + n // 3)],
        )
        for n in range(6)
    ]
    measures = make_item(PixelSpacing=[1.5, 1.25], SliceThickness=5)
    turned = make_item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    shared = make_item(PixelMeasuresSequence=[measures], PlaneOrientationSequence=[turned])
    header = make_header(
        6,
        SOPClassUID=pydicom.uid.EnhancedMRImageStorage,
        SharedFunctionalGroupsSequence=[shared],
        PerFrameFunctionalGroupsSequence=frames,
    )
    header.save_as(folder / "enhanced.dcm")
    return folder / "enhanced.dcm"


def write_nuclear(folder):
    place = make_item(
        ImagePositionPatient=[-62, -62, 9], ImageOrientationPatient=[1, 0, 0, 0, 1, 0]
    )
    header = make_header(
        4,
        SOPClassUID=pydicom.uid.NuclearMedicineImageStorage,
        Modality="NM",
        ImageType=["ORIGINAL", "PRIMARY", "RECON TOMO", "EMISSION"],
        SpacingBetweenSlices=-4.4,
        FrameIncrementPointer=0x00540080,
        SliceVector=[1, 2, 3, 4],
        DetectorInformationSequence=[place],
    )
    header.save_as(folder / "nuclear.dcm")
    return folder / "nuclear.dcm"


def write_palette(folder):
    header = make_header(1, PhotometricInterpretation="PALETTE COLOR")
    for color in ("Red", "Green", "Blue"):
        setattr(header, f"{color}PaletteColorLookupTableDescriptor", [48, 0, 16])
        header[f"{color}PaletteColorLookupTableDescriptor"].VR = "US"
        setattr(header, f"{color}PaletteColorLookupTableData", bytes(range(96)))
    header.save_as(folder / "palette.dcm")
    return folder / "palette.dcm"


def write_unmarked(folder):
    """Write a series of data sets that stand alone, without preamble and file meta."""
    path = folder / "unmarked"
    path.mkdir()
    for n in range(3):
        header = make_header(1, ImagePositionPatient=[0, 0, 2.5 * n], InstanceNumber=n + 1)
        header.SOPInstanceUID += f".{n}"
        del header.NumberOfFrames
        header.preamble, header.file_meta = None, pydicom.dataset.FileMetaDataset()
        header.save_as(path / f"IM{n}", implicit_vr=True, little_endian=True)
    return path


OTHERS = (
    write_imagej,
    write_ome_set,
    write_nifti_pair,
    write_qform,
    write_first_zarr,
    write_sharded_zarr,
    write_enhanced,
    write_nuclear,
    write_palette,
    write_unmarked,
)
