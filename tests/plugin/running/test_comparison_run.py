"""A comparison's worker part, without a window."""

import json

import numpy as np
import pytest

from napari_dip_fusion.config import PRESETS, FusionConfig
from napari_dip_fusion.metrics import evaluate
from napari_dip_fusion.plugin.layers.placement import Placement
from napari_dip_fusion.plugin.running.comparison_run import (
    ComparisonEnded,
    Entry,
    MethodDone,
    MethodLeftOut,
    MethodProgress,
    get_comparable_settings,
    get_compute_settings,
    run_methods,
)
from napari_dip_fusion.plugin.running.plan import Plan
from napari_dip_fusion.plugin.running.run_events import RunControl
from napari_dip_fusion.record import parse_record
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.prepare import prepare_sources

TINY = {"iterations": 2, "width": 4, "depth": 2, "threads": 1, "network": "always"}


class Plane:
    def __init__(self, image, **fields):
        self.source = Source(image, **fields)

    def read(self):
        return self.source


def plan(pair, config=None):
    return Plan(
        names=("CT", "MR"),
        origins=(None, None),
        reference="CT",
        config=FusionConfig() if config is None else config,
        level=0,
        interpolation="linear",
        place=Placement({}, (), {}),
        readers=tuple(Plane(i, name=n) for i, n in zip(pair, ("CT", "MR"), strict=True)),
    )


def entries(*keys, **settings):
    return [Entry(k, k, k, settings if k.startswith("dip-") else {}) for k in keys]


def run(plan, entries, control=None):
    """Yield the events of a comparison."""
    yield from run_methods(plan, control or RunControl(), entries=entries, which=["piella"])


def test_each_method_gives_its_image_scores_and_record(pair):
    events = list(run(plan(pair), entries("average", "dip-fast", **TINY)))
    assert events[-1] == ComparisonEnded(stopped=False)
    results = [e for e in events if isinstance(e, MethodDone)]
    assert [(r.entry.key, r.done) for r in results] == [("average", 1), ("dip-fast", 2)]
    sources = prepare_sources(pair).images
    for r in results:
        assert r.metrics == evaluate(sources, r.image, data_range=1.0, which=["piella"])
        assert json.loads(json.dumps(r.record)) == r.record
        assert r.record["metrics"] == r.metrics
        assert r.record["kind"] == "comparison"
        assert r.record["method"] == r.entry.method
        stages = ("fit",) if r.entry.key == "average" else ("gains", "fit")
        assert r.seconds == pytest.approx(sum(r.record["seconds"][s] for s in stages), rel=1e-3)
        assert parse_record(json.dumps(r.record)) == r.record
        assert [s["name"] for s in r.record["sources"]] == ["CT", "MR"]
    assert results[0].record["config"]["method"] == "average"
    assert FusionConfig.from_dict(results[1].record["config"]).fit.iterations == 2


def test_sources_are_prepared_as_for_a_fusion(pair):
    config = FusionConfig(intensity="percentiles", percentiles=(10, 90))
    (result,) = (
        e for e in run(plan(pair, config), entries("average")) if isinstance(e, MethodDone)
    )
    prepared = prepare_sources(pair, intensity="percentiles", percentiles=(10, 90))
    np.testing.assert_allclose(result.image, prepared.images.mean(axis=0), atol=1e-6)
    assert result.record["sources"][0]["intensity_window"] == list(prepared.windows[0])


def test_a_method_that_fails_does_not_end_the_comparison(pair, monkeypatch):
    from napari_dip_fusion.methods import maximum

    def broken(sources):
        raise RuntimeError("shapes cannot be multiplied")

    monkeypatch.setattr(maximum, "maximum", broken)
    events = list(run(plan(pair), entries("average", "maximum", "wavelet")))
    (failed,) = (e for e in events if isinstance(e, MethodLeftOut))
    assert failed.entry.key == "maximum"
    assert "shapes cannot be multiplied" in failed.reason
    assert [e.entry.key for e in events if isinstance(e, MethodDone)] == ["average", "wavelet"]


def test_a_method_that_lacks_something_says_so(pair, tmp_path):
    lacking = Entry("base-detail", "VGG", "base-detail", options={"weights": tmp_path / "none.pth"})
    (failed,) = (e for e in run(plan(pair), [lacking]) if isinstance(e, MethodLeftOut))
    assert "none.pth" in failed.reason


def test_an_entry_runs_with_its_own_seed(pair):
    seeds = {}
    for seed in (0, 5):
        entry = Entry("own", "own", "dip-fast", {**TINY, "give_back": False}, seed=seed)
        events = run(plan(pair), [entry])
        (seeds[seed],) = (e for e in events if isinstance(e, MethodDone))
        assert seeds[seed].record["seed"] == seeds[seed].record["config"]["fit"]["seed"] == seed
    assert seeds[0].metrics != seeds[5].metrics


def test_a_discarded_comparison_ends_within_a_method(pair):
    control = RunControl()
    settings = {**TINY, "iterations": 100_000, "stop": "iterations"}
    events = run(plan(pair), entries("dip-fast", "average", **settings), control)
    for event in events:
        if isinstance(event, MethodProgress) and event.part > 0:
            control.discard()
    assert event == ComparisonEnded(stopped=True)


def test_stop_ends_a_method_that_iterates(pair):
    control = RunControl()
    settings = {**TINY, "iterations": 100_000, "stop": "iterations"}
    events = run(plan(pair), entries("average", "dip-fast", "wavelet", **settings), control)
    seen = []
    for event in events:
        seen.append(event)
        if isinstance(event, MethodProgress) and event.part > 0:
            control.stop()
    assert seen[-1] == ComparisonEnded(stopped=True)
    assert [e.entry.key for e in seen if isinstance(e, MethodDone)] == ["average"]


def test_sources_that_cannot_be_prepared_raise(pair):
    with pytest.raises(ValueError, match="constant"):
        list(run(plan([pair[0] * 0.0, pair[1]]), entries("average")))


def test_settings_of_an_entry_belong_to_the_settings_of_a_fusion():
    config = FusionConfig(iterations=7, threads=3)
    assert get_comparable_settings(config)["iterations"] == 7
    assert get_compute_settings(config)["threads"] == 3
    assert "iterations" not in get_compute_settings(config)
    for preset in PRESETS:
        FusionConfig.preset(preset, **get_comparable_settings(config))
