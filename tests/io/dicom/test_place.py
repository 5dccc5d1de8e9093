"""Every voxel lies where the header of its frame says, as SimpleITK finds it, or it is said."""

import numpy as np
import pytest
import SimpleITK
from pydicom.uid import CTImageStorage

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io import read_image

AXIAL = np.array([1.0, 0, 0, 0, 1, 0])
SHAPE, SPACING, STEP = (5, 6), (0.75, 0.5), 2.5
COUNT = 7


def turn(*degrees):
    """Return row and column directions turned about three axes."""
    matrix = np.eye(3)
    for axis, angle in enumerate(np.radians(degrees)):
        cos, sin = np.cos(angle), np.sin(angle)
        turned = np.eye(3)
        rest = [n for n in range(3) if n != axis]
        turned[np.ix_(rest, rest)] = [[cos, -sin], [sin, cos]]
        matrix = turned @ matrix
    return np.concatenate([matrix[:, 0], matrix[:, 1]])


OBLIQUE = turn(12, -20, 35)


def normal_of(orientation):
    return np.cross(orientation[:3], orientation[3:])


def rounded(numbers, digits):
    return [f"{number:.{digits}f}" for number in numbers]


@pytest.fixture
def make_slice(make):
    """Return a function that makes a slice whose pixels hold its number, but for the last one."""

    def make_one(n, position, orientation=OBLIQUE, *, digits=6, spacing=SPACING, **fields):
        pixels = np.full(SHAPE, n + 1)
        pixels[-1, -1] = 0  # the value of blank slices
        place = {
            "ImagePositionPatient": rounded(position, digits),
            "ImageOrientationPatient": rounded(orientation, digits),
            "PixelSpacing": list(spacing),
        }
        kind = {"SOPClassUID": CTImageStorage, "Modality": "CT", "PatientID": "1"}
        given = {**kind, **place, "SliceThickness": STEP, "InstanceNumber": n + 1, **fields}
        return make(pixels, **given)

    return make_one


def find_world(header):
    """Return (left, back, head) of all pixels of a header, by PS3.3 C.7.6.2.1.1."""
    along_row, along_column = np.reshape(np.array(header.ImageOrientationPatient, float), (2, 3))
    rows, columns = np.array(header.PixelSpacing, float)
    y, x = np.indices(SHAPE)[..., None]
    place = np.array(header.ImagePositionPatient, float)
    return place + y * rows * along_column + x * columns * along_row


def find_voxels(image):
    """Return (left, back, head) of all voxels of a source."""
    indices = np.stack([*np.indices(image.shape), np.ones(image.shape)], axis=-1)
    return (indices @ image.affine.T)[..., 2::-1]


def largest_error(image, headers):
    """Return how far a voxel lies from where its own header says, at most."""
    world, pixels = find_voxels(image), image.to_numpy()
    truth = {header.InstanceNumber: find_world(header) for header in headers}
    errors = [
        np.linalg.norm(plane - truth[int(level)], axis=-1).max()
        for plane, level in zip(world, pixels[:, 0, 0], strict=True)
        if level in truth
    ]
    assert len(errors) == len(headers)
    return max(errors)


@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize("orientation", [AXIAL, turn(0, 0, 180), turn(90, 0, 0), OBLIQUE])
def test_volumes_lie_where_simpleitk_has_them(tmp_path, make_slice, save, read, orientation, down):
    normal = normal_of(orientation) * (-1 if down else 1)
    headers = [
        make_slice(n, np.array([3.0, -7, 11]) + STEP * n * normal, orientation)
        for n in range(COUNT)
    ]
    folder = save(tmp_path / "ct", headers)
    (image,), told = read(folder)
    assert told == []
    assert image.units == ("mm",) * 3
    assert image.guess == ""
    assert largest_error(image, headers) < 1e-5
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    other = reader.Execute()
    values = SimpleITK.GetArrayFromImage(other)
    for z, y, x in ((0, 0, 0), (6, 4, 5), (2, 3, 1)):
        place = other.TransformContinuousIndexToPhysicalPoint((x, y, z))
        index = np.linalg.solve(image.affine, [*place[::-1], 1])[:3]
        np.testing.assert_allclose(index, np.round(index), atol=1e-4)
        found = image.to_numpy()[tuple(np.round(index).astype(int))]
        assert found == values[z, y, x]


# How far the numbers of a header may be off, in digits, and what a voxel may be off then.
@pytest.mark.parametrize(("digits", "most"), [(6, 1e-5), (4, 2e-3), (3, 1.5e-2), (2, 0.1)])
def test_rounded_headers_are_one_volume(tmp_path, make_slice, save, read, digits, most):
    headers = [
        make_slice(n, STEP * n * normal_of(OBLIQUE), OBLIQUE, digits=digits) for n in range(COUNT)
    ]
    (image,), told = read(save(tmp_path / "ct", headers))
    assert told == []
    assert image.shape == (COUNT, *SHAPE)
    assert largest_error(image, headers) < most


