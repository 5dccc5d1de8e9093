"""Sources are restored before they are fused: what is told, kept, continued and recorded."""

import json

import numpy as np
import pytest
from scipy import ndimage

from napari_dip_fusion import FusionConfig, Source
from napari_dip_fusion.errors import FusionError, StoppedError
from napari_dip_fusion.fusion import (
    Control,
    Decided,
    Done,
    GainsReady,
    Preview,
    StepDone,
    continue_fuse,
    estimate_gains,
    fuse,
    iter_fuse,
)
from napari_dip_fusion.fusion import restoring as module
from napari_dip_fusion.fusion.sensed import Learned, make_own_part
from napari_dip_fusion.restoration import planes, restorer
from napari_dip_fusion.restoration.noise import RestorationNoise
from napari_dip_fusion.sensor.analysis import SourceNoise
from napari_dip_fusion.sources.own_pixels import InterpolatedSource, resample_source

RNG = np.random.default_rng(5)
QUICK = FusionConfig(iterations=6, threads=1, device="cpu", intensity="dtype")


def smooth(seed: int, shape: tuple[int, ...] = (48, 48)) -> np.ndarray:
    """Return an image of blobs in [0, 1]."""
    image = ndimage.gaussian_filter(np.random.default_rng(seed).random(shape), 2.0)
    return ((image - image.min()) / np.ptp(image)).astype(np.float32)


FINE, OTHER = smooth(0), smooth(1)
COARSE = OTHER.reshape(12, 4, 12, 4).mean((1, 3))
AFFINE = np.array([[4, 0, 1.5], [0, 4, 1.5], [0, 0, 1.0]])
NOISY = (OTHER + RNG.normal(0, 0.08, OTHER.shape)).clip(0, 1).astype(np.float32)


def coarse(**fields: object) -> Source:
    return Source(COARSE, affine=AFFINE, name="PET", **fields)


def run(sources: list[object], config: FusionConfig = QUICK, **options: object) -> list[object]:
    return list(iter_fuse(sources, config, **options))


def psnr(image: np.ndarray, truth: np.ndarray) -> float:
    return float(-10 * np.log10(np.mean((image - truth) ** 2)))


@pytest.fixture(autouse=True)
def small_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restorer, "_WIDTH", 4)
    monkeypatch.setattr(restorer, "_BLOCKS", 1)
    monkeypatch.setattr(restorer, "_LEAST", 1)
    # Of these small images it would make no more than the denoiser.
    monkeypatch.setattr(planes, "_ENOUGH", 1)


def test_a_coarse_source_is_restored_and_it_is_said_why() -> None:
    events = run([Source(FINE), coarse(fwhm=2.0)], preview_rate=60.0)
    decided, result = events[0], events[-1].result
    assert isinstance(decided, Decided)
    assert (decided.noisy, decided.network) == (False, True)
    assert len(decided.restored) == 1
    assert decided.restored[0].startswith("PET: ")
    assert result.restored.shape == (2, 48, 48)
    np.testing.assert_array_equal(result.restored[0], FINE)
    interpolated = result.sources.images[1]
    assert psnr(result.restored[1], OTHER) > psnr(interpolated, OTHER) + 1
    entry = result.record["restoration"][0]
    assert (entry["source"], entry["prior"]) == (1, "network")
    assert (entry["factors"], entry["seen"]) == ([4, 4], 1.0)
    assert entry["blur"] == pytest.approx([2 / 2.3548] * 2, rel=1e-3)
    json.dumps(result.record)


def test_the_gains_of_a_result_are_those_of_restored_sources() -> None:
    result = fuse([Source(FINE), coarse()], QUICK)
    gains = estimate_gains(list(result.restored), QUICK.replace(noise="none"))
    np.testing.assert_allclose(result.gains, gains.gains, atol=1e-6)
    np.testing.assert_allclose(result.image, gains.consensus.clip(0, 1), atol=1e-6)


def test_without_a_network_the_denoiser_restores() -> None:
    events = run([Source(FINE), coarse()], QUICK.replace(network="never"))
    result = events[-1].result
    assert not any(isinstance(event, StepDone) for event in events)
    assert result.stop_reason == "closed form"
    assert result.record["restoration"][0]["prior"] == "denoiser"
    assert result.restored is not None


