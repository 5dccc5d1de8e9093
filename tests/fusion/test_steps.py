"""The whole run: events, control, result, record."""

import json
import sys
import threading
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.errors import FusionError, StoppedError
from napari_dip_fusion.fusion import (
    Control,
    Decided,
    Done,
    GainsReady,
    Preview,
    StepDone,
    continue_fuse,
    frames,
    fuse,
    iter_fuse,
    memory,
    result,
)
from napari_dip_fusion.fusion import steps as fusion
from napari_dip_fusion.fusion.memory import estimate_memory
from napari_dip_fusion.methods import fuse_with
from napari_dip_fusion.metrics import evaluate, evaluate_planes
from napari_dip_fusion.record import array_sha256, parse_record
from napari_dip_fusion.sensor.bands import split_off
from napari_dip_fusion.sensor.consensus import consensus
from napari_dip_fusion.sensor.windows import blur
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.color import LUMA

RNG = np.random.default_rng(3)
PAIR = [RNG.integers(0, 256, (33, 47), dtype=np.uint8) for _ in range(2)]
# Of the network that is fitted to the fused image; tests of restorations are in test_restoring.
QUICK = FusionConfig(
    width=4, depth=2, iterations=5, threads=1, device="cpu", stop="iterations", restore="never"
)


def result_of(events: object) -> fusion.FusionResult:
    return next(e for e in events if isinstance(e, Done)).result


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64"])
@pytest.mark.parametrize("count", [2, 3])
def test_result(dtype: str, count: int) -> None:
    sources = [RNG.integers(0, 256, (33, 47)).astype(dtype) for _ in range(count)]
    before = [s.copy() for s in sources]
    res = fuse(sources, QUICK)
    assert res.image.shape == (33, 47)
    assert res.image.dtype == res.gains.dtype == res.consensus.dtype == np.float32
    assert 0 <= res.image.min() <= res.image.max() <= 1
    assert res.gains.shape == (count, 33, 47)
    assert res.base_gains is not None
    assert res.base_gains.shape == (count, 33, 47)
    assert res.undershoot.shape == (33, 47)
    assert len(res.noise) == count
    assert len(res.losses) == 5
    assert (res.excess >= 0).all()
    assert res.metrics == evaluate(res.sources.images, res.image, data_range=1.0)
    assert list(res.metrics) == ["petrovic", "mutual_information", "piella", "cvejic"]
    assert res.rescale(like=0).dtype == np.dtype(dtype)
    for a, b in zip(sources, before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_color_result() -> None:
    color = RNG.integers(0, 256, (33, 47, 3), dtype=np.uint8)
    res = fuse([color, PAIR[1]], QUICK)
    assert res.image.shape == (33, 47, 3)
    luma = res.image @ LUMA
    assert evaluate(res.sources.images, luma, data_range=1.0)["piella"] == pytest.approx(
        res.metrics["piella"], abs=1e-4
    )


def test_events_come_in_order() -> None:
    events = list(iter_fuse(PAIR, QUICK, preview_rate=60.0))
    assert events[0] == Decided(noisy=True, network=True)
    assert isinstance(events[1], GainsReady)
    assert isinstance(events[2], Preview)
    assert events[2].iteration == 0
    np.testing.assert_array_equal(events[2].image, events[1].consensus)
    assert isinstance(events[3], StepDone)
    assert isinstance(events[4], Preview)
    assert isinstance(events[-1], Done)
    steps = [e for e in events if isinstance(e, StepDone)]
    assert [s.iteration for s in steps] == [1, 2, 3, 4, 5]
    assert all(s.iterations == 5 and s.rate > 0 and s.remaining >= 0 for s in steps)
    assert steps[2].excess == pytest.approx(steps[2].loss - events[1].floor)


def test_previews_are_throttled() -> None:
    def count(rate: float) -> int:
        events = iter_fuse(PAIR, QUICK.replace(iterations=20), preview_rate=rate)
        return sum(isinstance(e, Preview) for e in events)

    assert count(0.0) == 0
    # The consensus image, and the first output.
    assert count(0.01) == 2


def test_stop_takes_effect_within_one_iteration() -> None:
    control = Control()
    seen = 0
    for event in iter_fuse(PAIR, QUICK.replace(iterations=1000), control=control):
        if isinstance(event, StepDone):
            seen = event.iteration
            if seen == 3:
                control.stop()
    assert seen == 3
    assert event.result.stop_reason == "stopped"
    assert len(event.result.losses) == 3


class Observed(Control):
    """Says when a run is held, and notes when it goes on."""

    def __init__(self, notes: list[object]) -> None:
        super().__init__()
        self.held = threading.Event()
        self._notes = notes

    def wait_while_paused(self) -> None:
        self.held.set()
        super().wait_while_paused()
        self._notes.append("goes on")


def test_pause_holds_and_resume_goes_on() -> None:
    steps: list[object] = []
    control = Observed(steps)

    def work() -> None:
        for event in iter_fuse(PAIR, QUICK.replace(iterations=8), control=control):
            if isinstance(event, StepDone):
                steps.append(event.iteration)
                if event.iteration == 2:
                    control.pause()

    thread = threading.Thread(target=work)
    thread.start()
    assert control.held.wait(30)
    assert control.paused
    steps.append("resumed")
    control.resume()
    thread.join(30)
    assert steps == [1, 2, "resumed", "goes on", *range(3, 9)]


def test_a_paused_run_can_be_stopped() -> None:
    control, ended = Control(), []
    control.pause()

    def work() -> None:
        with pytest.raises(StoppedError):
            fuse(PAIR, QUICK, control=control)
        ended.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    control.stop()
    control.pause()
    thread.join(30)
    assert ended


ROWS, COLUMNS = np.mgrid[:64, :64]
CLEAN = [(128 + 100 * np.sin(ROWS / 9)).astype("u1"), (2 * ROWS + COLUMNS).astype("u1")]


def test_without_noise_the_result_is_the_consensus_of_both_bands() -> None:
    res = fuse(CLEAN, QUICK)
    assert res.noise == (0.0, 0.0)
    np.testing.assert_array_equal(res.image, res.consensus.clip(0, 1))
    base = blur(res.sources.images, QUICK.gains.band_sigma)
    bands = split_off(res.sources.images, base)
    expected = consensus(bands.base, res.base_gains) + consensus(bands.details, res.gains)
    expected += res.undershoot
    np.testing.assert_allclose(res.consensus, expected, atol=1e-6)
    own = fuse(CLEAN, QUICK.replace(give_back=False))
    assert np.abs(own.image - expected).mean() > 0.01


def test_clean_sources_are_done_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "napari_dip_fusion.prior.fit", None)
    events = list(iter_fuse(CLEAN, QUICK, preview_rate=60.0))
    assert [type(e) for e in events] == [Decided, GainsReady, Preview, Done]
    assert events[0] == Decided(noisy=False, network=False)
    res = events[-1].result
    np.testing.assert_array_equal(res.image, events[2].image)
    assert (res.stop_reason, len(res.losses), res.record["iterations"]) == ("exact", 0, 0)
    assert res.gains is not None
    assert res.floor == res.record["floor"] > 0
    assert res.record["config"]["fit"]["network"] == "auto"


