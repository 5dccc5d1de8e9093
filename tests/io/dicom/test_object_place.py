"""Every frame of an object lies where its header says, as SimpleITK finds it, or it is said."""

import numpy as np
import pytest
import SimpleITK
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
    NuclearMedicineImageStorage,
    RTDoseStorage,
    generate_uid,
)

from napari_dip_fusion.io import read_image
from napari_dip_fusion.sources.grid import resample_to_reference

AXIAL = np.array([1.0, 0, 0, 0, 1, 0])
SHAPE, SPACING, STEP = (5, 6), (0.75, 0.5), 2.5
COUNT = 7
# Turned by 12, -20 and 35 degrees about the axes.
ROW = [0.7697511313200572, 0.5389855446957562, -0.3420201433256687]
COLUMN = [-0.5027925244132995, 0.8420386192841347, 0.19537308163656977]
OBLIQUE = np.array([*ROW, *COLUMN])


def normal_of(orientation):
    return np.cross(orientation[:3], orientation[3:])


def make(pixels, **fields):
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.SOPClassUID, header.SOPInstanceUID = CTImageStorage, generate_uid()
    header.SeriesInstanceUID, header.SeriesNumber, header.Modality = "1.2.3", 3, "CT"
    header.PatientID, header.InstanceNumber = "1", 1
    header.Rows, header.Columns = pixels.shape[-2:]
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.BitsAllocated = header.BitsStored = 16
    header.HighBit, header.PixelRepresentation = 15, 0
    header.PixelData = pixels.astype("<u2").tobytes()
    for keyword, content in fields.items():
        setattr(header, keyword, content)
    header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
    return header


def find_voxels(image):
    """Return (left, back, head) of all voxels of a source."""
    indices = np.stack([*np.indices(image.shape), np.ones(image.shape)], axis=-1)
    return (indices @ image.affine.T)[..., 2::-1]


def group(**fields):
    item = Dataset()
    for keyword, content in fields.items():
        setattr(item, keyword, content)
    return Sequence([item])


def stack(count, **fields):
    """Return an object whose frames hold their number."""
    pixels = np.arange(count)[:, None, None] * np.ones(SHAPE)
    return make(pixels, NumberOfFrames=count, **fields)


PLACE = {"ImagePositionPatient": [-4.0, 6.0, 30.0], "ImageOrientationPatient": OBLIQUE.tolist()}
MEASURES = {"PixelSpacing": list(SPACING)}


def place_in_groups(shared, own):
    """Return frames whose place stands in the groups that all share, or in those of each."""
    header = stack(COUNT, SOPClassUID=EnhancedCTImageStorage)
    common, frames = Dataset(), []
    for n in range(COUNT):
        item = Dataset()
        position = np.array(PLACE["ImagePositionPatient"]) + STEP * n * normal_of(OBLIQUE)
        item.PlanePositionSequence = group(ImagePositionPatient=position.tolist())
        frames.append(item)
    for items, names in (([common], shared), (frames, own)):
        for item in items:
            if "orientation" in names:
                item.PlaneOrientationSequence = group(ImageOrientationPatient=OBLIQUE.tolist())
            if "measures" in names:
                item.PixelMeasuresSequence = group(SliceThickness=1, **MEASURES)
    header.SharedFunctionalGroupsSequence = Sequence([common])
    header.PerFrameFunctionalGroupsSequence = Sequence(frames)
    return header


def nuclear(spacing, detector=PLACE, **fields):
    tags = {"FrameIncrementPointer": 0x00540080, "SliceVector": list(range(1, COUNT + 1))}
    return stack(
        COUNT,
        SOPClassUID=NuclearMedicineImageStorage,
        Modality="NM",
        ImageType=["ORIGINAL", "PRIMARY", "RECON TOMO", "EMISSION"],
        NumberOfSlices=COUNT,
        SliceThickness=STEP,
        DetectorInformationSequence=group(**detector),
        **MEASURES,
        **({"SpacingBetweenSlices": spacing} if spacing else {}),
        **{**tags, **fields},
    )