@pytest.mark.parametrize("jitter", [1e-6, 1e-4, 1e-3, 3e-3])
def test_orientations_that_differ_a_little_are_one(tmp_path, make_slice, save, read, jitter):
    # The third decimal of this sine is rounded up or down.
    sine = 0.1005
    turned = np.array([1, 0, 0, 0, np.sqrt(1 - sine**2), sine])
    rng = np.random.default_rng(1)
    headers = [
        make_slice(n, STEP * n * normal_of(turned), turned + rng.uniform(-jitter, jitter, 6) / 2)
        for n in range(COUNT)
    ]
    (image,), told = read(save(tmp_path / "ct", headers))
    assert (image.shape, told) == ((COUNT, *SHAPE), [])
    assert largest_error(image, headers) < 6 * jitter + 1e-5


def test_positions_and_spacings_that_differ_a_little_are_one(tmp_path, make_slice, save, read):
    rng = np.random.default_rng(1)
    headers = []
    for time in range(3):
        for n in range(COUNT):
            place = STEP * n * normal_of(OBLIQUE) + rng.uniform(-0.01, 0.01, 3)
            spacing = rng.uniform(-1e-4, 1e-4, 2) + SPACING
            fields = {"TemporalPositionIdentifier": time + 1}
            headers.append(make_slice(n, place, spacing=rounded(spacing, 6), **fields))
    (image,), told = read(save(tmp_path / "ct", headers))
    assert (image.axes, image.shape[:2], told) == (("t", "z", "y", "x"), (3, COUNT), [])
    world = find_voxels(image.take("t", 0))
    for header in headers:
        assert np.abs(world[header.InstanceNumber - 1] - find_world(header)).max() < 0.02


def test_a_patient_who_is_followed_is_one_series(tmp_path, make_slice, save, read):
    headers = [
        make_slice(
            n,
            STEP * n * normal_of(OBLIQUE) + 0.04 * time * OBLIQUE[:3] + 0.03 * time,
            TemporalPositionIdentifier=time + 1,
        )
        for time in range(3)
        for n in range(COUNT)
    ]
    (image,), told = read(save(tmp_path / "ct", headers))
    assert (image.axes[0], image.shape[:2]) == ("t", (3, COUNT))
    assert len(told) == 1
    assert "the volumes lie in places that differ by up to 0.08" in told[0]
    middle = [header for header in headers if header.TemporalPositionIdentifier == 2]
    assert largest_error(image.take("t", 1), middle) < 1e-5


def test_slices_that_are_turned_more_than_rounding_are_told(tmp_path, make_slice, save, read):
    orientations = [turn(0.02 * n, 0, 0) for n in range(COUNT)]
    shape = (400, 400)
    headers = [
        make_slice(n, [0, 0, STEP * n], orientation) for n, orientation in enumerate(orientations)
    ]
    for header in headers:
        header.Rows, header.Columns = shape
        header.PixelData = np.zeros(shape, "<u2").tobytes()
    images, told = read(save(tmp_path / "ct", headers))
    assert len(images) == 1
    assert "slices are turned by up to 0.06 degrees; they are shown parallel" in told[0]


def test_other_spacings_are_sources_of_their_own(tmp_path, make_slice, save, read):
    headers = [
        make_slice(n, STEP * n * normal_of(OBLIQUE), spacing=(scale, scale))
        for scale in (0.5, 0.6)
        for n in range(COUNT)
    ]
    images, told = read(save(tmp_path / "ct", headers))
    assert told == []
    assert sorted(round(image.spacing[2], 6) for image in images) == [0.5, 0.6]


@pytest.mark.parametrize("angle", [1.0, 90.0])
def test_a_localizer_stays_apart(tmp_path, make_slice, save, read, angle):
    headers = [make_slice(n, STEP * n * normal_of(AXIAL), AXIAL) for n in range(COUNT)]
    headers.append(make_slice(99, [0, 0, 0], turn(angle, 0, 0)))
    images, told = read(save(tmp_path / "ct", headers))
    assert (sorted(len(image.data) for image in images), told) == ([1, COUNT], [])


@pytest.mark.parametrize("count", [1, COUNT])
def test_stacks_beside_each_other_stay_apart(tmp_path, make_slice, save, read, count):
    headers = [
        make_slice(n, [aside, 0, STEP * n], AXIAL) for aside in (-40.0, 40.0) for n in range(count)
    ]
    images, told = read(save(tmp_path / "ct", headers))
    assert told == []
    assert [image.shape for image in images] == [(count, *SHAPE)] * 2
    assert {image.affine[2, 3] for image in images} == {-40.0, 40.0}


