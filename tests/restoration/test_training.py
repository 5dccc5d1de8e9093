"""Crops that a network learns from: their sizes and places, and how they are degraded."""

import numpy as np
import pytest

from napari_dip_fusion.operators.degradation import Degradation
from napari_dip_fusion.restoration.noise import RestorationNoise
from napari_dip_fusion.restoration.planes import PlaneModel, network_pays, reconsider_noise
from napari_dip_fusion.restoration.training import CropDrawer, choose_cell, follow_cycle

QUIET = RestorationNoise(0, clipped=False)


def draw_image(*shape: int, seed: int = 0):
    return np.random.default_rng(seed).random(shape, np.float32)


def make_model(factors, sigmas=(0.0, 0.0), noise=QUIET, kernel=None) -> PlaneModel:
    return PlaneModel(Degradation((8, 8), factors, sigmas, kernel), (0, 1), noise, 0.01)


def make_drawer(planes, model, seen=None, seed=0) -> CropDrawer:
    return CropDrawer(planes, model, np.random.default_rng(seed), seen)


@pytest.mark.parametrize(
    ("factors", "cell"), [((4, 4), (4, 4)), ((6, 1), (6, 2)), ((1, 1), (2, 2)), ((2, 3), (2, 3))]
)
def test_a_cell_is_an_own_pixel_or_two_fine_ones(factors, cell) -> None:
    assert choose_cell(factors) == cell


@pytest.mark.parametrize(
    ("shape", "factors", "crop"),
    [
        ((256, 256), (4, 4), (96, 96)),
        ((256, 256), (1, 1), (48, 48)),
        ((252, 256), (6, 1), (78, 82)),
        ((64, 64), (4, 4), (32, 32)),
        ((12, 40), (4, 4), (12, 32)),
        ((3, 40), (3, 1), (3, 16)),
        ((1, 30), (1, 1), (2, 16)),
    ],
)
def test_crops_fit_into_the_image_and_hold_whole_cells(shape, factors, crop) -> None:
    drawer = make_drawer(draw_image(1, *shape), make_model(factors, (0.5, 0.5)))
    batch = drawer.draw()
    assert batch.truth.shape == batch.measured.shape == batch.estimate.shape
    assert batch.truth.shape[2:] == crop
    assert 0 <= batch.truth.min() <= batch.truth.max() <= 1


@pytest.mark.parametrize(("size", "pays"), [(16, False), (32, True)])
def test_small_images_are_not_worth_a_network(size: int, pays: bool) -> None:
    assert network_pays(Degradation((size, size), (4, 4), (1.7, 1.7))) == pays


def test_batches_have_about_the_same_number_of_cells() -> None:
    for shape, factors in (((256, 256), (4, 4)), ((256, 256), (2, 2)), ((128, 256), (4, 4))):
        drawer = make_drawer(draw_image(1, *shape), make_model(factors))
        cells = drawer.draw().truth.numel() / np.prod(choose_cell(factors))
        assert 3000 < cells < 4000


def test_what_was_measured_are_the_means_of_the_truth_with_noise() -> None:
    noise = RestorationNoise(0.02, clipped=False)
    batch = make_drawer(draw_image(1, 64, 64), make_model((2, 2), noise=noise)).draw()
    truth, measured = (t.numpy()[:, 0] for t in (batch.truth, batch.measured))
    size = truth.shape[1] // 2
    means = truth.reshape(-1, size, 2, size, 2).mean((2, 4)).repeat(2, 1).repeat(2, 2)
    assert 0.018 < (measured - means).std() < 0.022


def test_the_same_seed_draws_the_same_crops() -> None:
    image, model = draw_image(1, 64, 64), make_model((2, 2), noise=RestorationNoise(0.02))
    one, same, other = (make_drawer(image, model, seed=s).draw() for s in (0, 0, 1))
    assert one.measured.equal(same.measured)
    assert one.truth.equal(same.truth)
    assert not one.truth.equal(other.truth)


def test_axes_are_exchanged_only_where_they_are_degraded_alike() -> None:
    def exchanges(*arguments, **options) -> bool:
        return any(turn.exchanged for turn in make_model(*arguments, **options).turns)

    assert exchanges((2, 2), (1.0, 1.0))
    assert not exchanges((2, 1), (1.0, 1.0))
    assert not exchanges((2, 2), (1.0, 1.2))


