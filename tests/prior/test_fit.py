"""The optimization: loss, determinism, failures."""

import numpy as np
import pytest
import torch

from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.errors import FusionError
from napari_dip_fusion.prior.fit import Fit, measure_error
from napari_dip_fusion.sensor.consensus import consensus, consensus_weight, loss_floor
from napari_dip_fusion.sensor.gains import gain_maps

RNG = np.random.default_rng(2)
SOURCES = RNG.random((2, 33, 47), dtype=np.float32)
GAINS = gain_maps(SOURCES, patch_size=3)
TARGET, WEIGHT = consensus(SOURCES, GAINS), consensus_weight(GAINS)
SMALL = {"width": 6, "depth": 2, "threads": 1, "device": "cpu", "patch_size": 3}


def make(**changes: object) -> Fit:
    return Fit(TARGET, WEIGHT, SOURCES, FusionConfig.preset("fast", **{**SMALL, **changes}))


def test_value_and_gradient_equal_the_loss_of_the_paper() -> None:
    output = torch.rand(
        (4, 33, 47), generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    output.requires_grad_()
    x, beta = (torch.from_numpy(a.astype(np.float64)) for a in (SOURCES, GAINS))
    terms = (x[None] - beta[None] * output[:, None]).square().sum(dim=1).mean()
    (expected,) = torch.autograd.grad(terms, output)
    target = (beta * x).sum(0) / beta.square().sum(0)
    closed = measure_error(output, target, beta.square().sum(0))
    (gradient,) = torch.autograd.grad(closed, output)
    assert float(closed.detach()) + loss_floor(SOURCES, GAINS) == pytest.approx(
        float(terms.detach()), rel=1e-6
    )
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("net_input", ["sources", "random"])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_excess_falls_and_the_best_is_kept(net_input: str, channels: int) -> None:
    fit = make(net_input=net_input, channels=channels, averaging=0.0, precision="float32")
    assert fit.image is None
    excess = [step.excess for step in fit.run(30)]
    assert min(excess) < 0.8 * excess[0]
    assert fit.image is not None
    assert fit.image.shape == (33, 47)
    assert fit.image.dtype == np.float32
    if channels == 1:
        error = np.mean(WEIGHT * (fit.image - TARGET) ** 2)
        assert error == pytest.approx(min(excess), rel=1e-4)


def test_the_mean_of_outputs_is_kept_with_the_latest_weighing_most() -> None:
    fit = make(precision="float32", averaging=0.5)
    outputs = []
    train = fit._train

    def recorded() -> tuple[torch.Tensor, torch.Tensor]:
        loss, output = train()
        outputs.append(output[0].numpy().copy())
        return loss, output

    fit._train = recorded
    for _ in fit.run(3):
        pass
    # Two iterations in, the mean would reach further back than its decay of 0.1 and 2/11 allow.
    first = outputs[0] + 0.9 * (outputs[1] - outputs[0])
    np.testing.assert_allclose(fit.image, first + 9 / 11 * (outputs[2] - first), atol=1e-6)


def test_bfloat16_is_close_to_float32() -> None:
    images = []
    for precision in ("float32", "bfloat16"):
        fit = make(precision=precision)
        for _ in fit.run(30):
            pass
        images.append(fit.image)
    assert 0 < np.abs(images[0] - images[1]).mean() < 0.03


@pytest.mark.parametrize("changes", [{}, {"net_input": "random"}, {"input_noise": 0.05}])
def test_same_seed_same_image_and_global_state_untouched(changes: dict[str, object]) -> None:
    state, numpy_state = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    images = []
    for seed in (0, 0, 1):
        fit = make(seed=seed, **changes)
        for _ in fit.run(4):
            pass
        images.append(fit.image)
    np.testing.assert_array_equal(images[0], images[1])
    assert not np.array_equal(images[0], images[2])
    assert torch.equal(torch.random.get_rng_state(), state)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)
    assert torch.get_default_dtype() == torch.float32


def test_thread_count_is_restored_between_iterations() -> None:
    before = torch.get_num_threads()
    fit = make(threads=before + 1)
    for _ in fit.run(2):
        assert torch.get_num_threads() == before
    assert fit.threads == before + 1


def test_running_twice_equals_running_once() -> None:
    one, two = make(), make()
    for _ in one.run(6):
        pass
    iterations = [s.iteration for n in (2, 4) for s in two.run(n)]
    assert iterations == [1, 2, 3, 4, 5, 6]
    np.testing.assert_array_equal(one.image, two.image)


def test_bfloat16_stays_near_float32() -> None:
    exact, rough = make(), make(precision="bfloat16")
    for fit in (exact, rough):
        for _ in fit.run(20):
            pass
    assert np.sqrt(np.mean((exact.image - rough.image) ** 2)) < 0.1


@pytest.mark.parametrize("size", [(9, 9), (8, 100), (64, 64)])
def test_sizes_that_cannot_be_halved(size: tuple[int, int]) -> None:
    sources = RNG.random((2, *size), dtype=np.float32)
    fit = Fit(
        sources[0],
        np.ones(size, np.float32),
        sources,
        FusionConfig(width=4, device="cpu", threads=1),
    )
    for _ in fit.run(2):
        pass
    assert fit.image.shape == size


def test_a_loss_that_is_not_finite_ends_with_advice_and_the_best_so_far() -> None:
    fit = make()
    run = fit.run(10)
    next(run)
    best = fit.image
    with torch.no_grad():
        fit._network.head.bias.fill_(float("nan"))
    with pytest.raises(
        FusionError, match="no longer finite at iteration 2; use a smaller learning"
    ):
        next(run)
    np.testing.assert_array_equal(fit.image, best)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "not enough memory on cpu for 33x47"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "not enough memory"),
        (RuntimeError("MPS backend out of memory. Tried to allocate 1 GB"), "not enough memory"),
        (MemoryError(), "use a smaller width"),
        (RuntimeError("no channels_last memory format"), "torch failed on cpu: no channels_last"),
        (RuntimeError("a kernel broke\nand more"), "torch failed on cpu: a kernel broke; try"),
    ],
)
def test_failures_of_torch_become_one_error(
    error: Exception, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = make()

    def broken(*args: object) -> None:
        raise error

    monkeypatch.setattr(fit._network, "forward", broken)
    with pytest.raises(FusionError, match=message):
        next(fit.run(1))
