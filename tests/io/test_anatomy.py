"""A marker seen by two scanners lands where the world coordinates say."""

import nibabel as nib
import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from napari_dip_fusion.io import read_image
from napari_dip_fusion.sources.resample import resample

# In millimeters to the left, back and head.
MARKER = np.array([14.0, -9.0, 21.0])


def turned(x, y, z):
    cx, sx, cy, sy, cz, sz = (
        *(f(x) for f in (np.cos, np.sin)),
        *(f(y) for f in (np.cos, np.sin)),
        *(f(z) for f in (np.cos, np.sin)),
    )
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    return about_x @ about_y @ np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])


def ball(affine, shape):
    """Return a ball around the marker, on a grid from index to (left, back, head)."""
    indices = np.stack([*np.indices(shape), np.ones(shape)], axis=-1)
    distance = np.linalg.norm((indices @ affine.T)[..., :3] - MARKER, axis=-1)
    return (1000 * np.exp(-((distance / 4) ** 2))).astype(np.int16)


def save_ct(folder):
    directions = turned(0.2, -0.1, 0.3)
    spacing = np.array([2.5, 0.9, 0.8])  # of slices, rows, columns
    affine = np.eye(4)
    affine[:3, :3] = directions[:, ::-1] * spacing
    affine[:3, 3] = MARKER - affine[:3, :3] @ (8.3, 14.2, 17.7)
    for n, pixels in enumerate(ball(affine, (18, 32, 36))):
        header = Dataset()
        header.file_meta = FileMetaDataset()
        header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID = CTImageStorage
        header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID = generate_uid()
        header.SeriesInstanceUID, header.InstanceNumber = "1.2", 40 - n
        header.Rows, header.Columns = pixels.shape
        header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
        header.BitsAllocated = header.BitsStored = 16
        header.HighBit, header.PixelRepresentation = 15, 1
        header.ImageOrientationPatient = [*directions[:, 0].round(12), *directions[:, 1].round(12)]
        header.ImagePositionPatient = [f"{v:.9f}" for v in (affine @ (n, 0, 0, 1))[:3]]
        header.PixelSpacing = [0.9, 0.8]
        header.PixelData = pixels.tobytes()
        header.save_as(folder / f"{40 - n}.dcm", enforce_file_format=True)


def save_mr(path):
    affine = np.eye(4)
    affine[:3, :3] = turned(-0.3, 0.25, -0.15) @ np.diag([1.1, 1.3, 1.7])
    affine[:3, 3] = MARKER - affine[:3, :3] @ (20.4, 12.8, 9.1)
    to_nifti = np.diag([-1.0, -1, 1, 1])
    nib.Nifti1Image(ball(affine, (40, 28, 20)), to_nifti @ affine).to_filename(path)


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
def test_marker_of_ct_and_mr_is_at_one_place(tmp_path):
    (tmp_path / "ct").mkdir()
    save_ct(tmp_path / "ct")
    save_mr(tmp_path / "mr.nii.gz")
    ct, mr = read_image(tmp_path / "ct"), read_image(tmp_path / "mr.nii.gz")
    for image in (ct, mr):
        peak = np.unravel_index(image.data.argmax(), image.shape)
        world = image.affine @ (*peak, 1)
        np.testing.assert_allclose(world[:3], MARKER[::-1], atol=1.5)
    plane = ct.take("z", 8, keep=True)
    to_affine = plane.affine[:, [1, 2, 3]]
    moved, _ = resample(mr.data, mr.affine, to_affine, ct.shape[1:])
    np.testing.assert_allclose(moved, ct.data[8], atol=80)  # interpolation flattens the peak
    assert np.corrcoef(moved.ravel(), ct.data[8].ravel())[0, 1] > 0.995
