"""The estimate of time and memory before a run."""

import sys
from functools import partial

import numpy as np
import pytest
import torch

from napari_dip_fusion import Control, FusionConfig, FusionError, estimate_run, fuse
from napari_dip_fusion.fusion import timing as probe
from napari_dip_fusion.fusion.memory import estimate_memory

TINY = FusionConfig(width=4, depth=2, iterations=50, threads=1, device="cpu", restore="never")
estimate_noisy = partial(estimate_run, noisy=True)


@pytest.fixture(autouse=True)
def _nothing_known():
    probe.forget()
    yield
    probe.forget()


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple[int, int]]]:
    """Replace the measurements by fixed times, and return which were made."""
    made: list[tuple[str, tuple[int, int]]] = []

    def fixed(what: str, seconds: float):
        def measure(config, shape, *others) -> float:
            made.append((what, shape))
            return seconds

        return measure

    monkeypatch.setattr(probe, "_time_iteration", fixed("fit", 0.1))
    monkeypatch.setattr(probe, "_time_rest", fixed("rest", 0.5))
    return made


@pytest.mark.usefixtures("_only_work_takes_time")
def test_the_estimate_is_what_a_run_takes() -> None:
    config = TINY.replace(width=16, stop="iterations", precision="float32")
    sources = np.random.default_rng(0).random((2, 96, 128))
    expected = estimate_run(config, (96, 128), 2)
    taken = fuse(sources, config).record["seconds"]["total"]
    # The analysis, and 50 iterations.
    assert expected.seconds == pytest.approx(taken) == pytest.approx(3.0 + 50 * 0.25)
    assert expected.memory == estimate_memory(config, (96, 128), 2)


def test_a_second_estimate_measures_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    first = estimate_run(TINY, (40, 33), 2)
    for measurement in ("_time_iteration", "_time_rest"):
        monkeypatch.delattr(probe, measurement)
    assert estimate_run(TINY, (40, 33), 2) == first
    twice = estimate_run(TINY.replace(iterations=100, seed=3, stop="iterations"), (40, 33), 2)
    assert first.seconds < twice.seconds < 2 * first.seconds


def test_both_ways_are_told_until_the_noise_is_known(counted) -> None:
    unknown = estimate_run(TINY, (32, 32), 2)
    assert (unknown.seconds, unknown.clean_seconds) == (pytest.approx(5.5), 0.5)
    assert str(unknown).startswith("about 0.5 s, or with noise 6 s at most, ")
    noisy, clean = (estimate_run(TINY, (32, 32), 2, noisy=n) for n in (True, False))
    assert (noisy.seconds, noisy.clean_seconds) == (pytest.approx(5.5), None)
    assert (clean.seconds, clean.clean_seconds) == (0.5, None)
    assert clean.memory < noisy.memory == unknown.memory
    for change in ({"network": "always"}, {"network": "never"}, {"noise": "none"}):
        assert estimate_run(TINY.replace(**change), (32, 32), 2).clean_seconds is None


def test_what_needs_no_network_needs_no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    for change in ({"method": "average"}, {"method": "consensus"}, {"network": "never"}):
        assert estimate_run(TINY.replace(**change), (40, 33), 2).seconds > 0
    assert estimate_run(TINY, (40, 33), 2, noisy=False).seconds > 0


@pytest.mark.parametrize(
    "change", [{"width": 8}, {"depth": 3}, {"threads": 2}, {"net_input": "random"}]
)
def test_what_changes_the_network_is_measured_anew(counted, change) -> None:
    estimate_noisy(TINY, (32, 32), 2)
    estimate_noisy(TINY.replace(**change), (32, 32), 2)
    assert [what for what, _ in counted].count("fit") == 2


def test_gains_and_count_are_measured_anew_and_the_end_is_not(counted) -> None:
    estimate_noisy(TINY, (32, 32), 2)
    estimate_noisy(TINY.replace(iterations=7, stop="plateau", intensity="dtype"), (32, 32), 2)
    assert counted == [("rest", (32, 32)), ("fit", (32, 32))]
    estimate_noisy(TINY.replace(patch_size=5), (32, 32), 2)
    assert counted[2:] == [("rest", (32, 32))]
    estimate_noisy(TINY, (32, 32), 3)
    assert len(counted) == 5