def dose(offsets, **fields):
    return stack(
        COUNT,
        SOPClassUID=RTDoseStorage,
        Modality="RTDOSE",
        FrameIncrementPointer=0x3004000C,
        GridFrameOffsetVector=list(offsets),
        DoseGridScaling=1.0,
        **{**PLACE, **MEASURES, **fields},
    )


NUMBERS = np.arange(COUNT)
FLAT = {"ImageOrientationPatient": AXIAL.tolist()}
# The object, how far each frame lies from the first, and whether SimpleITK agrees.
OBJECTS = {
    "shared groups": (place_in_groups(("orientation", "measures"), ()), STEP * NUMBERS, True),
    "groups of frames": (place_in_groups((), ("orientation", "measures")), STEP * NUMBERS, True),
    "nuclear": (nuclear(STEP), STEP * NUMBERS, True),
    "nuclear, negative": (nuclear(-STEP), -STEP * NUMBERS, True),
    "nuclear, no vectors": (
        nuclear(STEP, FrameIncrementPointer=None, SliceVector=None),
        STEP * NUMBERS,
        True,
    ),
    # SimpleITK takes the frames as they come.
    "nuclear, slices downwards": (
        nuclear(STEP, SliceVector=NUMBERS[::-1].tolist()),
        -STEP * NUMBERS,
        False,
    ),
    "nuclear, place on top": (nuclear(STEP, {}, **PLACE), STEP * NUMBERS, False),
    "relative doses": (dose(STEP * NUMBERS), STEP * NUMBERS, True),
    "doses downwards": (dose(-STEP * NUMBERS), -STEP * NUMBERS, True),
    "absolute doses": (dose(30.0 + STEP * NUMBERS, **FLAT), STEP * NUMBERS, True),
    # The standard has no such grid; SimpleITK follows the normal.
    "absolute doses, turned": (
        dose(30.0 + STEP * NUMBERS, ImageOrientationPatient=[1, 0, 0, 0, -1, 0]),
        -STEP * NUMBERS,
        False,
    ),
}


@pytest.mark.parametrize("kind", OBJECTS)
def test_frames_of_one_object_lie_where_it_says(tmp_path, read, kind):
    header, offsets, agrees = OBJECTS[kind]
    header.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    (image,), told = read(tmp_path / "a.dcm")
    assert told == []
    guesses = {
        "absolute doses, turned": "points to the feet",
        "nuclear, slices downwards": "SliceVector does not begin at its first slice",
    }
    assert bool(image.guess) == (kind in guesses)
    assert guesses.get(kind, "") in image.guess
    assert (image.axes, image.units) == (("z", "y", "x"), ("mm",) * 3)
    flat = kind.startswith("absolute")
    turned = np.array(header.ImageOrientationPatient, float) if flat else OBLIQUE
    origin = np.array(PLACE["ImagePositionPatient"])
    numbers, world = image.to_numpy()[:, 0, 0], find_voxels(image)
    assert sorted(numbers) == list(range(COUNT))
    truth = origin + offsets[:, None] * normal_of(turned)
    np.testing.assert_allclose(world[:, 0, 0], truth[numbers], atol=1e-6)
    corner = truth + 4 * SPACING[0] * turned[3:] + 5 * SPACING[1] * turned[:3]
    np.testing.assert_allclose(world[:, 4, 5], corner[numbers], atol=1e-6)
    if agrees:
        other = SimpleITK.ReadImage(str(tmp_path / "a.dcm"))
        values = SimpleITK.GetArrayFromImage(other)
        for z in (0, COUNT - 1):
            place = other.TransformIndexToPhysicalPoint((5, 4, z))
            np.testing.assert_allclose(place, corner[int(values[z, 0, 0])], atol=1e-5)


