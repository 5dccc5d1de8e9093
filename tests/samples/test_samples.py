import subprocess
import sys
from functools import cache

import numpy as np
import pytest
from scipy import ndimage

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


@cache
def full_size(make, **options):
    """Return a sample at 256x256, which takes up to a second to make; the tests only look at it."""
    return make(**options)


def sharpness(image):
    """Mean local energy of the Laplacian, as a map."""
    return ndimage.gaussian_filter(ndimage.laplace(image.astype(float)) ** 2, 3)


def images_of(sample):
    return (*sample.sources, sample.truth)


def test_registry_is_complete():
    assert set(SAMPLES) == {"head", "noisy-head", "focus-pair", "focus-stack"}
    for name, make in SAMPLES.items():
        sample = full_size(make)
        assert sample.name == name
        assert sample.description
        assert len(sample.source_names) == len(sample.sources) == len(set(sample.source_names))
        assert {image.shape for image in images_of(sample)} == {(256, 256)}


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


@pytest.mark.parametrize("make", [focus_pair, focus_stack])
@pytest.mark.parametrize("shape", ODD_SHAPES)
def test_color_has_three_channels(make, shape):
    for image in images_of(make(shape=shape, color=True)):
        assert image.shape == (*shape, 3)
        assert image.dtype == np.uint8


@pytest.mark.parametrize("make", MAKERS)
def test_same_seed_same_bytes_and_global_random_state_untouched(make):
    np.random.seed(7)
    before = np.random.get_state()[1].copy()
    first, second = make(shape=(64, 64)), make(shape=(64, 64))
    for one, other in zip(images_of(first), images_of(second), strict=True):
        assert one.tobytes() == other.tobytes()
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_other_seed_other_anatomy():
    first, second = head_phantom(shape=(64, 64)), head_phantom(shape=(64, 64), seed=1)
    assert not np.array_equal(first.truth, second.truth)


def test_bone_shows_in_ct_and_soft_tissue_in_mr():
    sample = full_size(head_phantom)
    (ct, mr), truth = sample.sources, sample.truth
    bone = ct > 220
    assert 0.05 < bone.mean() < 0.2
    assert (mr[bone] < 90).all()
    brain = ndimage.binary_erosion(ndimage.binary_fill_holes(bone) & ~bone, iterations=6)
    brain &= ct < 120  # without the calcifications
    assert mr[brain].std() > 3 * ct[brain].std()
    inside = ndimage.binary_erosion(bone, iterations=2)
    np.testing.assert_allclose(truth[inside], ct[inside], atol=1)


def test_truth_is_mr_without_its_bias_field():
    sample = head_phantom(bias=0)
    (ct, mr), truth = sample.sources, sample.truth
    soft = ndimage.maximum_filter(ct, 7) < 120
    np.testing.assert_array_equal(truth[soft], mr[soft])
    biased = head_phantom(bias=0.2)
    np.testing.assert_array_equal(biased.truth, truth)
    assert not np.array_equal(biased.sources[1], mr)


def test_details_are_seen_in_one_source_only():
    (ct, mr), truth = full_size(head_phantom).sources, full_size(head_phantom).truth
    middle = np.s_[80:180, 80:180]
    calcium = ct[middle] > 180
    vessel = mr[middle] > 215
    assert calcium.any()
    assert vessel.any()
    assert mr[middle][calcium].max() < 150
    assert ct[middle][vessel].max() < 130
    assert truth[middle][calcium | vessel].min() > 160


def test_noise_has_the_levels_asked_for():
    clean = noisy_head_phantom(speckle=0, noise=0, clip=False)
    noisy = noisy_head_phantom(speckle=0.3, noise=0.05, clip=False)
    inside = clean.sources[0] > 0.1
    ratio = noisy.sources[0][inside] / clean.sources[0][inside]
    assert ratio.mean() == pytest.approx(1, abs=0.02)
    assert ratio.std() == pytest.approx(0.3, rel=0.05)
    difference = noisy.sources[1] - clean.sources[1]
    assert difference.mean() == pytest.approx(0, abs=0.001)
    assert difference.std() == pytest.approx(0.05, rel=0.02)


def test_noise_seed_changes_the_noise_but_not_the_truth():
    first, second = full_size(noisy_head_phantom), full_size(noisy_head_phantom, seed=1)
    np.testing.assert_array_equal(first.truth, second.truth)
    assert not np.array_equal(first.sources[0], second.sources[0])
    np.testing.assert_allclose(255 * first.truth, full_size(head_phantom).truth, atol=0.501)


def test_each_picture_of_the_pair_is_sharp_in_its_own_region():
    sample = full_size(focus_pair)
    near, far = (sharpness(source) for source in sample.sources)
    truth = sharpness(sample.truth)
    engine, shelf = np.s_[150:200, 80:140], np.s_[10:60, 100:150]
    assert near[engine].mean() > 20 * far[engine].mean()
    assert far[shelf].mean() > 20 * near[shelf].mean()
    assert near[engine].mean() == pytest.approx(truth[engine].mean(), rel=0.05)
    assert far[shelf].mean() == pytest.approx(truth[shelf].mean(), rel=0.05)


def test_the_blurred_motorcycle_spreads_over_its_surroundings_the_sharp_one_does_not():
    sample = focus_pair(color=True)
    redness = [image[..., 0].astype(float) - image[..., 2] for image in images_of(sample)]
    tank = ndimage.binary_opening(redness[2] > 120, iterations=3)
    rim = ndimage.binary_dilation(tank, iterations=3) & ~ndimage.binary_dilation(tank)
    near, far, truth = (image[rim] for image in redness)
    assert np.abs(near - truth).mean() < 0.5 * np.abs(far - truth).mean()


def test_every_pixel_of_the_stack_is_sharp_in_one_slice():
    sample = full_size(focus_stack)
    errors = np.abs(np.stack(sample.sources).astype(float) - sample.truth)
    assert np.percentile(errors.min(axis=0), 99) <= 2
    sharpest = np.argmax([sharpness(source) for source in sample.sources], axis=0)
    corner = np.s_[:40, :40]
    assert np.median(sharpest[corner]) == 0
    assert np.median(np.flip(sharpest)[corner]) == 4


def test_no_blur_gives_the_truth():
    for sample in (focus_pair(shape=(64, 64), blur=0), focus_stack(shape=(64, 64), blur=0)):
        for source in sample.sources:
            np.testing.assert_allclose(source, sample.truth, atol=1)


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
