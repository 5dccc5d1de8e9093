"""The frames of objects with many of them are sorted by what they are."""

import itertools

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import SecondaryCaptureImageStorage

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io import read_images

SLICES, STEP = 4, 3.0


def group(**fields):
    item = Dataset()
    for keyword, content in fields.items():
        setattr(item, keyword, content)
    return Sequence([item])


def clock(milliseconds):
    seconds, rest = divmod(milliseconds, 1000)
    return f"12{seconds // 60:02}{seconds % 60:02}.{rest:03}000"


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
def test_frames_of_one_object_are_told_apart(
    tmp_path, enhanced, value, save, read, levels, kind, files
):
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
def test_frames_that_the_header_does_not_describe_are_told(
    tmp_path, enhanced, value, save, read, lost
):
    header = enhanced([(value(0, z), z, {}) for z in range(SLICES)])
    described = header.PerFrameFunctionalGroupsSequence
    header.PerFrameFunctionalGroupsSequence = [*described, *described][: SLICES - lost]
    images, told = read(save(tmp_path / "all", [header]))
    assert images[0].shape[0] == SLICES - max(lost, 0)
    assert len(told) == len(images)
    assert all(f"describes {SLICES - lost} frames, and it has {SLICES}" in line for line in told)


def test_frames_made_one_after_the_other_are_volumes(tmp_path, enhanced, value, save, read, levels):
    """Each frame has a time of its own, by one of two fields that count frames, not volumes."""
    for fields in ({"FrameTime": 20.0}, {"FrameTimeVector": [0, *[20] * (3 * SLICES - 1)]}):
        frames = [(value(v, z), z, {}) for v in range(3) for z in range(SLICES)]
        (image,), told = read(save(tmp_path / next(iter(fields)), [enhanced(frames, **fields)]))
        assert (image.axes, told) == (("t", "z", "y", "x"), [])
        assert levels(image)[:, 2].tolist() == [2, 102, 202]
        assert (image.units[0], image.affine[0, 0]) == ("ms", 20.0 * SLICES)


def test_a_dimension_is_named_by_what_it_points_to(tmp_path, enhanced, value, save, read, levels):
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


def test_a_private_dimension_tells_volumes_apart(tmp_path, enhanced, value, save, read, levels):
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


def test_stacks_and_components_are_sources_of_their_own(
    tmp_path, enhanced, value, save, read, levels
):
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


def test_segments_are_sources_of_their_own(tmp_path, enhanced, value, save, read, levels):
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


def test_objects_that_nothing_else_tells_apart_are_sources_of_their_own(
    tmp_path, enhanced, value, save, read, levels
):
    headers = [enhanced([(value(v, z), z, {}) for z in range(SLICES)]) for v in range(2)]
    images, told = read(save(tmp_path / "all", headers))
    assert told == []
    assert sorted(levels(image).tolist() for image in images) == [
        [0, 1, 2, 3],
        [100, 101, 102, 103],
    ]
    assert {image.name for image in images} == {"MR series 3 (1)", "MR series 3 (2)"}


def test_an_object_in_several_files(tmp_path, enhanced, value, save, read, levels):
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
def test_frames_without_a_place(tmp_path, make, save, read, levels, kind):
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


def test_loops_in_several_files_stay_apart(tmp_path, make, save, read):
    headers = [
        make(np.full((n, 3, 4), n), NumberOfFrames=n, ImageOrientationPatient=None, FrameTime=40.0)
        for n in (4, 4, 3)
    ]
    images, _ = read(save(tmp_path / "all", headers))
    assert sorted(image.shape[0] for image in images) == [3, 4, 4]
    assert len({image.name for image in images}) == 3


@pytest.fixture
def nuclear(make):
    """Return a function that makes an object of frames with their numbers as values."""

    def make_nuclear(vectors, count, **fields):
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

    return make_nuclear


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
def test_frames_of_nuclear_medicine_are_no_slices(tmp_path, nuclear, save, read, levels, kind):
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


def test_phases_of_a_dynamic_study_are_times(tmp_path, nuclear, save, read):
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


def test_gated_slices_are_volumes(tmp_path, nuclear, save, read, levels):
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


def test_tiles_are_refused(tmp_path, make, save):
    header = make(
        np.zeros((4, 3, 4)), NumberOfFrames=4, TotalPixelMatrixRows=6, TotalPixelMatrixColumns=8
    )
    with pytest.raises(ImageFileError, match="6 x 8 pixels in tiles, which are not put together"):
        read_images(save(tmp_path / "all", [header]))
