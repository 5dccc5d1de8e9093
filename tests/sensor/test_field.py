"""What becomes of a source where its field of view ends."""

import numpy as np
import pytest

from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.sensor.analysis import analyze
from napari_dip_fusion.sensor.field import continue_sources, mask_gains, measure_ramps

CONFIG = FusionConfig(noise="none")
DIM, BRIGHT, END = 0.4, 0.7, 24


def make_pair(shape: tuple[int, ...], axis: int) -> tuple[np.ndarray, list]:
    """Return a dim source that saw everything, and a bright one that ends along an axis."""
    index = np.arange(shape[axis]).reshape([-1 if n == axis else 1 for n in range(len(shape))])
    inside = np.broadcast_to(index < END, shape)
    texture = np.random.default_rng(0).normal(0, 0.01, shape)
    bright = np.where(inside, BRIGHT + texture, 0)
    return np.stack([DIM - texture, bright]).astype(np.float32), [None, inside]


@pytest.mark.parametrize(("shape", "axis"), [((48, 40), 0), ((40, 48), 1), ((48, 24, 24), 0)])
def test_no_rim_and_no_seam_where_a_source_ends(shape, axis) -> None:
    images, fields = make_pair(shape, axis)
    found = analyze(images, CONFIG, inside=fields)
    profile = np.moveaxis(found.consensus, axis, 0).reshape(shape[axis], -1).mean(axis=1)
    # It goes from the one to the other, and nowhere beyond either or back.
    np.testing.assert_allclose(profile[: END - 10], BRIGHT, atol=0.03)
    np.testing.assert_allclose(profile[END:], DIM, atol=0.01)
    steps = np.diff(profile[END - 10 : END + 2])
    assert steps.max() < 0.01
    assert steps.min() > -0.13
    # Nothing of the source is left where it saw nothing.
    gains = np.moveaxis(found.model.gains, axis + 1, 1)
    assert (gains[1, END:] == 0).all()
    assert (gains[0, END:] == 1).all()


def test_taken_for_black_it_has_a_rim_and_a_seam() -> None:
    images, _ = make_pair((48, 40), 0)
    profile = analyze(images, CONFIG).consensus.mean(axis=1)
    steps = np.diff(profile[END - 10 : END + 10])
    assert steps.max() > 0.01 or steps.min() < -0.13


def test_a_model_gives_the_same_of_the_sources_that_it_was_made_from() -> None:
    images, fields = make_pair((48, 40), 0)
    found = analyze(images, CONFIG, inside=fields)
    image, floor = found.model.solve(images, fields)
    np.testing.assert_allclose(image, found.consensus, atol=1e-6)
    assert floor == pytest.approx(found.floor, rel=1e-4)


def test_sources_go_on_beyond_their_field_and_stay_within() -> None:
    images, fields = make_pair((48, 40), 0)
    first, second = continue_sources(images, fields, 4.5)
    assert first is images[0] or np.shares_memory(first, images)
    np.testing.assert_array_equal(second[:END], images[1, :END])
    assert second[END : END + 8].min() > BRIGHT - 0.05
    # Where nobody saw anything there is nothing to go on for.
    nowhere = [fields[1], fields[1]]
    assert (continue_sources(images, nowhere, 4.5)[1][END:] == 0).all()


def test_ramps_rise_from_the_end_on() -> None:
    _, fields = make_pair((48, 40), 0)
    whole = (slice(None), slice(None))
    ramps = measure_ramps(fields, whole, 3.0)
    assert (ramps[0] == 1).all()
    assert (np.diff(ramps[1, :, 0]) <= 0).all()
    assert (ramps[1, END:] == 0).all()
    assert (ramps[1, : END - 12] == 1).all()
    assert measure_ramps(fields, (slice(0, END), slice(None)), 3.0) is None


def test_black_sources_that_see_alone_have_gains() -> None:
    gains = np.array([[0.0, 0.5], [1.0, 1.0]], dtype=np.float32)
    kept = np.array([[True, True], [False, False]])
    np.testing.assert_array_equal(mask_gains(gains, kept, "unit-max"), [[1, 1], [0, 0]])
    np.testing.assert_array_equal(mask_gains(gains, ~kept & False, "unit-max"), gains)