def test_never_restores_nothing() -> None:
    config = QUICK.replace(restore="never")
    events = run([Source(FINE), coarse(fwhm=2.0)], config)
    assert events[0] == Decided(noisy=False, network=False)
    result = events[-1].result
    assert result.restored is None
    assert "restoration" not in result.record
    np.testing.assert_array_equal(
        result.image, fuse(list(result.sources.images), config.replace(noise="none")).image
    )


def test_sources_without_blur_or_noise_are_fused_as_ever() -> None:
    auto, never = (fuse([FINE, OTHER], QUICK.replace(restore=r)) for r in ("auto", "never"))
    assert auto.restored is None
    assert auto.stop_reason == "exact"
    np.testing.assert_array_equal(auto.image, never.image)
    np.testing.assert_array_equal(auto.gains, never.gains)


def test_noise_is_removed_by_the_denoiser_at_once_and_then_by_a_network() -> None:
    events = run([FINE, NOISY], preview_rate=60.0)
    assert [type(e) for e in events[:3]] == [Decided, GainsReady, Preview]
    assert "noise" in events[0].restored[0]
    quick = fuse([FINE, NOISY], QUICK.replace(network="never"))
    np.testing.assert_array_equal(events[2].image, quick.image)
    result = events[-1].result
    assert len(result.losses) == 6
    assert result.floor == 0
    assert result.noise == quick.noise
    assert result.noise[1] == pytest.approx(0.08, rel=0.2)
    # The network made something else of it.
    assert np.abs(result.restored[1] - quick.restored[1]).max() > 0


def test_iterations_are_shared_and_counted_through() -> None:
    noisy = (FINE + RNG.normal(0, 0.08, FINE.shape)).clip(0, 1).astype(np.float32)
    events = run([noisy, NOISY], QUICK.replace(iterations=7))
    steps = [event for event in events if isinstance(event, StepDone)]
    assert [s.iteration for s in steps] == list(range(1, 8))
    assert {s.iterations for s in steps} == {7}
    assert len(events[-1].result.record["restoration"]) == 2


def test_the_network_of_the_paper_is_fitted_to_restored_sources_where_asked() -> None:
    config = QUICK.replace(network="always", width=4, depth=2)
    events = run([Source(FINE), coarse()], config)
    assert sum(isinstance(event, StepDone) for event in events) == 12
    result = events[-1].result
    assert result.restored is not None
    assert np.abs(result.image - result.consensus).max() > 1e-3
    assert result.record["restoration"]


def test_a_restoration_is_continued() -> None:
    first = run([Source(FINE), coarse()], keep_state=True)[-1].result
    before = first.restored.copy()
    *_, done = continue_fuse(first, 4)
    more = done.result
    # The images of the first result stay as they are.
    np.testing.assert_array_equal(first.restored, before)
    assert np.abs(more.restored - before).max() > 0
    assert len(more.losses) == 10
    np.testing.assert_array_equal(more.losses[:6], first.losses)
    assert more.record["config"]["fit"]["iterations"] == 10
    assert more.state is not None
    # One run of as many iterations would make another image.
    assert "continued" not in first.record
    assert more.record["continued"] is True
    *_, done = continue_fuse(more, 3)
    assert len(done.result.losses) == 13


def test_stop_keeps_what_is_restored() -> None:
    control = Control()
    events = []
    for event in iter_fuse([Source(FINE), coarse()], QUICK, control=control):
        events.append(event)
        if isinstance(event, StepDone) and event.iteration == 3:
            control.stop()
    result = events[-1].result
    assert result.stop_reason == "stopped"
    assert len(result.losses) == 3
    assert psnr(result.restored[1], OTHER) > psnr(result.sources.images[1], OTHER)


def test_discard_ends_a_restoration() -> None:
    control = Control()
    events = iter_fuse([Source(FINE), coarse()], QUICK, control=control)
    next(event for event in events if isinstance(event, StepDone))
    control.discard()
    with pytest.raises(StoppedError):
        next(events)


def test_a_time_budget_ends_a_restoration() -> None:
    result = fuse([Source(FINE), coarse()], QUICK.replace(iterations=1000, time_budget=1e-3))
    assert result.stop_reason == "time"
    assert len(result.losses) == 1