def test_slices_of_a_tilted_gantry_are_sheared(tmp_path, make_slice, save, read):
    slant = STEP * normal_of(OBLIQUE) + 0.8 * OBLIQUE[3:]
    headers = [make_slice(n, n * slant) for n in range(COUNT)]
    (image,), told = read(save(tmp_path / "ct", headers))
    assert told == []
    assert largest_error(image, headers) < 1e-5


ODD = {
    "missing": (
        [0, 1, 2, 4, 5, 8, 9],
        [0.0] * 7,
        "CT series 3: 3 of 10 slices are missing and shown blank: z 3, 6, 7",
        1e-5,
    ),
    "more missing than there": (
        [0, 3, 4, 5, 9, 10, 14],
        [0.0] * 7,
        "CT series 3: 8 of 15 slices are missing and shown blank: z 1, 2, 6, 7, 8, ...",
        1e-5,
    ),
    "finer in a part": (
        [0, 2, 4, 6, 7, 8, 10],
        [0.0] * 7,
        "CT series 3: 4 of 11 slices are missing and shown blank: z 1, 3, 5, 9",
        1e-5,
    ),
    "rounded steps": ([0, 1.02, 1.98, 3, 4.01, 5, 6], [0.0] * 7, None, 0.08),
    "uneven": (
        [0, 1, 2.3, 3, 4, 5, 6],
        [0.0] * 7,
        "CT series 3: slices are 1.75 to 3.25 mm apart; they are shown as if evenly spaced, up "
        "to 0.6",
        0.8,
    ),
    "aside": (
        [0, 1, 2, 3, 4, 5, 6],
        [0, 0, 0, 0, 8.0, 0, 0],
        "CT series 3: 1 of 7 slices lie beside the line of the others, up to 8 mm; they are",
        8.1,
    ),
    "curved": (
        [0, 1, 2, 3, 4, 5, 6],
        [0, 0.1, 0.4, 0.9, 1.6, 2.5, 3.6],
        "slices lie beside the line of the others, up to 0.5 mm; they are shown on it",
        0.6,
    ),
}


@pytest.mark.parametrize("kind", ODD)
def test_odd_slices_are_told(tmp_path, make_slice, save, read, kind):
    steps, aside, message, most = ODD[kind]
    headers = [
        make_slice(n, STEP * where * normal_of(OBLIQUE) + off * OBLIQUE[:3])
        for n, (where, off) in enumerate(zip(steps, aside, strict=True))
    ]
    (image,), told = read(save(tmp_path / "ct", headers))
    assert largest_error(image, headers) < most
    assert len(told) == (message is not None)
    if message:
        assert message in told[0]


def test_fine_slices_are_no_doubles(tmp_path, make_slice, save, read):
    headers = [make_slice(n, [0, 0, 0.04 * n], AXIAL, SliceThickness=0.5) for n in range(COUNT)]
    (image,), told = read(save(tmp_path / "ct", headers))
    assert (image.shape[0], told) == (COUNT, [])
    np.testing.assert_allclose(image.spacing[0], 0.04)


def test_a_single_slice_is_no_guess(tmp_path, make_slice, save, read):
    (image,), told = read(save(tmp_path / "ct", [make_slice(0, [1, 2, 3])]))
    assert (image.guess, told) == ("", [])
    assert image.affine[:3, 3].tolist() == [3, 2, 1]


@pytest.mark.parametrize("number", ["1e300", "1e29", "-1e7"])
def test_a_place_out_of_this_world_is_refused(tmp_path, make_slice, read, number):
    make_slice(0, [0, 0, 0]).save_as(tmp_path / "a.dcm", enforce_file_format=True)
    header = make_slice(1, [0, 0, 0], SliceThickness=None)
    header.ImagePositionPatient = ["0", number, "0"]
    path = tmp_path / "b.dcm"
    header.save_as(path, enforce_file_format=True)
    with pytest.raises(ImageFileError, match=r"within a kilometer|expected 3 numbers"):
        read_image(path)
    (image,), told = read(tmp_path)
    assert image.shape == (1, *SHAPE)
    assert len(told) == 1
    assert "a file was left out" in told[0]


@pytest.mark.parametrize("number", ["1e300", "1e29", "1e-300", "0"])
def test_distances_out_of_this_world_are_not_known(tmp_path, make_slice, number):
    header = make_slice(0, [0, 0, 0], SliceThickness=number, SpacingBetweenSlices=number)
    header.PixelSpacing = [number, "1"]
    header.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    image = read_image(tmp_path / "a.dcm")
    assert image.units == ("mm", "pixel", "pixel")
    np.testing.assert_allclose(image.spacing, [1, 1, 1])
