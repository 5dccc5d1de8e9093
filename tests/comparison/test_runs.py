"""Comparisons without a terminal: runs, resumption, averages, ranks, tables, sheets."""

import csv
import itertools
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from napari_dip_fusion import Control, FusionConfig, Source, fuse
from napari_dip_fusion.comparison import runs
from napari_dip_fusion.comparison.events import Finished, Outcomes, Row, Running, SourceSet
from napari_dip_fusion.comparison.labels import label_methods
from napari_dip_fusion.comparison.report import (
    draw_contact_sheet,
    find_middle_plane,
    find_zoom_window,
    mark_best,
    summarize,
    to_csv,
    to_markdown,
    to_plane_csv,
)
from napari_dip_fusion.comparison.runs import compare, iter_compare
from napari_dip_fusion.comparison.store import Run, Store, Stored
from napari_dip_fusion.fusion import Done, FrameFailed, PlanesDone, preparation, steps
from napari_dip_fusion.io import read_image
from napari_dip_fusion.methods import METHODS, fuse_with
from napari_dip_fusion.metrics import (
    METRICS,
    average_planes,
    evaluate,
    evaluate_planes,
    read_planes,
)
from napari_dip_fusion.record import parse_record
from napari_dip_fusion.sources.prepare import prepare_sources

RNG = np.random.default_rng(8)
# Of the network that is fitted to the fused image.
QUICK = {
    "iterations": 3,
    "width": 4,
    "depth": 2,
    "threads": 1,
    "device": "cpu",
    "restore": "never",
}


def pair(name: str = "one", kind: str = "noise", shape: tuple[int, ...] = (33, 40)) -> SourceSet:
    arrays = RNG.integers(0, 256, (2, *shape), dtype=np.uint8)
    return SourceSet(name, kind, lambda: arrays)


def finished(*arguments: Any, **options: Any) -> list[Finished]:
    return [e for e in iter_compare(*arguments, **options) if isinstance(e, Finished)]


def row(method: str, values: list[float], name: str = "one", seed: int | None = None) -> Row:
    metrics = dict(zip(("petrovic", "piella"), values, strict=True))
    return Row("kind", name, method, seed, 1.0, metrics)


def test_rows_are_those_of_the_methods() -> None:
    sources = pair()
    result = compare([sources], ["maximum", "wavelet", "dip-fast"], settings=QUICK)
    assert [r.method for r in result.rows] == ["maximum", "wavelet", "dip-fast"]
    assert [r.seed for r in result.rows] == [None, None, 0]
    assert not result.failures
    arrays = list(sources.read())
    expected = evaluate([a / 255 for a in arrays], fuse_with("wavelet", arrays), data_range=1)
    assert result.rows[1].metrics == pytest.approx(expected)
    assert all(r.seconds > 0 for r in result.rows)


def volume(shape: tuple[int, ...] = (3, 33, 40), axes: str = "zyx", step: float = 1.0) -> SourceSet:
    arrays = np.random.default_rng(4).integers(0, 256, (2, *shape), dtype=np.uint8)
    affine = np.diag([step] * (len(axes) - 2) + [1.0] * 3)
    rgb = len(shape) > len(axes)
    sources = [Source(a, axes=tuple(axes), affine=affine, rgb=rgb) for a in arrays]
    return SourceSet("stack", "noise", lambda: sources)