def test_the_network_can_be_asked_for_and_gives_its_own_image() -> None:
    exact, made = fuse(CLEAN, QUICK), fuse(CLEAN, QUICK.replace(network="always"))
    assert len(made.losses) == 5
    assert np.abs(made.image - exact.image).mean() > 0.01
    np.testing.assert_array_equal(made.consensus, exact.consensus)
    paper = FusionConfig.preset("paper", width=4, depth=2, channels=1, iterations=2, device="cpu")
    assert len(fuse(CLEAN, paper).losses) == 2


@pytest.mark.parametrize("sources", [CLEAN, PAIR], ids=["clean", "noisy"])
def test_the_consensus_has_one_name_and_one_image(sources: list[np.ndarray]) -> None:
    config = QUICK.replace(sharpness=5.0, scale="unit-norm")
    named = fuse(sources, config.replace(method="consensus"))
    never = fuse(sources, config.replace(network="never"))
    run = fuse(sources, config)
    assert named.stop_reason == never.stop_reason == "closed form"
    assert named.noise == run.noise
    alone = fuse_with("consensus", sources, sharpness=5.0, scale="unit-norm")
    for image in (never.image, run.consensus.clip(0, 1), alone):
        np.testing.assert_array_equal(named.image, image)
    if any(run.noise):
        plain = fuse(sources, config.replace(method="consensus", noise="none"))
        assert np.abs(plain.image - named.image).mean() > 0.01


