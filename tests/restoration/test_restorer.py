"""The restoration of a source by a network trained on it: what it gains, and how it behaves."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from napari_dip_fusion.config import ComputeSettings
from napari_dip_fusion.errors import FusionError
from napari_dip_fusion.operators.degradation import Degradation
from napari_dip_fusion.restoration import application, restorer
from napari_dip_fusion.restoration.noise import RestorationNoise
from napari_dip_fusion.restoration.restorer import Restorer

NOISE = RestorationNoise(2 / 255)
COMPUTE = ComputeSettings(device="cpu", threads=1)


@pytest.fixture(autouse=True)
def small_network(monkeypatch) -> None:
    monkeypatch.setattr(restorer, "_WIDTH", 12)
    monkeypatch.setattr(restorer, "_BLOCKS", 2)
    monkeypatch.setattr(restorer, "_LEAST", 1)


def draw_shapes(*shape: int, seed: int = 0):
    """Return an image of flat shapes with sharp edges, in [0, 1]."""
    smooth = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 5)
    levels = np.digitize(smooth / smooth.std(), [-0.8, 0.2, 0.9])
    return np.float32([0.1, 0.3, 0.6, 0.9])[levels]


def degrade(truth, degradation, seed=0):
    return NOISE.add_to(degradation.apply(truth), np.random.default_rng(seed))


def make_restorer(truth, degradation, pilot=None, *, seed=0, compute=COMPUTE) -> Restorer:
    pixels = degrade(truth, degradation)
    if pilot is None:
        pilot = degradation.interpolate(pixels).clip(0, 1)
    return Restorer(pixels, pilot, degradation, NOISE, compute=compute, seed=seed)


def make_small(**options) -> Restorer:
    degradation = Degradation((16, 16), (2, 2), (0.9, 0.9))
    return make_restorer(draw_shapes(32, 32), degradation, **options)


def train(restorer: Restorer, iterations: int) -> list:
    return list(restorer.run(iterations))


def measure_error(image, truth) -> float:
    return float(np.sqrt(np.mean((image - truth) ** 2)))


@pytest.mark.parametrize(
    ("shape", "factors", "sigmas"),
    [
        ((24, 24), (2, 2), (0.9, 0.9)),
        ((8, 40), (6, 1), (0.0, 0.0)),
        ((3, 24, 24), (1, 2, 2), (0.0, 0.9, 0.9)),
    ],
    ids=["plane", "thick rows", "volume"],
)
def test_the_network_learns_from_crops_what_the_first_estimate_lacks(
    shape, factors, sigmas
) -> None:
    degradation = Degradation(shape, factors, sigmas)
    truth = draw_shapes(*degradation.fine_shape)
    # It learns from the truth, so that what it gains is not the pilot's.
    restorer = make_restorer(truth, degradation, truth)
    before = measure_error(restorer._first, truth)
    train(restorer, 60)
    assert restorer.image.shape == truth.shape
    assert measure_error(restorer.image, truth) < 0.98 * before


def test_iterations_are_counted_over_runs() -> None:
    restorer = make_small()
    steps = train(restorer, 3) + train(restorer, 2)
    assert [step.iteration for step in steps] == [1, 2, 3, 4, 5]


def test_the_image_is_the_pilot_until_a_third_of_the_run() -> None:
    restorer = make_small()
    assert restorer.is_new
    pilot = restorer.image
    assert not restorer.is_new
    new = []
    for step in restorer.run(9):
        if restorer.is_new:
            new.append(step.iteration)
            assert not np.array_equal(restorer.image, pilot)
    assert new == [3, 6, 9]


def test_another_run_changes_the_image_at_its_end_alone() -> None:
    restorer = make_small()
    train(restorer, 3)
    assert restorer.is_new
    before = restorer.image
    new = [step.iteration for step in restorer.run(9) if restorer.is_new]
    assert new == [12]
    assert not np.array_equal(restorer.image, before)


@pytest.mark.parametrize(
    ("sigma", "shares"), [(0.9, [0.4, 0.6, 0.9]), (0.0, [0.4, 0.6, 1.0])], ids=["blur", "no blur"]
)
def test_the_image_has_more_and_more_of_the_network(monkeypatch, sigma, shares) -> None:
    degradation = Degradation((16, 16), (2, 2), (sigma, sigma))
    restorer = make_restorer(draw_shapes(32, 32), degradation)
    pilot = restorer.image
    # Whatever the network makes, it shall explain a black image.
    monkeypatch.setattr(restorer, "_explain", np.zeros_like)
    found = []
    for _ in restorer.run(9):
        if restorer.is_new:
            found.append(1 - restorer.image.sum() / pilot.sum())
    np.testing.assert_allclose(found, shares, rtol=1e-4)


def test_early_images_of_wide_blurs_have_no_amplified_noise(monkeypatch) -> None:
    truth = draw_shapes(48, 48)
    degradation = Degradation((48, 48), (1, 1), (0.8, 0.8))
    restorer = make_restorer(truth, degradation, truth)
    # The network is as good as can be: what is shown differs by what explains the pixels alone.
    monkeypatch.setattr(restorer, "_apply", lambda _turns: truth)
    step = next(step for step in restorer.run(3) if restorer.is_new)
    assert step.iteration == 1
    # Twice as much is left of it if it is not filtered.
    assert measure_error(restorer.image, truth) < 0.5 * NOISE.white


def test_the_image_is_a_copy_in_range() -> None:
    restorer = make_small()
    train(restorer, 3)
    image = restorer.image
    assert image.dtype == np.float32
    assert 0 <= image.min() <= image.max() <= 1
    image[:] = 5
    assert restorer.image.max() <= 1


def test_the_same_seed_gives_the_same_image_and_leaves_global_state_alone() -> None:
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), torch.get_num_threads()
    one, same, other = (make_small(seed=seed) for seed in (0, 0, 1))
    for each in (one, same, other):
        train(each, 4)
    np.testing.assert_array_equal(one.image, same.image)
    assert not np.array_equal(one.image, other.image)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])
    assert torch.get_num_threads() == states[2]


def test_an_image_made_in_tiles_is_that_of_the_whole(monkeypatch) -> None:
    restorer = make_restorer(draw_shapes(96, 80), Degradation((48, 40), (2, 2), (0.9, 0.9)))
    train(restorer, 2)
    turns, seen = [restorer._model.turns[-1]], []
    whole = restorer._apply(turns)
    monkeypatch.setattr(application, "_MOST_AT_ONCE", 1)
    call = restorer._call
    monkeypatch.setattr(restorer, "_call", lambda *i: seen.append(i[0].shape[2:]) or call(*i))
    np.testing.assert_allclose(restorer._apply(turns), whole, atol=2e-3)
    assert len(seen) >= 4
    assert max(map(max, seen)) < 80


def test_large_images_are_made_in_fewer_turns() -> None:
    turns = make_small()._model.turns
    counts = [len(application.choose_turns(turns, n * n, (2, 2))) for n in (256, 2048, 4096)]
    assert counts == [8, 2, 1]


def test_pixels_that_were_not_seen_count_for_nothing() -> None:
    seen = np.ones((24, 24), bool)
    seen[:, 14:] = False
    degradation = Degradation((24, 24), (2, 2), (0.9, 0.9), seen=seen)
    truth = draw_shapes(48, 48)
    images = []
    for value in (0.0, 1.0):
        pixels = np.where(seen, degrade(truth, degradation), np.float32(value))
        pilot = degradation.interpolate(pixels).clip(0, 1)
        restorer = Restorer(pixels, pilot, degradation, NOISE, compute=COMPUTE, seed=0)
        train(restorer, 4)
        images.append(restorer.image)
    np.testing.assert_array_equal(*images)


def test_a_measured_blur_is_undone() -> None:
    kernel = np.outer([0, 0, 2, 3, 3, 2, 1], [1, 2, 1]).astype(np.float32)
    kernel = np.pad(kernel, ((0, 0), (1, 1)))
    degradation = Degradation((40, 40), (1, 1), (0.0, 0.0), kernel)
    truth = draw_shapes(40, 40)
    restorer = make_restorer(truth, degradation)
    before = measure_error(restorer.image, truth)
    train(restorer, 60)
    assert measure_error(restorer.image, truth) < 0.75 * before


def test_it_goes_on_with_the_next_frame() -> None:
    restorer = make_small()
    train(restorer, 6)
    degradation = restorer._degradation
    pixels = degrade(draw_shapes(32, 32, seed=5), degradation)
    pilot = degradation.interpolate(pixels).clip(0, 1)
    restorer.move_to(pixels, pilot)
    assert restorer.is_new
    np.testing.assert_array_equal(restorer.image, pilot)
    assert train(restorer, 1)[0].iteration == 7


def test_a_frame_of_another_shape_is_refused() -> None:
    restorer = make_small()
    with pytest.raises(ValueError, match=r"got \(8, 8\) after \(16, 16\); make another Restorer"):
        restorer.move_to(np.zeros((8, 8), np.float32), np.zeros((16, 16), np.float32))


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_image() -> None:
    restorer = make_small()
    pilot = restorer.image
    torch.nn.init.constant_(restorer._network.tail.bias, float("nan"))
    with pytest.raises(FusionError, match="no longer finite at iteration 1; use precision"):
        train(restorer, 3)
    np.testing.assert_array_equal(restorer.image, pilot)


def test_failures_of_torch_are_explained(monkeypatch) -> None:
    def fail(*_):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate")

    restorer = make_small()
    monkeypatch.setattr(restorer, "_call", fail)
    with pytest.raises(FusionError, match="not enough memory on cpu for the restoration of 32x32"):
        train(restorer, 1)


def test_bfloat16_gives_nearly_the_same_image() -> None:
    images = []
    for precision in ("float32", "bfloat16"):
        compute = ComputeSettings(device="cpu", threads=1, precision=precision)
        restorer = make_small(compute=compute)
        train(restorer, 6)
        images.append(restorer.image)
    assert not np.array_equal(*images)
    np.testing.assert_allclose(*images, atol=0.03)


def test_a_network_of_too_few_iterations_leaves_the_pilot_as_it_is(monkeypatch) -> None:
    monkeypatch.setattr(restorer, "_LEAST", 7)
    small = make_small()
    before = small.image
    train(small, 6)
    np.testing.assert_array_equal(small.image, before)
    # Another run counts on.
    train(small, 3)
    assert np.abs(small.image - before).max() > 0


def test_a_saved_network_restores_other_parts_as_it_would_have(monkeypatch) -> None:
    trained = make_small()
    train(trained, 6)
    pixels, degradation = trained._pixels, trained._degradation
    options = {"compute": COMPUTE, "seed": 5}
    saved = trained.save()
    # Of the noise nothing is looked for in the pixels: what is known of it is given.
    other = Restorer(pixels, trained._pilot, degradation, trained.noise, weights=saved, **options)
    assert other.iteration == 6
    np.testing.assert_array_equal(other.restore(), trained.image)
    assert trained.noise.measure(pixels * 0) == trained.noise.level
    # A part of a large image gets no more turns than the large image would.
    asked = []
    monkeypatch.setattr(
        restorer,
        "choose_turns",
        lambda turns, count, cell: (
            asked.append(count) or [application.choose_turns(turns, 1, cell)[0]]
        ),
    )
    part = Restorer(
        pixels, trained._pilot, degradation, trained.noise, weights=saved, whole=2**24, **options
    )
    part.restore()
    assert asked == [2**24]


def test_a_run_that_is_not_finished_keeps_its_weights_alone() -> None:
    one, other = make_small(), make_small()
    train(one, 6)
    list(other.run(6, finish=False))
    assert not other._finished
    np.testing.assert_array_equal(other.restore(), one.image)