@pytest.mark.parametrize("axes", ["zyx", "tyx", "tzyx"])
def test_volumes_and_series_are_compared_by_means_over_planes(axes: str, tmp_path: Path) -> None:
    stack = (2,) * (len(axes) - 2)
    sources = volume((*stack, 33, 40), axes)
    methods = ["maximum", "wavelet", "consensus", "dip-fast"]
    run = finished([sources], methods, settings=QUICK, folder=tmp_path)
    images = [s.data / 255 for s in sources.read()]
    for event in run:
        assert isinstance(event.outcome, Row), event.outcome
        assert event.image.shape == (*stack, 33, 40)
        assert event.outcome.stack_axes == tuple(axes[:-2])
        planes = evaluate_planes(images, event.image, data_range=1.0)
        assert event.outcome.metrics == pytest.approx(average_planes(planes))
        assert event.outcome.plane_metrics == event.record["planes"]["metrics"]
        for name, values in read_planes(event.outcome.plane_metrics).items():
            np.testing.assert_allclose(values, planes[name], rtol=1e-6)
    index = (1,) * len(stack)
    expected = fuse_with("wavelet", [s.data[index] for s in sources.read()])
    np.testing.assert_array_equal(run[1].image[index], expected)
    again = finished([sources], methods, settings=QUICK, folder=tmp_path)
    assert all(event.reused for event in again)
    for old, new in zip(run, again, strict=True):
        assert old.outcome == new.outcome
        np.testing.assert_array_equal(old.image, new.image)


def test_sources_on_other_grids_are_brought_to_one_for_all_methods() -> None:
    fine = Source(RNG.random((2, 18, 20)), axes="zyx", units=("mm",) * 3)
    place = np.diag([1.0, 2, 2, 1])
    coarse = Source(RNG.random((2, 9, 10)), axes="zyx", units=fine.units, affine=place)
    run = finished([SourceSet("head", "ct_mr", lambda: [coarse, fine])], ["maximum", "consensus"])
    assert [event.image.shape for event in run] == [fine.shape] * 2
    expected = fuse([coarse, fine], FusionConfig(method="consensus"))
    np.testing.assert_array_equal(run[1].image, expected.image)


def test_stored_results_of_volumes_depend_on_all_planes_and_their_distance(tmp_path: Path) -> None:
    finished([volume()], ["maximum"], folder=tmp_path)
    assert finished([volume()], ["maximum"], folder=tmp_path)[0].reused
    other = volume().read()
    other[1].data[2, 5, 5] ^= 1
    changed = SourceSet("stack", "noise", lambda: other)
    for sources in (changed, volume(step=5.0), volume(axes="tyx")):
        assert not finished([sources], ["maximum"], folder=tmp_path)[0].reused


def test_volumes_that_are_rounded_first_are_scored_plane_by_plane() -> None:
    (event,) = finished([volume((2, 33, 40, 3))], ["maximum"], eight_bit=True)
    assert isinstance(event.outcome, Row), event.outcome
    assert event.image.shape == (2, 33, 40, 3)
    assert event.outcome.metrics == event.record["metrics"]
    assert [len(v) for v in event.outcome.plane_metrics.values()] == [2] * 4
    assert event.outcome.plane_metrics == event.record["planes"]["metrics"]


def test_progress_of_a_volume_is_told_by_its_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    real = runs.iter_fuse

    def tell(*arguments: Any, **options: Any) -> Any:
        yield PlanesDone("gains", 1, 4)
        yield from (e for e in real(*arguments, **options) if isinstance(e, Done))

    monkeypatch.setattr(runs, "iter_fuse", tell)
    for sources, told in ((volume(), [("", 0.0), ("gains", 0.25)]), (pair(), [("", 0.0)])):
        events = list(iter_compare([sources], ["maximum"]))
        assert [(e.stage, e.part) for e in events if isinstance(e, Running)] == told
        assert isinstance(events[-1], Finished)


def test_a_series_that_lacks_a_frame_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        yield FrameFailed((1,), "out of memory")
        raise AssertionError("it went on")

    monkeypatch.setattr(runs, "iter_fuse", fail)
    (event,) = finished([volume(axes="tyx")], ["maximum"])
    assert event.outcome.reason == "frame 1: out of memory"


def test_sources_that_are_prepared_are_not_read() -> None:
    def read() -> Any:
        raise AssertionError("they were read")

    prepared = prepare_sources(list(pair().read()), names=["CT", "MR"])
    (event,) = finished([SourceSet("one", "noise", read, prepared=prepared)], ["average"])
    assert event.record is not None
    assert [source["name"] for source in event.record["sources"]] == ["CT", "MR"]
    np.testing.assert_allclose(event.image, prepared.images.mean(axis=0), atol=1e-6)