def place_in_stack():
    """Return frames that only say which slice they are, the last one first."""
    header = stack(COUNT, SOPClassUID=EnhancedCTImageStorage)
    shared, frames = Dataset(), []
    shared.PixelMeasuresSequence = group(SpacingBetweenSlices=STEP, **MEASURES)
    for n in reversed(range(COUNT)):
        item = Dataset()
        item.FrameContentSequence = group(InStackPositionNumber=n + 1)
        frames.append(item)
    header.SharedFunctionalGroupsSequence = Sequence([shared])
    header.PerFrameFunctionalGroupsSequence = Sequence(frames)
    return header


def test_doses_of_one_series_are_sources_of_their_own(tmp_path, save, read):
    headers = [dose(STEP * NUMBERS, DoseSummationType=kind) for kind in ("PLAN", "BEAM", "BEAM")]
    for n, header in enumerate(headers):
        header.SOPInstanceUID, header.ContentTime = f"1.2.{n}", f"12000{n}"
        header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
        header.PixelData = np.full((COUNT, *SHAPE), n, "<u2").tobytes()
    images, told = read(save(tmp_path / "doses", headers))
    assert told == []
    assert {image.shape for image in images} == {(COUNT, *SHAPE)}
    assert sorted(int(image.to_numpy().mean()) for image in images) == [0, 1, 2]
    assert all((image.to_numpy() == image.to_numpy()[0]).all() for image in images)
    names = {int(image.to_numpy()[0, 0, 0]): image.name for image in images}
    assert names[0] == "RTDOSE series 3 plan"
    assert {names[1], names[2]} == {"RTDOSE series 3 beam (1)", "RTDOSE series 3 beam (2)"}


GUESSES = {
    "no orientation": (
        make(np.zeros(SHAPE), ImagePositionPatient=[1, 2, 3], **MEASURES),
        ("z", "y", "x"),
        "ImageOrientationPatient is missing; axial slices are assumed",
    ),
    "no position": (
        make(np.zeros(SHAPE), **MEASURES),
        ("y", "x"),
        "ImagePositionPatient is missing",
    ),
    "no unit vectors": (
        make(
            np.zeros(SHAPE),
            ImagePositionPatient=[1, 2, 3],
            ImageOrientationPatient=[1, 0, 0, 1, 0, 0],
            **MEASURES,
        ),
        ("y", "x"),
        "ImageOrientationPatient holds no unit vectors at right angles",
    ),
    "detector": (
        make(np.zeros(SHAPE), ImagerPixelSpacing=list(SPACING)),
        ("y", "x"),
        "ImagerPixelSpacing holds at the detector, not in the body",
    ),
    "uncalibrated": (
        make(np.zeros(SHAPE), ImagerPixelSpacing=list(SPACING), **MEASURES),
        ("y", "x"),
        "ImagerPixelSpacing holds at the detector, not in the body",
    ),
    "receptor": (
        make(np.zeros(SHAPE), Modality="RTIMAGE", ImagePlanePixelSpacing=list(SPACING)),
        ("y", "x"),
        "ImagePlanePixelSpacing holds at the receptor, not in the body",
    ),
    "film": (
        make(np.zeros(SHAPE), NominalScannedPixelSpacing=list(SPACING)),
        ("y", "x"),
        "NominalScannedPixelSpacing is that of a scanned film",
    ),
    "spaced frames": (
        stack(COUNT, SpacingBetweenSlices=STEP, **PLACE, **MEASURES),
        ("z", "y", "x"),
        "frames are taken for slices 2.5 mm apart, as SpacingBetweenSlices says",
    ),
    "spaced frames without a position": (
        stack(COUNT, SpacingBetweenSlices=STEP, **MEASURES),
        ("z", "y", "x"),
        "ImagePositionPatient is missing; frames are taken for slices 2.5 mm apart",
    ),
    "thick frames": (
        stack(COUNT, SliceThickness=STEP, **PLACE, **MEASURES),
        ("z", "y", "x"),
        "frames are taken for slices 2.5 mm apart, as SliceThickness says",
    ),
    "nuclear, thickness": (
        nuclear(None),
        ("z", "y", "x"),
        "frames are taken for slices 2.5 mm apart, as SliceThickness says",
    ),
    "nuclear, no position": (
        nuclear(STEP, {}),
        ("z", "y", "x"),
        "ImagePositionPatient is missing",
    ),
    "slice locations": (
        stack(
            COUNT,
            FrameIncrementPointer=0x00182005,
            SliceLocationVector=(40 + STEP * NUMBERS).tolist(),
            **PLACE,
            **MEASURES,
        ),
        ("z", "y", "x"),
        "SliceLocationVector counts from a point that is not known",
    ),
    "positions in a stack": (
        place_in_stack(),
        ("z", "y", "x"),
        "ImagePositionPatient is missing; slices are placed by InStackPositionNumber",
    ),
    "doses": (
        dose(7.0 + STEP * NUMBERS),
        ("z", "y", "x"),
        "GridFrameOffsetVector begins with neither 0 nor the z of ImagePositionPatient",
    ),
    "mosaic": (
        make(
            np.zeros(SHAPE), ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"], **PLACE, **MEASURES
        ),
        ("y", "x"),
        "each frame is a mosaic of slices, which are not taken apart",
    ),
}