def test_a_network_that_fails_leaves_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    run_well = restorer.Restorer.run

    def fail(self: object, iterations: int) -> object:
        for step in run_well(self, iterations):
            yield step
            if step.iteration == 2:
                raise FusionError("broken")

    monkeypatch.setattr(restorer.Restorer, "run", fail)
    with pytest.raises(FusionError, match="broken") as caught:
        fuse([Source(FINE), coarse()], QUICK)
    assert caught.value.result.restored is not None
    assert caught.value.result.stop_reason == "failed"


def test_a_series_goes_on_with_one_network_for_each_source() -> None:
    frames = np.stack([COARSE, COARSE[::-1], COARSE.T])
    fine = np.stack([FINE, FINE[::-1], FINE.T])
    affine = np.eye(4)
    affine[1:, 1:] = AFFINE
    units = ("s", "mm", "mm")
    sources = [
        Source(fine, axes="tyx", units=units),
        Source(frames, axes="tyx", affine=affine, units=units),
    ]
    events = run(sources, QUICK.replace(iterations=8))
    result = events[-1].result
    assert result.restored.shape == (2, 3, 48, 48)
    # A quarter of the iterations for the frames after the first.
    assert len(result.losses) == 8 + 2 + 2
    for index, truth in enumerate((OTHER, OTHER[::-1], OTHER.T)):
        interpolated = result.sources.images[1, index]
        assert psnr(result.restored[1, index], truth) > psnr(interpolated, truth) + 0.5


def test_what_was_not_seen_has_no_weight() -> None:
    seen = np.ones((48, 48), bool)
    seen[:, 24:] = False
    broken = np.where(seen, OTHER, 0)
    result = fuse([Source(FINE), Source(broken, mask=seen)], QUICK)
    # Neither a dark rim nor a seam: beyond the rim of the fading, the image is the other source.
    np.testing.assert_allclose(result.image[:, 34:], FINE[:, 34:], atol=2e-2)
    whole = fuse([FINE, OTHER], QUICK).image
    np.testing.assert_allclose(result.image[:, :12], whole[:, :12], atol=2e-2)
    step = np.abs(np.diff(result.image, axis=1))[:, 20:28].max()
    assert step < 1.5 * max(np.abs(np.diff(FINE, axis=1)).max(), np.abs(np.diff(whole)).max())


def test_large_frames_are_not_shown_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SHOWN", 100)
    events = run([FINE, NOISY], preview_rate=60.0)
    assert sum(isinstance(event, Preview) for event in events) == 1
    assert isinstance(events[-1], Done)


def test_no_network_runs_where_it_would_not_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planes, "_ENOUGH", 48 * 48 + 1)
    events = run([FINE, NOISY])
    assert not events[0].network
    assert events[0].restored
    assert not any(isinstance(event, StepDone) for event in events)
    assert events[-1].result.stop_reason == "denoised"
    assert events[-1].result.record["restoration"][0]["prior"] == "denoiser"


def test_a_noisy_volume_of_thin_slices_is_left_to_the_denoiser() -> None:
    noisy = np.stack([NOISY] * 4)
    sources = [Source(np.stack([FINE] * 4)), Source(noisy)]
    assert not run(sources)[0].network
    thick = np.diag([4.0, 1.0, 1.0, 1.0])
    assert run([s.replace(affine=thick) for s in sources])[0].network


def test_a_part_of_an_interpolated_source_has_the_noise_that_was_learned_of_the_whole():
    image = np.random.default_rng(3).random((40, 50), np.float32)
    turned = np.array([[0.9, 0.1, 4], [-0.1, 0.9, 6], [0, 0, 1]])
    placed, _ = resample_source(Source(image), turned, (20, 24))
    assert isinstance(placed, InterpolatedSource)
    known = RestorationNoise(0, 0.1, clipped=False, above=False, level=0.07)
    # Noise in proportion to the signal is weaker in a dark part, for which no network was trained.
    noise = SourceNoise(speckle=0.12)
    for learned, expected in ((Learned(known, 0.07, 10**6), 0.07), (None, None)):
        part = make_own_part(placed.own_pixels, noise, placed.to_numpy(), learned)
        assert part.noise.level == expected
