"""Series: frame by frame, with one window, one noise and one network for all."""

import numpy as np
import pytest
from scipy import ndimage

from napari_dip_fusion import FusionConfig, Source, fuse, iter_fuse
from napari_dip_fusion.errors import FusionError, StoppedError
from napari_dip_fusion.fusion import (
    Control,
    Done,
    FrameDone,
    FrameFailed,
    GainsReady,
    Preview,
    StepDone,
    frames,
)
from napari_dip_fusion.prior.fit import Fit

CLEAN = FusionConfig(noise="none", intensity="dtype", threads=1)
NETWORK = CLEAN.replace(
    network="always", width=4, depth=2, iterations=8, device="cpu", stop="iterations"
)


def draw(seed: int, shape: tuple[int, ...] = (4, 32, 36)) -> Source:
    rough = np.random.default_rng(seed).random(shape)
    smooth = ndimage.gaussian_filter(rough, [0] * (len(shape) - 2) + [3, 3])
    image = ((smooth - smooth.min()) / np.ptp(smooth)).astype(np.float32)
    return Source(image, axes="tzyx"[:1] + "zyx"[-(len(shape) - 1) :], name=f"camera {seed}")


PAIR = [draw(0), draw(1)]


def take(pair: list[Source], frame: int) -> list[np.ndarray]:
    return [source.data[frame] for source in pair]


def test_frames_are_fused_by_themselves() -> None:
    events = list(iter_fuse(PAIR, CLEAN, preview_rate=1))
    result = events[-1].result
    done = [event for event in events if isinstance(event, FrameDone)]
    assert [event.index for event in done] == [(0,), (1,), (2,), (3,)]
    for number, event in enumerate(done):
        alone = fuse(take(PAIR, number), CLEAN)
        np.testing.assert_allclose(event.image, alone.image, atol=1e-6)
        np.testing.assert_array_equal(result.image[number], event.image)
        np.testing.assert_allclose(result.gains[:, number], alone.gains, atol=1e-6)
    assert sum(isinstance(event, GainsReady) for event in events) == 1
    assert result.axes == ("t", "y", "x")
    assert result.stop_reason == "exact"
    assert result.record["frames"] == {"count": 4, "fused": 4, "failed": []}
    assert result.record["planes"]["steps"] == [None, 1, 1]


def test_volumes_over_time_are_fused_in_three_dimensions() -> None:
    pair = [draw(2, (2, 5, 32, 36)), draw(3, (2, 5, 32, 36))]
    result = fuse(pair, CLEAN)
    assert result.image.shape == (2, 5, 32, 36)
    assert result.plane_metrics["piella"].shape == (2, 5)
    for number in range(2):
        np.testing.assert_allclose(
            result.image[number], fuse(take(pair, number), CLEAN).image, atol=1e-6
        )
    one = fuse(pair, CLEAN, plane="t=1")
    np.testing.assert_allclose(one.image, result.image[1], atol=1e-6)


def test_one_window_for_all_frames() -> None:
    rising = [
        s.replace(data=(s.data * np.array([0.2, 0.5, 1, 1])[:, None, None] * 900).astype(np.uint16))
        for s in PAIR
    ]
    result = fuse(rising, CLEAN.replace(intensity="minmax"))
    assert result.sources.images[0, 0].max() < 0.3
    assert result.image[0].mean() < 0.4 * result.image[2].mean()


def test_the_network_goes_on_from_the_frame_before() -> None:
    events = list(iter_fuse(PAIR, NETWORK, preview_rate=1e9, look_at=(2,)))
    result = events[-1].result
    steps = [event.iteration for event in events if isinstance(event, StepDone)]
    # Eight for the first, a quarter for each of the others.
    assert steps == list(range(1, 8 + 3 * 2 + 1))
    assert len(result.losses) == 14
    first = fuse(take(PAIR, 0), NETWORK)
    np.testing.assert_allclose(result.losses[:8], first.losses, rtol=1e-5)
    fresh = fuse(take(PAIR, 1), NETWORK)
    excess = fresh.losses[0] - fresh.floor
    assert result.losses[8] - fresh.floor < 0.9 * excess
    shown = [event for event in events if isinstance(event, Preview)]
    assert {event.plane for event in shown if event.iteration} <= {None, (2,)}
    again = fuse(PAIR, NETWORK)
    np.testing.assert_array_equal(again.image, result.image)


