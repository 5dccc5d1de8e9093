"""One network for all planes of a volume, and for the frames of a series."""

import numpy as np
import pytest
import torch

from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.errors import FusionError, StoppedError
from napari_dip_fusion.interruption import make_interruptible, make_observable, stage
from napari_dip_fusion.prior import crops
from napari_dip_fusion.prior.applied import Applied
from napari_dip_fusion.prior.crops import CropFit, SampleFit, make_fit
from napari_dip_fusion.prior.fit import Fit
from napari_dip_fusion.prior.memory import measure_network_reach

SMALL = {"width": 4, "depth": 2, "threads": 1, "device": "cpu", "precision": "float32"}


def make_volume(shape: tuple[int, ...] = (4, 32, 32), seed: int = 0) -> tuple[np.ndarray, ...]:
    """Return a target, its weight and guides: smooth stripes that shift from plane to plane."""
    rng = np.random.default_rng(seed)
    z, y, x = np.indices((1,) * (3 - len(shape)) + shape, dtype=np.float32)
    waves = np.stack([np.sin(x / 5 + z / 3), np.cos(y / 4 - z / 3)]) / 4 + 0.5
    waves = waves.reshape(2, *shape).astype(np.float32)
    target = waves.mean(axis=0) + rng.normal(0, 0.05, shape).astype(np.float32)
    return target, np.ones(shape, np.float32), waves


def make(shape: tuple[int, ...] = (4, 32, 32), **changes: object) -> CropFit:
    return CropFit(*make_volume(shape), FusionConfig.preset("fast", **{**SMALL, **changes}))


def run(fit: Fit, iterations: int) -> list[float]:
    return [step.excess for step in fit.run(iterations)]