def test_large_images_are_tried_small(counted) -> None:
    config = FusionConfig(device="cpu", iterations=10, restore="never")
    assert estimate_noisy(config, (512, 512), 2).seconds == pytest.approx(0.5 * 16 + 10 * 0.1)
    assert estimate_noisy(config, (1024, 1024), 2).seconds == pytest.approx(0.5 * 64 + 10 * 0.1 * 4)
    assert counted == [("rest", (128, 128)), ("fit", (512, 512))]
    wide = config.replace(width=128)
    assert estimate_noisy(wide, (256, 256), 2).seconds == pytest.approx(0.5 * 4 + 10 * 0.1 * 4)
    assert counted[2:] == [("fit", (128, 128))]


def test_small_sides_stay_large_enough(counted) -> None:
    estimate_noisy(FusionConfig(device="cpu", patch_size=101, restore="never"), (5000, 110), 2)
    (_, rest), (_, fit) = counted
    assert rest[1] == 101
    assert min(fit) >= 64


def test_volumes_are_tried_small_and_with_their_steps(counted) -> None:
    config = FusionConfig(network="never")
    tried, thick = (16, 96, 96), (3.0, 1.0, 1.0)
    seconds = estimate_run(config, (64, 192, 192), 2, noisy=False).seconds
    assert seconds == pytest.approx(0.5 * 16 * 16**0.2)
    assert estimate_run(config, (64, 96, 96), 2, noisy=False).seconds < 0.5 * 6
    assert counted == [("rest", tried)]
    estimate_run(config, (64, 96, 96), 2, noisy=False, steps=thick)
    assert counted == [("rest", tried)] * 2


def test_a_series_takes_as_often_as_it_has_frames(counted) -> None:
    config = TINY.replace(network="never")
    series, volumes = (np.inf, 1.0, 1.0), (np.inf, 2.0, 1.0, 1.0)
    assert estimate_run(config, (7, 32, 32), 2, steps=series).seconds == pytest.approx(3.5)
    assert estimate_run(config, (7, 4, 32, 32), 2, steps=volumes).seconds == pytest.approx(3.5)
    planes = config.replace(volumes="planes")
    assert estimate_run(planes, (7, 4, 32, 32), 2, steps=volumes).seconds == pytest.approx(14)
    assert counted == [("rest", (32, 32)), ("rest", (4, 32, 32)), ("rest", (32, 32))]


def test_of_a_series_one_frame_is_worked_at() -> None:
    config = TINY.replace(network="never")
    series = (np.inf, 1.0, 1.0)
    volume, frames = (estimate_memory(config, (90, 64, 64), 2, steps=s) for s in (None, series))
    kept = 4 * 90 * 64 * 64 * (3 * 2 + 4)
    assert frames == estimate_memory(config, (64, 64), 2) + kept
    assert frames < volume
    planes = config.replace(volumes="planes")
    assert estimate_memory(planes, (90, 64, 64), 2) == frames


def test_memory_of_a_volume_is_what_was_measured() -> None:
    config = FusionConfig(network="never")
    # Bytes by number of sources, of volumes with noise; those without took a half to two thirds.
    for count, shape, measured in ((2, (64, 256, 256), 427e6), (4, (64, 256, 256), 730e6)):
        assert measured < estimate_memory(config, shape, count) < 1.35 * measured
    network = FusionConfig(network="always")
    assert estimate_memory(network, shape, 4) >= estimate_memory(config, shape, 4)