@pytest.mark.parametrize("kind", GUESSES)
def test_a_place_that_is_a_guess_is_called_one(tmp_path, read, kind):
    header, axes, guess = GUESSES[kind]
    header.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    (image,), told = read(tmp_path / "a.dcm")
    assert (image.axes, told) == (axes, [])
    assert guess in image.guess
    assert image.units[-2:] == ("mm", "mm")
    np.testing.assert_allclose(image.spacing[-2:], SPACING)
    if len(image.data) == COUNT:
        np.testing.assert_allclose(image.spacing[0], STEP)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_positions_tell_an_orientation_that_is_missing(tmp_path, save, read, axis):
    headers = [
        make(
            np.full(SHAPE, n),
            ImagePositionPatient=(STEP * n * np.eye(3)[axis]).tolist(),
            InstanceNumber=n + 1,
            **MEASURES,
        )
        for n in range(COUNT)
    ]
    (image,), told = read(save(tmp_path / "ct", headers))
    assert (image.shape, told) == ((COUNT, *SHAPE), [])
    plane = ("sagittal", "coronal", "axial")[axis]
    assert image.guess == f"ImageOrientationPatient is missing; {plane} slices are assumed"
    world = find_voxels(image)[:, 0, 0]
    np.testing.assert_allclose(world[:, axis], STEP * image.to_numpy()[:, 0, 0], atol=1e-9)


def test_slices_are_placed_by_their_location_if_nothing_else_is_known(tmp_path, save, read):
    headers = [
        make(np.full(SHAPE, n), SliceLocation=-STEP * n, InstanceNumber=n + 1, **MEASURES)
        for n in range(COUNT)
    ]
    (image,), told = read(save(tmp_path / "ct", headers))
    assert (image.axes, told) == (("z", "y", "x"), [])
    assert image.guess == "ImagePositionPatient is missing; slices are placed by SliceLocation"
    assert image.to_numpy()[:, 0, 0].tolist() == list(range(COUNT))[::-1]
    np.testing.assert_allclose(image.affine[0, [0, -1]], [STEP, -STEP * (COUNT - 1)])


def region(down, across, units=(3, 3)):
    return group(
        PhysicalUnitsXDirection=units[0],
        PhysicalUnitsYDirection=units[1],
        PhysicalDeltaX=across,
        PhysicalDeltaY=down,
    )[0]


def share(**groups):
    return {"SharedFunctionalGroupsSequence": group(**groups)}


