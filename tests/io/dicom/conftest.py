"""Slices and objects of an MR series, whose pixels say which volume and slice they are of."""

import warnings

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

from napari_dip_fusion.io import read_images

STEP = 3.0


def make_object(pixels, **fields):
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


def find_value(volume, place):
    return 100 * volume + place


def group(**fields):
    item = Dataset()
    for keyword, content in fields.items():
        setattr(item, keyword, content)
    return Sequence([item])


@pytest.fixture
def value():
    """Return a function that returns the value of all pixels of a slice."""
    return find_value


@pytest.fixture
def make():
    """Return a function that makes an image of some pixels; a field that is None is left out."""
    return make_object


@pytest.fixture
def make_slice():
    """Return a function that makes a slice of a volume in a place."""

    def make_one(volume, place, **fields):
        position = {"ImagePositionPatient": [-8.0, -6.0, STEP * place]}
        return make_object(np.full((3, 4), find_value(volume, place)), **{**position, **fields})

    return make_one


@pytest.fixture
def enhanced():
    """Return a function that makes an enhanced object.

    Each of its frames is given by the value of its pixels, its place, and its functional groups.
    """

    def make_enhanced(frames, *, shared=None, **fields):
        header = make_object(
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

    return make_enhanced


@pytest.fixture
def save():
    """Return a function that writes files in any order, under names that say nothing."""

    def save_files(folder, headers, *, seed=5):
        folder.mkdir(exist_ok=True)
        names = np.random.default_rng(seed).permutation(len(headers))
        for name, header in zip(names, headers, strict=True):
            header.save_as(folder / f"{name:04}", enforce_file_format=True)
        return folder

    return save_files


@pytest.fixture
def read():
    """Return a function that returns the images of a file or folder, and the warnings."""

    def read_told(path):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            images = read_images(path)
        return images, [str(warning.message) for warning in told]

    return read_told


@pytest.fixture
def levels():
    """Return a function that returns the values of the slices, which are constant."""

    def read_levels(image):
        pixels = image.to_numpy()
        assert (pixels == pixels[..., :1, :1]).all()
        return pixels[..., 0, 0]

    return read_levels