def test_a_measured_blur_is_turned_only_where_it_is_symmetric() -> None:
    kernel = np.outer([1, 2, 1], [1, 2, 4]).astype(np.float32)
    turns = make_model((1, 1), kernel=kernel).turns
    assert [(t.exchanged, t.rows, t.columns) for t in turns] == [
        (False, False, False),
        (False, True, False),
    ]


def test_crops_are_blurred_more_and_mostly_less_than_the_image() -> None:
    edge = np.repeat(np.float32([0.2, 0.8]), 16)[None].repeat(32, axis=0)
    random = np.random.default_rng(0)

    def draw_widths(sigma: float) -> set[int]:
        model = make_model((2, 2), (sigma, sigma))
        slopes = [np.diff(model.degrade(edge, random)[8]).max() for _ in range(40)]
        return {round(float(1e4 * slope)) for slope in slopes}

    assert len(draw_widths(0)) == 1
    widths = draw_widths(3.0)
    assert len(widths) > 4
    nominal = np.diff(Degradation((16, 16), (2, 2), (3.0, 3.0)).apply(edge)[8]).max() * 1e4
    # A blur assumed too wide harms most, so that most crops are less blurred, with steeper edges.
    assert 0.9 * nominal < min(widths) < 0.95 * nominal < 1.25 * nominal < max(widths)
    assert sum(width > nominal for width in widths) > len(widths) / 2


def test_crops_come_from_where_something_was_seen() -> None:
    image = draw_image(1, 64, 64)
    image[:, :, :32] = 0
    shares = []
    for seen in (None, image == 0):
        drawer = make_drawer(image, make_model((1, 1)), seen)
        shares.append(np.mean([(drawer._cut() == 0).mean() for _ in range(40)]))
    assert shares[0] < 0.6
    assert shares[1] > 0.7


def test_planes_without_content_have_no_crops() -> None:
    planes = draw_image(5, 32, 32)
    planes[[0, 2, 4]] *= 0.01
    drawer = make_drawer(planes, make_model((1, 1)))
    assert {drawer._place()[0] for _ in range(40)} == {1, 3}


@pytest.mark.parametrize(
    ("estimated", "true", "found"),
    [(0.0, 0.0, 2 / 255), (0.04, 0.02, 0.026), (0.02, 0.02, 0.02), (0.04, 0.0, 2 / 255)],
    ids=["none", "too much", "as much", "all too much"],
)
def test_noise_is_not_more_than_its_pilot_leaves_room_for(estimated, true, found) -> None:
    degradation = Degradation((40, 40), (2, 2), (0.5, 0.5))
    pilot = 0.3 + 0.4 * draw_image(80, 80)
    pixels = RestorationNoise(true).add_to(degradation.apply(pilot), np.random.default_rng(1))
    noise = reconsider_noise(RestorationNoise(estimated), pixels, pilot, degradation)
    assert noise.white == pytest.approx(found, rel=0.05)


def test_speckle_and_noise_of_sources_that_lost_nothing_are_left_as_they_are() -> None:
    image = draw_image(16, 16)
    speckle, white = RestorationNoise(0.0, 0.2), RestorationNoise(0.0)
    assert reconsider_noise(speckle, image, image, Degradation((16, 16), (1, 1), (1, 1))) == speckle
    assert reconsider_noise(white, image, image, Degradation((16, 16), (1, 1), (0, 0))) == white


@pytest.mark.parametrize("clipped", [True, False])
def test_noise_is_as_large_as_it_says(clipped: bool) -> None:
    noise = RestorationNoise(0.03, 0.2, clipped=clipped)
    signal = np.repeat(np.float32([[0.0], [0.5]]), 4000, axis=1)
    noisy = noise.add_to(signal, np.random.default_rng(0))
    dark, bright = noisy.std(axis=1)
    assert bright == pytest.approx(np.hypot(0.03, 0.1), rel=0.05)
    assert (noisy.min() >= 0) == clipped
    assert dark == pytest.approx(0.03 * (0.584 if clipped else 1), rel=0.05)


def test_learning_rates_rise_to_their_peak_and_fall_to_nothing() -> None:
    rates = [follow_cycle(part) for part in np.linspace(0, 1, 101)]
    assert rates[0] == pytest.approx(0.04)
    assert np.argmax(rates) == 15
    assert rates[15] == 1
    assert rates[-1] == pytest.approx(0)
    assert all(np.diff(rates[:16]) > 0)
    assert all(np.diff(rates[15:]) < 0)