FLAT_PICTURES = {
    "one region": ({"SequenceOfUltrasoundRegions": [region(0.02, 0.03)]}, ("mm", 0.2, 0.3)),
    "equal regions": (
        {"SequenceOfUltrasoundRegions": [region(-0.02, 0.03), region(0.02, 0.03)]},
        ("mm", 0.2, 0.3),
    ),
    "other regions": (
        {"SequenceOfUltrasoundRegions": [region(0.02, 0.03), region(0.01, 0.03)]},
        ("pixel", 1, 1),
    ),
    "a spectrum": (
        {"SequenceOfUltrasoundRegions": [region(0.02, 0.03), region(1, 1, (4, 7))]},
        ("pixel", 1, 1),
    ),
    "ratio": ({"PixelAspectRatio": ["3", "2"]}, ("pixel", 1.5, 1)),
    "a detector": ({"ImagerPixelSpacing": [0.2, 0.3]}, ("mm", 0.2, 0.3)),
    "an enhanced detector": (
        share(FramePixelDataPropertiesSequence=group(ImagerPixelSpacing=[0.2, 0.3])),
        ("mm", 0.2, 0.3),
    ),
    "an enhanced detector, and the body": (
        share(
            FramePixelDataPropertiesSequence=group(ImagerPixelSpacing=[0.4, 0.6]),
            ProjectionPixelCalibrationSequence=group(ObjectPixelSpacingInCenterOfBeam=[0.2, 0.3]),
        ),
        ("mm", 0.2, 0.3),
    ),
    "nothing": ({}, ("pixel", 1, 1)),
}


@pytest.mark.parametrize("kind", FLAT_PICTURES)
def test_pictures_have_the_distances_that_they_say(tmp_path, kind):
    fields, (unit, rows, columns) = FLAT_PICTURES[kind]
    header = make(np.zeros(SHAPE), **fields)
    header.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    image = read_image(tmp_path / "a.dcm")
    assert image.units == (unit, unit)
    np.testing.assert_allclose(image.spacing, [rows, columns])
    assert bool(image.guess) == (unit == "mm")


def test_a_volume_of_ultrasound_has_its_own_frame(tmp_path, read):
    header = stack(COUNT, Modality="US")
    frames = []
    for n in range(COUNT):
        item = Dataset()
        item.PlanePositionVolumeSequence = group(ImagePositionVolume=[0, 0, 0.4 * n])
        frames.append(item)
    shared = Dataset()
    shared.PlaneOrientationVolumeSequence = group(ImageOrientationVolume=AXIAL.tolist())
    shared.PixelMeasuresSequence = group(PixelSpacing=list(SPACING))
    header.SharedFunctionalGroupsSequence = Sequence([shared])
    header.PerFrameFunctionalGroupsSequence = Sequence(frames)
    header.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    (image,), told = read(tmp_path / "a.dcm")
    assert (image.axes, told) == (("z", "y", "x"), [])
    np.testing.assert_allclose(image.spacing, [0.4, *SPACING])
    assert "not in the patient" in image.guess


@pytest.mark.parametrize("spacing", [STEP, -STEP])
def test_a_spect_and_its_ct_meet_at_the_right_voxels(tmp_path, save, read, spacing):
    where = {"ImagePositionPatient": [-4.0, 6.0, 30.0], **FLAT}
    header = nuclear(spacing, where)
    header.save_as(tmp_path / "nm.dcm", enforce_file_format=True)
    bottom = 30.0 + min(0.0, spacing * (COUNT - 1))
    slices = [
        make(
            np.full(SHAPE, n + 1),
            ImagePositionPatient=[-4, 6, bottom + STEP * n],
            InstanceNumber=n + 1,
            **FLAT,
            **MEASURES,
        )
        for n in range(COUNT)
    ]
    sources = [read(path)[0][0] for path in (save(tmp_path / "ct", slices), tmp_path / "nm.dcm")]
    for z in range(COUNT):
        ct, spect = resample_to_reference(sources, reference=0, plane=z).arrays
        assert (ct == z + 1).all()
        np.testing.assert_allclose(spect, z if spacing > 0 else COUNT - 1 - z, atol=1e-4)