def test_a_method_of_microseconds_did_not_take_none(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(perf_counter=itertools.count(step=0.00001234567).__next__)
    monkeypatch.setattr(steps, "time", clock)
    assert compare([pair()], ["average"]).rows[0].seconds == 0.00001235


def test_every_method_and_preset_can_be_compared() -> None:
    assert set(label_methods()) == {*METHODS, "dip-fast", "dip-paper"}


def test_color_options_metrics_and_eight_bits() -> None:
    sources = pair(shape=(33, 40, 3))
    options = {"gmc": {"iterations": 2}}
    run = finished([sources], ["gmc", "dip-fast"], options=options, settings=QUICK, which=["ssim"])
    assert [e.image.shape for e in run if e.image is not None] == [(33, 40, 3)] * 2
    assert [list(e.outcome.metrics) for e in run if isinstance(e.outcome, Row)] == [["ssim"]] * 2
    exact, rounded = (compare([sources], ["gmc"], eight_bit=b).rows[0] for b in (False, True))
    assert exact.metrics != rounded.metrics


def test_seeds_repeat_what_has_one() -> None:
    result = compare([pair()], ["average", "dip-fast"], seeds=2, settings=QUICK)
    assert [(r.method, r.seed) for r in result.rows] == [
        *(("average", None), ("dip-fast", 0), ("dip-fast", 1))
    ]
    assert result.rows[1].metrics != result.rows[2].metrics


def test_seeds_can_be_named() -> None:
    sources = pair()
    result = compare([sources], ["average", "dip-fast"], seeds=[7, 1], settings=QUICK)
    assert [r.seed for r in result.rows] == [None, 7, 1]
    config = FusionConfig(**QUICK, seed=7)
    assert result.rows[1].metrics == pytest.approx(fuse(sources.read(), config).metrics)


def test_percentiles_are_those_of_the_sources() -> None:
    sources, options = pair(), {"intensity": "percentiles", "percentiles": (20.0, 70.0)}
    run = finished([sources], ["average", "dip-fast"], settings=QUICK, **options)
    prepared = prepare_sources(sources.read(), **options).images
    np.testing.assert_allclose(run[0].image, prepared.mean(axis=0), atol=1e-6)
    expected = fuse(sources.read(), FusionConfig(**QUICK, **options))
    np.testing.assert_allclose(run[1].image, expected.image, atol=1e-6)


def test_another_window_is_another_result(tmp_path: Path) -> None:
    sources, options = pair(), {"intensity": "percentiles", "folder": tmp_path}
    finished([sources], ["average"], percentiles=(1.0, 99.0), **options)
    assert not finished([sources], ["average"], percentiles=(20.0, 70.0), **options)[0].reused


def test_a_control_stops_a_comparison_without_half_results(tmp_path: Path) -> None:
    control = Control()
    settings = {**QUICK, "iterations": 100_000, "stop": "iterations"}
    options = {"settings": settings, "control": control, "folder": tmp_path}
    seen = []
    for event in iter_compare([pair()], ["average", "dip-fast", "maximum"], **options):
        seen.append(event)
        if isinstance(event, Running) and event.part > 0:
            control.stop()
    assert [e.outcome.method for e in seen if isinstance(e, Finished)] == ["average"]
    assert seen[-1].method == "dip-fast"
    assert len(list(tmp_path.rglob("*.json"))) == 1


def test_a_stopped_control_starts_nothing() -> None:
    control = Control()
    control.stop()
    assert list(iter_compare([pair()], ["average"], control=control)) == []


def test_progress_counts_runs_and_iterations() -> None:
    events = list(iter_compare([pair()], ["average", "dip-fast"], settings=QUICK))
    assert [(e.done, e.total) for e in events if isinstance(e, Finished)] == [(1, 2), (2, 2)]
    parts = [e.part for e in events if isinstance(e, Running)]
    np.testing.assert_allclose(parts, [0, 0, 1 / 3, 2 / 3, 1])


def test_an_interrupted_comparison_goes_on(tmp_path: Path) -> None:
    sets, methods = [pair("a"), pair("b")], ["average", "maximum"]
    for count, _ in enumerate(iter_compare(sets, methods, folder=tmp_path)):
        if count == 4:  # in the middle of the third run
            break
    again = finished(sets, methods, folder=tmp_path)
    assert [e.reused for e in again] == [True, True, False, False]
    whole = finished(sets, methods, folder=tmp_path)
    assert all(e.reused for e in whole)
    for old, new in zip(again, whole, strict=True):
        assert old.outcome == new.outcome
        np.testing.assert_array_equal(old.image, new.image)
    assert not any(e.reused for e in finished(sets, methods, folder=tmp_path, fresh=True))


def test_stored_results_of_other_runs_are_not_taken(tmp_path: Path) -> None:
    sources = pair()
    finished([sources], ["gmc"], folder=tmp_path)
    other = {"options": {"gmc": {"gamma": 0.5}}}
    assert not finished([sources], ["gmc"], folder=tmp_path, **other)[0].reused
    assert finished([sources], ["gmc"], folder=tmp_path, **other)[0].reused
    assert not finished([pair()], ["gmc"], folder=tmp_path, **other)[0].reused
    record = next(tmp_path.rglob("*.json"))
    record.write_text(record.read_text()[:40])
    assert not finished([sources], ["gmc"], folder=tmp_path)[0].reused
    assert json.loads(record.read_text())["row"]["method"] == "gmc"


def test_failures_do_not_end_a_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    real = steps.fuse_stack
    failures = {
        "wavelet": ValueError("no\nwavelets today"),
        "gmc": RuntimeError("shapes cannot be multiplied"),
        "l1": MemoryError(),
        "maximum": ImportError("no module of that name"),
    }

    def failing(name: str, images: Any, **options: Any) -> Any:
        if name in failures:
            raise failures[name]
        return real(name, images, **options)

    monkeypatch.setattr(steps, "fuse_stack", failing)
    unequal = SourceSet("unequal", "noise", lambda: [np.eye(16), np.eye(17)])
    result = compare([pair(), unequal], [*failures, "average"])
    assert [(r.name, r.method) for r in result.rows] == [("one", "average")]
    assert [(f.name, f.method) for f in result.failures] == [
        *(("one", method) for method in failures),
        *(("unequal", method) for method in [*failures, "average"]),
    ]
    assert [f.reason for f in result.failures[:4]] == [
        "no wavelets today",
        "shapes cannot be multiplied",
        "MemoryError",
        "no module of that name",
    ]
    assert "share one shape" in result.failures[4].reason


def test_bad_calls_are_refused() -> None:
    with pytest.raises(ValueError, match=r"unknown method 'gcm'; the methods are .*dip-paper"):
        compare([pair()], ["gcm"])
    with pytest.raises(ValueError, match="each method must be given once, got gmc more often"):
        compare([pair()], ["gmc", "gmc"])
    with pytest.raises(ValueError, match="each set must be given once, got noise one more often"):
        compare([pair(), pair()], ["gmc"])
    with pytest.raises(ValueError, match="at least one set of sources and one method"):
        compare([], ["gmc"])
    with pytest.raises(ValueError, match="needs one seed or more, got none"):
        compare([pair()], ["gmc"], seeds=0)
    with pytest.raises(ValueError, match="each seed must be given once, got 3 more often"):
        compare([pair()], ["gmc"], seeds=[3, 3])
    with pytest.raises(ValueError, match="unknown setting 'widht'"):
        compare([pair()], ["dip-fast"], settings={"widht": 8})


def test_averages_ranks_and_spread() -> None:
    rows = [
        *(row("average", [0.1, 0.9]), row("average", [0.3, 0.5], "two")),
        *(row("gmc", [0.2, 0.8]), row("gmc", [0.2, 0.6], "two")),
        *(row("dip-fast", [0.4, 0.6], seed=0), row("dip-fast", [0.2, 0.4], "two", 0)),
        *(row("dip-fast", [0.6, 0.6], seed=1), row("dip-fast", [0.4, 0.4], "two", 1)),
    ]
    average, gmc, dip = summarize(rows)
    assert average.metrics == pytest.approx({"petrovic": 0.2, "piella": 0.7})
    assert dip.metrics == pytest.approx({"petrovic": 0.4, "piella": 0.5})
    assert dip.spread == pytest.approx({"petrovic": 0.2 / 2**0.5, "piella": 0.0}, abs=1e-12)
    assert average.spread == {}
    # Petrovic: dip, gmc, average on one; dip 0.3 ties with average on two, before gmc.
    assert average.rank == pytest.approx((3 + 1 + 1.5 + 2) / 4)
    assert gmc.rank == pytest.approx((2 + 2 + 3 + 1) / 4)
    assert dip.rank == pytest.approx((1 + 3 + 1.5 + 3) / 4)
    assert average.sets == 2


def test_best_and_second_best_are_marked() -> None:
    rows = [row("a", [0.1, 0.5]), row("b", [0.3, 0.5]), row("c", [0.2, 0.4])]
    summaries = summarize(rows)
    assert mark_best(summaries, "petrovic") == [0, 1, 2]
    assert mark_best(summaries, "piella") == [1, 1, 2]
    text = to_markdown(rows)
    assert "| a | 0.1000 | **0.5000** |" in text
    assert "| c | _0.2000_ | _0.4000_ |" in text
    assert METRICS["petrovic"].label in text
    assert "### kind: 1 set of sources" in text


def test_missing_sets_are_named() -> None:
    rows = [row("a", [0.1, 0.5]), row("a", [0.1, 0.5], "two"), row("b", [0.3, 0.5])]
    assert "| b (1 of 2 sets) |" in to_markdown(rows)


def test_csv_has_every_run() -> None:
    rows = [row("average", [1 / 3, 0.5]), row("dip-fast", [0.4, 0.6], seed=0)]
    lines = list(csv.DictReader(to_csv(rows).splitlines()))
    assert [line["seed"] for line in lines] == ["", "0"]
    assert float(lines[0]["petrovic"]) == 1 / 3
    assert lines[1]["set"] == "one"
    assert to_csv([]).startswith("kind,set,method,seed")
    assert Outcomes().rows == []


def stack_row(planes: list[Any], name: str = "one", axes: tuple[str, ...] = ("z",)) -> Row:
    return Row("kind", name, "maximum", None, 1.0, {"piella": 0.5}, {"piella": planes}, axes)


@pytest.mark.parametrize(
    ("rows", "heading"),
    [
        ([stack_row([0.25, 0.75])], "### kind: 1 set of sources, mean over 2 planes\n"),
        ([stack_row([0.5, None])], "### kind: 1 set of sources, mean over 1 of 2 planes\n"),
        (
            [stack_row([0.5] * n, name) for n, name in ((2, "one"), (3, "two"))],
            "### kind: 2 sets of sources, mean over planes\n",
        ),
    ],
)
def test_means_over_planes_are_named(rows: list[Row], heading: str) -> None:
    assert to_markdown(rows).startswith(heading)


def test_csv_says_how_many_planes_a_mean_is_over() -> None:
    flat = Row("kind", "two", "maximum", None, 1.0, {"piella": 0.5})
    lines = list(csv.DictReader(to_csv([stack_row([0.5, None, 0.5]), flat]).splitlines()))
    assert [line["planes"] for line in lines] == ["2", ""]
    assert "planes" not in to_csv([flat])


def test_planes_have_a_csv_of_their_own() -> None:
    volume, series = stack_row([0.25, None]), stack_row([[0.125, 0.5]], "two", ("t", "z"))
    flat = Row("kind", "three", "maximum", None, 1.0, {"piella": 0.5})
    assert to_plane_csv([volume, flat, series]).splitlines() == [
        "kind,set,method,seed,z,t,piella",
        "kind,one,maximum,,0,,0.25",
        "kind,one,maximum,,1,,",
        "kind,two,maximum,,0,0,0.125",
        "kind,two,maximum,,1,0,0.5",
    ]
    assert to_plane_csv([flat]) == "kind,set,method,seed\n"


@pytest.mark.parametrize(
    ("shape", "plane"), [((20, 21), ()), ((1, 20, 21), (0,)), ((5, 8, 20, 21), (2, 4))]
)
def test_a_figure_shows_the_middle_plane(shape: tuple[int, ...], plane: tuple[int, ...]) -> None:
    assert find_middle_plane(shape) == plane


@pytest.mark.parametrize(
    ("shape", "axes"),
    [((5, 9, 10), ("z",)), ((3, 9, 10), ("t",)), ((2, 3, 9, 10, 3), ("t", "z"))],
)
def test_volumes_and_series_are_kept_and_found(
    shape: tuple[int, ...], axes: tuple[str, ...], tmp_path: Path
) -> None:
    image = RNG.random(shape, dtype=np.float32)
    made = Stored(stack_row(image[..., 0, 0].tolist(), axes=axes), image, {"kind": "comparison"})
    run = Run("maximum", None, FusionConfig(method="maximum"), {}, ("piella",), False)
    Store(tmp_path, fresh=False).keep(made, run, ["digest"])
    found = Store(tmp_path, fresh=False).find("kind", "one", run, ["digest"])
    assert found is not None
    assert found.row == made.row
    np.testing.assert_array_equal(found.image, image)
    written = read_image(next(tmp_path.rglob("*.ome.tif")))
    assert written.axes == (*axes, "y", "x")
    assert Store(tmp_path, fresh=False).find("kind", "one", run, ["other"]) is None


@pytest.mark.parametrize("shape", [(64, 80), (33, 41), (9, 200)])
def test_zoom_is_where_the_images_differ(shape: tuple[int, int]) -> None:
    images = np.zeros((3, *shape))
    row, column = shape[0] - 3, shape[1] // 2
    images[1, row, column] = 1
    rows, columns = find_zoom_window([*images[:2], np.repeat(images[2][..., None], 3, axis=2)])
    assert rows.start <= row < rows.stop <= shape[0]
    assert columns.start <= column < columns.stop <= shape[1]
    assert rows.stop - rows.start == max(shape[0] // 4, min(shape[0], 16))


def test_contact_sheet() -> None:
    gray, colored = RNG.random((32, 40)), RNG.random((32, 40, 3))
    fused = {f"method {i}": gray for i in range(5)}
    sheet = draw_contact_sheet({"a": gray, "b": colored}, fused, scores={"method 1": "Pe 0.5"})
    shown = [ax for ax in sheet.axes if ax.images]
    assert len(shown) == 2 * 7
    assert "method 1\nPe 0.5" in [ax.get_title() for ax in shown]
    sheet.canvas.draw()


def test_sources_are_prepared_once_for_all_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def count(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        return prepare_sources(*arguments, **options)

    monkeypatch.setattr(runs, "prepare_sources", count)
    monkeypatch.setattr(preparation, "prepare_sources", count)
    compare([pair()], ["average", "wavelet", "dip-fast"], settings=QUICK)
    assert len(calls) == 1


def test_a_record_is_that_of_a_fusion_with_its_kind() -> None:
    events = finished([pair()], ["average", "dip-fast"], settings=QUICK)
    whole = fuse(list(pair().read()), FusionConfig(**QUICK)).record
    for event in events:
        assert event.record is not None
        assert event.record["kind"] == "comparison"
        assert set(whole) <= set(event.record)
        assert event.record["metrics"] == event.outcome.metrics
        assert parse_record(json.dumps(event.record)) == event.record
