"""The images that a fusion has to beat."""

import numpy as np
import pytest

from napari_dip_fusion.methods import METHODS, fuse_stack
from napari_dip_fusion.methods.baselines import BASELINES, make_baselines

RNG = np.random.default_rng(2)


@pytest.mark.parametrize("count", [2, 3])
def test_baselines_are_the_methods_of_their_labels(count: int) -> None:
    images = RNG.random((count, 20, 31), dtype=np.float32)
    consensus = fuse_stack("consensus", images)
    baselines = make_baselines(images, consensus)
    assert list(baselines) == list(BASELINES)
    names = {method.label: name for name, method in METHODS.items()}
    for label, image in baselines.items():
        np.testing.assert_array_equal(image, fuse_stack(names[label], images))


@pytest.mark.parametrize("stack", [(1,), (3,), (2, 2)])
def test_baselines_of_a_volume_are_those_of_its_planes(stack: tuple[int, ...]) -> None:
    images = RNG.random((2, *stack, 9, 11), dtype=np.float32)
    baselines = make_baselines(images, images.sum(axis=0))
    for index in np.ndindex(stack):
        plane = make_baselines(images[:, *index], images.sum(axis=0)[index])
        for name, image in plane.items():
            np.testing.assert_array_equal(baselines[name][index], image)


def test_a_consensus_beyond_white_is_clipped_and_left_as_it_was() -> None:
    images = RNG.random((2, 20, 31), dtype=np.float32)
    consensus = images.sum(axis=0) - np.float32(0.2)
    before = consensus.copy()
    baselines = make_baselines(images, consensus)
    np.testing.assert_array_equal(baselines["consensus"], before.clip(0, 1))
    np.testing.assert_array_equal(consensus, before)
    for image in baselines.values():
        assert image.dtype == np.float32
        assert 0 <= image.min() <= image.max() <= 1


def test_baselines_are_described_in_sentences() -> None:
    for description in BASELINES.values():
        assert description.endswith(".")