def test_the_memory_of_a_closed_form_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    config = FusionConfig(network="always", device="cpu")
    network, own = (estimate_memory(config, (64, 64), 2, network=n) for n in (True, False))
    free = (network + own) // 2
    assert own < free < network
    monkeypatch.setattr(memory, "measure_free_memory", lambda device: free)
    fuse(CLEAN, config.replace(network="auto"))
    with pytest.raises(ValueError, match="network=never"):
        fuse(CLEAN, config)


@pytest.mark.parametrize("method", ["dip", "consensus", "gmc", "laplacian", "densefuse"])
def test_what_has_no_image_yet_is_stopped_at_its_next_step(method: str) -> None:
    control = Control()
    control.stop()
    with pytest.raises(StoppedError, match="before there was an image"):
        fuse(PAIR, QUICK.replace(method=method), control=control)


def test_a_denoiser_is_stopped_between_its_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    control, begun = Control(), []

    def stop(*arguments: object, **options: object) -> np.ndarray:
        begun.append(arguments)
        control.stop()
        return arguments[0]

    monkeypatch.setattr("skimage.restoration.denoise_nl_means", stop)
    noisy = [RNG.integers(0, 256, (600, 16), dtype=np.uint8) for _ in range(2)]
    with pytest.raises(StoppedError):
        fuse(noisy, QUICK, control=control)
    # The rest of this source, and the other one, are not begun.
    assert len(begun) == 1


def test_a_run_is_thrown_away_while_it_is_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    control = Control()

    def discard(*arguments: object, **options: object) -> dict[str, float]:
        control.discard()
        return evaluate_planes(*arguments, **options)

    monkeypatch.setattr(result, "evaluate_planes", discard)
    with pytest.raises(StoppedError, match="thrown away"):
        fuse(CLEAN, QUICK, control=control)


def test_a_stopped_run_is_scored_all_the_same() -> None:
    control = Control()
    for event in iter_fuse(PAIR, QUICK, control=control):
        if isinstance(event, StepDone):
            control.stop()
    assert list(event.result.metrics) == ["petrovic", "mutual_information", "piella", "cvejic"]


def test_noise_is_found_and_taken_off() -> None:
    rows, columns = np.mgrid[:96, :96] / 96
    scene = 0.5 + 0.3 * np.sin(6 * rows) * np.cos(5 * columns)
    clean = np.stack([scene, 0.8 * scene]).astype("f4")
    noisy = (clean + np.random.default_rng(0).normal(0, 0.06, clean.shape)).clip(0, 1).astype("f4")
    config = QUICK.replace(intensity="dtype", iterations=150, width=8, stop="noise", noise="auto")
    truth = fuse(clean, config.replace(iterations=1)).image
    res = fuse(noisy, config)
    assert res.noise == pytest.approx((0.06, 0.06), rel=0.1)
    assert res.record["noise"] == pytest.approx(res.noise, abs=1e-6)
    plain = fuse(noisy, config.replace(noise="none", iterations=1)).image
    assert np.square(res.image - truth).mean() < 0.1 * np.square(plain - truth).mean()


def test_a_run_stops_at_the_noise() -> None:
    rng = np.random.default_rng(5)
    noisy = [(128 + rng.normal(0, 20, (64, 64))).clip(0, 255).astype("u1") for _ in range(2)]
    res = fuse(noisy, QUICK.replace(iterations=300, width=8, stop="noise", patience=300))
    assert res.stop_reason == "noise"
    assert len(res.losses) < 300