@pytest.mark.usefixtures("_only_work_takes_time")
def test_the_frames_share_the_time_budget() -> None:
    config, counts, count = NETWORK.replace(iterations=100, time_budget=20.0), [], 0
    for event in iter_fuse(PAIR, config):
        count += isinstance(event, StepDone)
        if isinstance(event, FrameDone):
            counts.append(count)
            count = 0
    # Four analyses of 3 s leave 8 s for iterations of 0.25 s.
    assert counts == [8, 8, 8, 8]


def break_frames(monkeypatch: pytest.MonkeyPatch, broken: set[int], error: Exception) -> None:
    """Let the analysis of some frames fail."""
    real, count = frames.analyze, iter(range(100))

    def analyze(*arguments, **options):
        if next(count) in broken:
            raise error
        return real(*arguments, **options)

    monkeypatch.setattr(frames, "analyze", analyze)


def test_a_frame_that_fails_does_not_lose_the_others(monkeypatch) -> None:
    break_frames(monkeypatch, {1}, FusionError("no memory"))
    events = list(iter_fuse(PAIR, CLEAN))
    failed = [event for event in events if isinstance(event, FrameFailed)]
    assert failed == [FrameFailed((1,), "no memory")]
    result = events[-1].result
    assert (result.image[1] == 0).all()
    assert result.image[2].max() > 0
    assert result.record["frames"] == {
        "count": 4,
        "fused": 3,
        "failed": [{"frame": [1], "reason": "no memory"}],
    }


def test_after_a_network_that_failed_the_next_frame_begins_anew(monkeypatch) -> None:
    real, count = Fit._train, iter(range(100))

    def train(fit):
        loss, output = real(fit)
        if next(count) == 9:
            # A step that is too long leaves weights that are no numbers.
            for weights in fit._network.parameters():
                weights.data.fill_(np.nan)
            return loss * np.nan, output
        return loss, output

    monkeypatch.setattr(Fit, "_train", train)
    events = list(iter_fuse(PAIR, NETWORK))
    assert [e.index for e in events if isinstance(e, FrameFailed)] == [(1,)]
    result = events[-1].result
    assert result.record["frames"]["fused"] == 3
    # Eight for the first, two for the one that fails, eight anew, a quarter for the last.
    assert len(result.losses) == 8 + 1 + 8 + 2
    assert np.isfinite(result.image).all()


def test_a_series_of_which_no_frame_is_fused_fails(monkeypatch) -> None:
    break_frames(monkeypatch, set(range(4)), FusionError("no memory"))
    with pytest.raises(FusionError, match="no frame could be fused: no memory"):
        fuse(PAIR, CLEAN)


@pytest.mark.parametrize("config", [CLEAN, NETWORK], ids=["closed form", "network"])
def test_a_stopped_series_keeps_what_is_complete(config) -> None:
    control, done = Control(), 0
    for event in iter_fuse(PAIR, config, control=control):
        done += isinstance(event, FrameDone)
        if done == 2:
            control.stop()
        if isinstance(event, Done):
            result = event.result
    assert done == 2
    assert result.stop_reason == "stopped"
    assert result.record["frames"]["fused"] == 2
    assert result.image[1].max() > 0
    assert (result.image[2:] == 0).all()


def test_a_series_is_stopped_before_or_thrown_away() -> None:
    control = Control()
    control.stop()
    with pytest.raises(StoppedError):
        list(iter_fuse(PAIR, CLEAN, control=control))
    with pytest.raises(StoppedError):
        discard_after_a_frame()


def discard_after_a_frame() -> None:
    control = Control()
    for event in iter_fuse(PAIR, CLEAN, control=control):
        if isinstance(event, FrameDone):
            control.discard()


def test_one_noise_for_all_frames_also_of_interpolated_ones() -> None:
    rng = np.random.default_rng(7)
    noisy = [s.replace(data=s.data / 2 + rng.normal(0, 0.08, s.shape)) for s in PAIR]
    moved = np.eye(4)
    moved[1, 3] = 0.5
    units = ("s", "um", "um")
    series = [noisy[0].replace(units=units), noisy[1].replace(units=units, affine=moved)]
    config = FusionConfig(network="never", intensity=((-0.5, 1.0),) * 2)
    result = fuse(series, config, reference=0)
    assert result.record["grid"]["resampled"] == [False, True]
    # The window of 1.5 is 1; interpolation has not weakened what is found.
    assert result.noise == pytest.approx((0.08 / 1.5,) * 2, rel=0.15)


def test_planes_by_themselves_are_the_frames_of_all() -> None:
    config = CLEAN.replace(volumes="planes")
    pair = [draw(2, (2, 3, 32, 36)), draw(3, (2, 3, 32, 36))]
    done = [e.index for e in iter_fuse(pair, config) if isinstance(e, FrameDone)]
    assert done == list(np.ndindex(2, 3))
