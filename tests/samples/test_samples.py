"""What holds for every set of samples."""

import subprocess
import sys

import numpy as np
import pytest

from napari_dip_fusion import samples
from napari_dip_fusion.samples import (
    SAMPLES,
    focus_pair,
    focus_stack,
    head_phantom,
    noisy_head_phantom,
)

MAKERS = (head_phantom, noisy_head_phantom, focus_pair, focus_stack)
ODD_SHAPES = ((16, 16), (33, 47), (16, 100), (100, 16))


def images_of(sample):
    return (*sample.sources, sample.truth)


def test_registry_is_complete():
    planes = {"head", "noisy-head", "focus-pair", "focus-stack"}
    assert set(SAMPLES) == planes | {"head-pet", "head-volume", "head-thick", "cell-series"}
    for name, make in SAMPLES.items():
        sample = make()
        assert sample.name == name
        assert sample.description
        assert len(sample.source_names) == len(sample.sources) == len(set(sample.source_names))
        if name in planes:
            assert {image.shape for image in images_of(sample)} == {(256, 256)}
        else:
            assert sample.source_names == tuple(image.name for image in sample.sources)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("shape", ODD_SHAPES)
def test_any_shape(make, shape):
    sample = make(shape=shape)
    dtype = np.float32 if make is noisy_head_phantom else np.uint8
    for image in images_of(sample):
        assert image.shape == shape
        assert image.dtype == dtype
        assert image.min() >= 0
        assert image.max() <= (1 if dtype is np.float32 else 255)
        assert np.ptp(image) > 0


@pytest.mark.parametrize("make", MAKERS)
def test_same_seed_same_bytes_and_global_random_state_untouched(make):
    np.random.seed(7)
    before = np.random.get_state()[1].copy()
    first, second = make(shape=(64, 64)), make(shape=(64, 64))
    for one, other in zip(images_of(first), images_of(second), strict=True):
        assert one.tobytes() == other.tobytes()
    np.testing.assert_array_equal(np.random.get_state()[1], before)


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (head_phantom, {"shape": (8, 64)}, r">= 16, got \(8, 64\)"),
        (noisy_head_phantom, {"shape": (64, 64, 3)}, "shape must be two numbers"),
        (focus_pair, {"shape": (64,)}, "shape must be two numbers"),
        (head_phantom, {"bias": 0.9}, "bias must be from 0 to 0.5, got 0.9"),
        (noisy_head_phantom, {"speckle": -1}, "speckle must be from 0 to 0.5, got -1"),
        (noisy_head_phantom, {"noise": 25}, "noise must be from 0 to 1, got 25"),
        (focus_pair, {"blur": 3}, "blur must be from 0 to 0.1, got 3"),
        (focus_stack, {"slices": 1}, "slices must be at least 2, got 1"),
    ],
)
def test_errors_say_what_was_got_and_what_is_allowed(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_importing_samples_brings_neither_torch_nor_napari():
    code = (
        "import sys, napari_dip_fusion.samples; "
        "sys.exit(bool({'torch', 'napari', 'qtpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_set_is_frozen():
    with pytest.raises(AttributeError):
        head_phantom(shape=(16, 16)).name = "other"


def test_field_of_view_is_public():
    assert samples.FIELD_OF_VIEW == 240