@pytest.mark.usefixtures("_only_work_takes_time")
def test_time_budget_ends_a_run_in_time() -> None:
    res = fuse(PAIR, QUICK.replace(iterations=100_000, time_budget=5.0))
    assert res.stop_reason == "time"
    # After 3 s for the analysis and 8 iterations of 0.25 s, one more would end too late.
    assert len(res.losses) == 8
    assert res.record["seconds"]["total"] == 5.0


@pytest.mark.parametrize("method", ["average", "wavelet", "gmc"])
def test_other_methods_run_in_its_place(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError("nobody needs noise and gains here")

    monkeypatch.setattr(frames, "analyze", refuse)
    events = list(iter_fuse(PAIR, QUICK.replace(method=method), preview_rate=60.0))
    assert [type(e) for e in events] == [Done]
    res = events[-1].result
    np.testing.assert_array_equal(res.image, fuse_with(method, PAIR))
    assert res.stop_reason == "closed form"
    assert len(res.losses) == 0
    assert res.gains is res.base_gains is res.undershoot is res.consensus is None
    assert (res.noise, res.gain_bands) == ((), {})
    assert res.record["config"]["method"] == method
    assert parse_record(json.dumps(res.record))["iterations"] == 0


def test_a_method_takes_its_options_and_ours_takes_none() -> None:
    options = {"levels": 2}
    events = iter_fuse(PAIR, QUICK.replace(method="wavelet"), options=options, which=["ssim"])
    res = result_of(events)
    np.testing.assert_array_equal(res.image, fuse_with("wavelet", PAIR, levels=2))
    assert res.record["options"] == {"levels": "2"}
    assert list(res.metrics) == ["ssim"]
    with pytest.raises(
        ValueError, match="options are for methods other than dip and consensus, got levels"
    ):
        list(iter_fuse(PAIR, QUICK, options=options))


def test_sources_come_as_arrays_as_planes_with_names_or_prepared() -> None:
    whole = fuse(PAIR, QUICK, names=["CT", "MR"], paths=["/ct.tif", None])
    planes = [Source(PAIR[0], name="CT", path=Path("/ct.tif")), Source(PAIR[1][None], name="MR")]
    named = fuse(planes, QUICK)
    again = fuse(named.sources, QUICK)
    for res in (named, again):
        np.testing.assert_array_equal(res.image, whole.image)
        assert res.record["sources"] == whole.record["sources"]


def test_notes_of_the_caller_are_in_the_record() -> None:
    res = result_of(iter_fuse(PAIR, QUICK, notes={"kind": "comparison"}))
    assert res.record["kind"] == "comparison"
    assert fuse(PAIR, QUICK).record["kind"] == "fusion"


def test_plateau_ends_a_run() -> None:
    config = QUICK.replace(iterations=500, stop="plateau", patience=5, min_improvement=0.9)
    res = fuse(PAIR, config)
    assert res.stop_reason == "plateau"
    assert len(res.losses) < 500


def test_continue_equals_one_long_run() -> None:
    first = result_of(iter_fuse(PAIR, QUICK, keep_state=True))
    image = first.image.copy()
    more = result_of(continue_fuse(first, 4))
    whole = fuse(PAIR, QUICK.replace(iterations=9))
    np.testing.assert_array_equal(more.image, whole.image)
    np.testing.assert_allclose(more.losses, whole.losses)
    np.testing.assert_array_equal(first.image, image)
    assert more.record["iterations"] == 9
    assert more.record["config"]["fit"]["iterations"] == 9
    again = result_of(continue_fuse(more, 1))
    assert len(again.losses) == 10


def test_continue_needs_a_state_and_iterations() -> None:
    res = fuse(PAIR, QUICK)
    with pytest.raises(ValueError, match="keep_state=True"):
        next(continue_fuse(res, 3))
    kept = result_of(iter_fuse(PAIR, QUICK, keep_state=True))
    with pytest.raises(ValueError, match="iterations must be 1 or more, got 0"):
        next(continue_fuse(kept, 0))


def test_record_says_what_was_run() -> None:
    events = iter_fuse(PAIR, QUICK, names=["CT", "MR"], paths=["/a.png", None])
    record = json.loads(json.dumps(result_of(events).record))
    assert record["schema_version"] == 2
    assert record["preset"] == QUICK.describe_preset()
    assert FusionConfig.from_dict(record["config"]) == QUICK
    assert record["sources"][0]["path"] == "/a.png"
    assert record["sources"][0]["sha256"] == array_sha256(PAIR[0])
    assert record["sources"][1]["name"] == "MR"
    assert record["sources"][1]["intensity_window"] == [0, 255]
    assert record["stop_reason"] == "iterations"
    assert record["losses"][0][0] == 1
    assert record["losses"][-1][0] == 5
    assert set(record["seconds"]) == {"gains", "fit", "metrics", "total"}
    assert record["versions"]["torch"] == version("torch")
    assert parse_record(json.dumps(record)) == record


def test_failure_keeps_the_best_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    from napari_dip_fusion.prior import fit

    whole = fit.Fit._step
    calls = []

    def failing(self: fit.Fit) -> float:
        calls.append(1)
        if len(calls) == 4:
            raise RuntimeError("not enough memory: you tried to allocate 8 GB")
        return whole(self)

    monkeypatch.setattr(fit.Fit, "_step", failing)
    with pytest.raises(FusionError, match="not enough memory on cpu") as caught:
        fuse(PAIR, QUICK)
    assert caught.value.result.stop_reason == "failed"
    assert len(caught.value.result.losses) == 3


def test_images_that_were_given_out_may_be_changed() -> None:
    config = QUICK.replace(iterations=6, stop="iterations")
    whole = fuse(PAIR, config)
    for event in iter_fuse(PAIR, config.replace(iterations=3), preview_rate=60, keep_state=True):
        if isinstance(event, Preview):
            event.image[:] = 0
        elif isinstance(event, Done):
            first = event.result
    first.image[:] = first.consensus[:] = 0
    *_, done = continue_fuse(first, 3)
    np.testing.assert_array_equal(done.result.image, whole.image)
    np.testing.assert_array_equal(done.result.losses, whole.losses)


def test_a_run_that_cannot_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "measure_free_memory", lambda device: 10**5)
    with pytest.raises(
        ValueError, match=r"33x47 pixels with width 32 need about .* GB, but cpu has"
    ):
        fuse(PAIR, FusionConfig(device="cpu", network="always"))
    with pytest.raises(ValueError, match=r"33x47 pixels need about .* GB, but cpu has"):
        fuse(PAIR, FusionConfig(method="average"))


