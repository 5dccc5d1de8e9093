"""The head phantoms."""

import numpy as np
import pytest
from scipy import ndimage

from napari_dip_fusion.samples import head_phantom, noisy_head_phantom


def test_other_seed_other_anatomy():
    first, second = head_phantom(shape=(64, 64)), head_phantom(shape=(64, 64), seed=1)
    assert not np.array_equal(first.truth, second.truth)


def test_bone_shows_in_ct_and_soft_tissue_in_mr():
    sample = head_phantom()
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
    (ct, mr), truth = head_phantom().sources, head_phantom().truth
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
    first, second = noisy_head_phantom(), noisy_head_phantom(seed=1)
    np.testing.assert_array_equal(first.truth, second.truth)
    assert not np.array_equal(first.sources[0], second.sources[0])
    np.testing.assert_allclose(255 * first.truth, head_phantom().truth, atol=0.501)