def test_one_network_is_fitted_to_crops_of_a_volume(counted, monkeypatch) -> None:
    def measure(config, shape, *others) -> float:
        counted.append(("image", shape))
        return 17.0

    monkeypatch.setattr(probe, "_time_image", measure)
    config = FusionConfig(device="cpu", iterations=10, restore="never")
    seconds = estimate_noisy(config, (64, 128, 256), 2).seconds
    # Four crops, which are tried as they are; sixteen batches of them, and then each plane.
    assert counted == [("rest", (12, 45, 90)), ("fit", (4, 128, 128)), ("image", (4, 128, 128))]
    rest = 0.5 * 2.12 * (64 * 128 * 256) / (12 * 45 * 90)
    fit = 10 * 0.1 + (16 * 4 + 2 * 64) / (17 * 4) * 17.0
    assert seconds == pytest.approx(rest + fit, rel=0.01)
    # The next frames go on with it, for a quarter of the iterations.
    steps = (np.inf, 1.0, 1.0, 1.0)
    more = estimate_noisy(config, (3, 64, 128, 256), 2, steps=steps).seconds
    assert more == pytest.approx(3 * seconds - 2 * 8 * 0.1)
    assert len(counted) == 3


def test_a_volume_is_tried_in_each_of_its_ways() -> None:
    config = TINY.replace(iterations=4)
    expected = estimate_run(config, (3, 24, 24), 2)
    assert expected.clean_seconds is not None
    assert 0 < expected.clean_seconds < expected.seconds
    tried = {(what, shape) for what, _, shape, _, _ in probe._known}
    assert {("fit of crops", (3, 24, 24)), ("image of crops", (3, 24, 24))} < tried


def test_a_budget_of_time_is_the_most_but_for_what_is_not_iterated(counted) -> None:
    config = TINY.replace(iterations=1000)
    assert estimate_noisy(config, (32, 32), 2).seconds == pytest.approx(100.5)
    assert estimate_noisy(config.replace(time_budget=9.0), (32, 32), 2).seconds == 9
    assert estimate_noisy(config.replace(time_budget=500.0), (32, 32), 2).seconds == (
        pytest.approx(100.5)
    )
    assert estimate_noisy(config.replace(time_budget=0.1), (32, 32), 2).seconds == 0.5


def test_other_methods_make_no_iterations(counted) -> None:
    assert estimate_run(TINY.replace(method="average"), (32, 32), 2).seconds == 0.5
    assert [what for what, _ in counted] == ["rest"]


def test_other_methods_are_tried() -> None:
    assert 0 < estimate_run(TINY.replace(method="average"), (32, 32), 2).seconds < 5


def test_the_device_can_be_another() -> None:
    elsewhere = TINY.replace(device="cuda:99")
    assert estimate_run(elsewhere, (16, 16), 2, "cpu").seconds > 0
    with pytest.raises(ValueError, match="device must be auto or one of"):
        estimate_run(elsewhere, (16, 16), 2)


def test_an_estimate_can_be_given_up() -> None:
    control = Control()
    control.stop()
    with pytest.raises(FusionError, match="given up"):
        estimate_run(TINY, (16, 16), 2, control=control)


def test_the_random_state_is_left_alone() -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    estimate_run(TINY, (16, 16), 2)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]


def test_it_reads_as_a_line() -> None:
    assert str(probe.Estimate(9.3, 280_000_000)) == "about 9 s at most, 280 MB"


def test_a_restoration_is_tried_by_itself(counted, monkeypatch) -> None:
    def measure(config, shape, run) -> float:
        counted.append(("restoration", shape))
        return 0.01

    monkeypatch.setattr(probe, "_time_restoration", measure)
    config = FusionConfig(device="cpu")
    assert estimate_noisy(config, (256, 256), 2).seconds == pytest.approx(0.5 * 4 + 1800 * 0.01)
    assert counted == [("rest", (128, 128)), ("restoration", (96, 96))]
    # However many sources there are, and whatever is wrong with them.
    blurred = estimate_run(config, (256, 256), 2, noisy=False, degraded=True)
    assert blurred.seconds == pytest.approx(0.5 * 4 + 1800 * 0.01)
    assert counted[2:] == [("rest", (128, 128))]
    assert estimate_run(config, (256, 256), 2, noisy=False).seconds == pytest.approx(0.5 * 4)
    unknown = estimate_run(config, (256, 256), 2, degraded=True)
    assert unknown.clean_seconds is None
    frames = estimate_noisy(config, (5, 256, 256), 2, steps=(np.inf, 1.0, 1.0))
    assert frames.seconds == pytest.approx(5 * 2 + (1800 + 4 * 450) * 0.01)