@pytest.mark.parametrize("free", [3e8, 9e8, 2e9])
def test_what_is_advised_for_lack_of_memory_fits(
    monkeypatch: pytest.MonkeyPatch, free: float
) -> None:
    monkeypatch.setattr(memory, "measure_free_memory", lambda device: int(free))
    large = [np.random.default_rng(n).random((1000, 800)) for n in range(3)]
    config = FusionConfig(device="cpu", width=48, restore="never")
    with pytest.raises(ValueError, match=r"images of at most \d+x\d+ pixels") as caught:
        fuse(large, config)
    words = str(caught.value).split("free; ")[1].replace(",", "").split()
    rows, columns = map(int, words[-2].split("x"))
    assert estimate_memory(config, (rows, columns), 3) <= free
    if "width" in words:
        width = int(words[words.index("width") + 1])
        assert estimate_memory(config.replace(width=width), (1000, 800), 3) <= free


@pytest.mark.parametrize(
    ("sources", "changes", "message"),
    [
        (
            [np.ones((7, 30)), np.eye(7, 30)],
            {"intensity": "dtype"},
            "at least 8x8 pixels, got 7x30",
        ),
        (PAIR, {"device": "cuda:7"}, "device must be auto or one of cpu.* got 'cuda:7'"),
        (PAIR, {"patch_size": 35}, "at least one patch of 35x35 pixels, got 33x47"),
    ],
)
def test_bad_input(sources: list[np.ndarray], changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fuse(sources, QUICK.replace(**changes))


def test_names_must_fit() -> None:
    with pytest.raises(ValueError, match="one entry for each of the 2 sources, got 1 names"):
        fuse(PAIR, QUICK, names=["CT"])
