"""The focus series."""

import numpy as np
import pytest
from scipy import ndimage

from napari_dip_fusion.samples import focus_pair, focus_stack

ODD_SHAPES = ((16, 16), (33, 47), (16, 100), (100, 16))


def sharpness(image):
    """Mean local energy of the Laplacian, as a map."""
    return ndimage.gaussian_filter(ndimage.laplace(image.astype(float)) ** 2, 3)


def images_of(sample):
    return (*sample.sources, sample.truth)


@pytest.mark.parametrize("make", [focus_pair, focus_stack])
@pytest.mark.parametrize("shape", ODD_SHAPES)
def test_color_has_three_channels(make, shape):
    for image in images_of(make(shape=shape, color=True)):
        assert image.shape == (*shape, 3)
        assert image.dtype == np.uint8


def test_each_picture_of_the_pair_is_sharp_in_its_own_region():
    sample = focus_pair()
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
    sample = focus_stack()
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