@pytest.fixture
def few_crops(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a batch be one crop of 16x16 pixels, of planes that are larger than that."""
    monkeypatch.setattr(crops, "choose_crops", lambda shape, depth: (1, 16, 16))


@pytest.mark.parametrize("net_input", ["sources", "random"])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_excess_falls(net_input: str, channels: int) -> None:
    fit = make(net_input=net_input, channels=channels)
    assert fit.image is None
    excess = run(fit, 40)
    assert np.mean(excess[-5:]) < 0.6 * excess[0]
    assert fit.image.shape == (4, 32, 32)
    assert fit.image.dtype == np.float32


def test_the_image_is_near_the_target_like_the_last_batches() -> None:
    fit = make()
    excess = run(fit, 60)
    error = np.mean((fit.image - make_volume()[0]) ** 2)
    assert error < 1.5 * np.mean(excess[-10:])


@pytest.mark.parametrize("changes", [{}, {"net_input": "random"}, {"input_noise": 0.05}])
def test_same_seed_same_image_and_global_state_untouched(
    few_crops: None, changes: dict[str, object]
) -> None:
    state, numpy_state = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    threads = torch.get_num_threads()
    images = []
    for seed in (0, 0, 1):
        fit = make(seed=seed, **{"threads": threads + 1, **changes})
        run(fit, 4)
        images.append(fit.image)
    np.testing.assert_array_equal(images[0], images[1])
    assert not np.array_equal(images[0], images[2])
    assert torch.equal(torch.random.get_rng_state(), state)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)
    assert torch.get_default_dtype() == torch.float32
    assert torch.get_num_threads() == threads
    assert torch.is_grad_enabled()


def test_running_twice_with_looks_in_between_equals_running_once(few_crops: None) -> None:
    one, two = make(), make()
    run(one, 6)
    iterations = []
    for count in (2, 4):
        for step in two.run(count):
            iterations.append(step.iteration)
            two.show_plane(1)
        assert two.image is not None
    assert iterations == [1, 2, 3, 4, 5, 6]
    np.testing.assert_array_equal(one.image, two.image)


@pytest.mark.parametrize("size", [(32, 32), (21, 50)])
def test_planes_are_made_whole_and_each_by_the_same_function(
    few_crops: None, size: tuple[int, int]
) -> None:
    # Planes 1 to 3 see the same guides, and so do the two last and first with their edges repeated.
    target, weight, guides = make_volume((5, *size))
    guides[:] = guides[:, 2:3]
    guides[:, 0] += 0.1
    fit = CropFit(target, weight, guides, FusionConfig.preset("fast", **SMALL))
    run(fit, 5)
    image = fit.image
    np.testing.assert_array_equal(image[2], image[3])
    np.testing.assert_array_equal(image[2], image[4])
    assert not np.array_equal(image[1], image[2])
    # The network itself, on a whole plane, without any crop.
    net_input = torch.from_numpy(guides[:, 1:4].reshape(-1, *size))[None]
    rows, columns = (-(-n // 4) * 4 - n for n in size)
    padded = np.pad(net_input, ((0, 0), (0, 0), (0, rows), (0, columns)), mode="symmetric")
    padded = torch.from_numpy(padded).to(memory_format=torch.channels_last)
    with torch.no_grad():
        direct = fit._mean(padded)[0, 0, : size[0], : size[1]].numpy()
    np.testing.assert_array_equal(image[2], direct)


@pytest.mark.parametrize("side", [16, 17, 24, 40])
def test_crops_hold_all_pixels_equally_often(side: int) -> None:
    random = np.random.default_rng(0)
    drawn = [crops._draw_side(side, 16, random) for _ in range(4000)]
    share = np.bincount(np.concatenate(drawn), minlength=side) / len(drawn)
    np.testing.assert_allclose(share, 16 / side, rtol=0.15)
    for indices in drawn[:100]:
        assert (np.abs(np.diff(indices)) <= 1).all()


def test_the_network_sees_the_planes_beside_each() -> None:
    target, weight, guides = make_volume()
    fit = CropFit(target, weight, guides, FusionConfig.preset("fast", **SMALL))
    whole = np.arange(32)
    seen = fit._make_input([(0, whole, whole), (2, whole, whole)]).numpy()
    assert seen.shape == (2, 6, 32, 32)
    for number, planes in ((0, (0, 0, 1)), (1, (1, 2, 3))):
        for channel, image in enumerate(seen[number]):
            source, neighbor = divmod(channel, 3)
            np.testing.assert_array_equal(image, guides[source, planes[neighbor]])


def test_a_look_at_a_plane_is_near_what_is_kept() -> None:
    fit = make()
    with pytest.raises(ValueError, match="nothing to show before the first iteration"):
        fit.show_plane(0)
    run(fit, 30)
    look = fit.show_plane(2)
    assert look.shape == (32, 32)
    assert np.sqrt(np.mean((look - fit.image[2]) ** 2)) < 0.05


def test_weights_are_averaged_with_the_latest_weighing_most() -> None:
    fit = make(averaging=0.5)
    weights = []
    train = fit._train

    def recorded() -> tuple[torch.Tensor, torch.Tensor]:
        weights.append(fit._network.head.weight.detach().clone())
        return train()

    fit._train = recorded
    run(fit, 3)
    first = weights[0] + 0.9 * (weights[1] - weights[0])
    expected = first + 9 / 11 * (weights[2] - first)
    torch.testing.assert_close(fit._mean.head.weight, expected)


def test_without_averaging_the_latest_weights_are_kept() -> None:
    fit = make(averaging=0.0)
    run(fit, 3)
    before = fit._network.head.weight.detach().clone()
    run(fit, 1)
    torch.testing.assert_close(fit._mean.head.weight, before, rtol=0, atol=0)


def test_the_excess_of_few_crops_is_to_be_averaged(few_crops: None) -> None:
    assert make_fit(*make_volume((32, 32)), FusionConfig(**SMALL)).smoothing == 1
    assert make((2, 32, 32)).smoothing == 8
    assert make((30, 32, 32)).smoothing == 20


def test_planes_without_content_are_not_drawn() -> None:
    target, weight, guides = make_volume((6, 32, 32))
    weight[0] = 0
    target[3:5] = 0.25
    fit = CropFit(target, weight, guides, FusionConfig.preset("fast", **SMALL))
    drawn = {next(fit._parts)[0] for _ in range(30)}
    assert drawn == {1, 2, 5}
    full = CropFit(
        *(a[..., [1, 2, 5], :, :] for a in (target, weight, guides)),
        FusionConfig.preset("fast", **SMALL),
    )
    # On the others nothing is missed: the excess is the mean over all planes.
    assert 0.3 < run(fit, 1)[0] / run(full, 1)[0] < 0.7
    target[:] = 0.25
    empty = CropFit(target, weight, guides, FusionConfig.preset("fast", **SMALL))
    assert np.isfinite(run(empty, 2)).all()
    assert empty.image.shape == (6, 32, 32)


@pytest.mark.parametrize("shape", [(4, 32, 32), (32, 32)])
def test_a_series_goes_on_from_the_frame_before(shape: tuple[int, ...]) -> None:
    config = FusionConfig.preset("fast", **SMALL)
    first, second = make_volume(shape), make_volume(shape, seed=1)
    fit = make_fit(*first, config)
    before = run(fit, 30)
    fit.move_to(*second)
    assert fit.image is None
    after = run(fit, 5)
    alone = run(make_fit(*second, config), 5)
    assert after[0] < 0.6 * alone[0]
    assert after[0] < 2 * before[-1]
    assert fit.iteration == 35
    assert fit.image.shape == shape
    # Of the weights that were fitted to the frame before, none are left in the mean.
    assert np.mean((fit.image - second[0]) ** 2) < 1.5 * np.mean(before[-5:])


@pytest.mark.parametrize("shape", [(2, 32, 32), (32, 32)])
def test_frames_of_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    fit = make_fit(*make_volume(shape), FusionConfig.preset("fast", **SMALL))
    with pytest.raises(ValueError, match=r"must share one shape, got \(.*33\) after \(.*32\)"):
        fit.move_to(*make_volume((*shape[:-1], 33)))


def test_a_volume_of_one_plane_is_fitted_as_that_plane() -> None:
    config = FusionConfig.preset("fast", **SMALL)
    target, weight, guides = make_volume((1, 32, 32))
    fits = [
        make_fit(target, weight, guides, config),
        make_fit(target[0], weight[0], guides[:, 0], config),
    ]
    for fit in fits:
        run(fit, 3)
    assert fits[0].image.shape == (1, 32, 32)
    np.testing.assert_array_equal(fits[0].image[0], fits[1].image)
    np.testing.assert_array_equal(fits[0].show_plane(0), fits[1].image)


def test_making_the_image_tells_how_far_it_is_and_can_be_ended() -> None:
    fit = make()
    run(fit, 2)
    told = []

    def end() -> None:
        if told[-1][1] == 2:
            raise StoppedError("enough")

    with (
        make_observable(lambda *each: told.append(each)),
        stage("network", 4),
        make_interruptible(end),
        pytest.raises(StoppedError, match="enough"),
    ):
        assert fit.image is None
    assert [done for _, done, _ in told] == [0, 1, 2]
    assert fit.image.shape == (4, 32, 32)


def test_bfloat16_is_close_to_float32() -> None:
    images = []
    for precision in ("float32", "bfloat16"):
        fit = make(precision=precision)
        run(fit, 10)
        images.append(fit.image)
    assert 0 < np.abs(images[0] - images[1]).mean() < 0.03


def test_a_loss_that_is_not_finite_ends_with_advice_and_what_was_kept() -> None:
    fit = make()
    steps = fit.run(10)
    next(steps)
    before = fit.image
    with torch.no_grad():
        fit._network.head.bias.fill_(float("nan"))
    with pytest.raises(FusionError, match="no longer finite at iteration 2; use a smaller"):
        next(steps)
    np.testing.assert_array_equal(fit.image, before)


def test_failures_of_torch_become_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    fit = make()
    run(fit, 1)

    def broken(*args: object) -> None:
        raise MemoryError

    monkeypatch.setattr(fit, "_call", broken)
    message = "not enough memory on cpu for 4x32x32 pixels"
    with pytest.raises(FusionError, match=message):
        next(fit.run(1))
    with pytest.raises(FusionError, match=message):
        assert fit.image is None


def test_what_is_saved_makes_the_same_image_of_a_volume_and_of_parts_of_it() -> None:
    fit = make((5, 96, 112))
    run(fit, 6)
    image, guides = fit.image, make_volume((5, 96, 112))[2]
    applied = Applied(fit.save(), fit.config, len(guides))
    np.testing.assert_allclose(applied.apply(guides), image, atol=1e-6)
    # Rows from a multiple of four on, as a network of two scales asks for.
    far = measure_network_reach(2)
    part = applied.apply(guides[:, 1:5, 24:])
    np.testing.assert_allclose(part[1:, far:], image[2:5, 24 + far :], atol=1e-6)


def test_samples_are_no_neighbors() -> None:
    target, weight, guides = make_volume()
    config = FusionConfig.preset("fast", **SMALL)
    fit = SampleFit(target, weight, guides, config)
    run(fit, 3)
    applied = Applied(fit.save(), config, len(guides))
    # What is made of a plane depends on this plane alone.
    one = applied.apply(guides[:, 2])
    np.testing.assert_allclose(fit.image[2], one, atol=1e-6)
    with pytest.raises(ValueError, match="nothing to show before"):
        SampleFit(target, weight, guides, config).save()
