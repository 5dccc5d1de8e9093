"""Metrics of volumes and series: the scores of their planes, the means, and their tables."""

import json

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from napari_dip_fusion import interruption
from napari_dip_fusion.metrics import (
    DEFAULT_METRICS,
    METRICS,
    average_planes,
    count_planes,
    describe_mean,
    evaluate,
    evaluate_planes,
    gray_levels,
    list_planes,
    petrovic,
    read_planes,
    tabulate_planes,
)
from napari_dip_fusion.sources import Source

SCORES = {"petrovic": np.array([0.25, np.nan, 0.75]), "ssim": np.array([0.5, np.nan, np.nan])}


def make_stack(shape, count=2, seed=0):
    rng = np.random.default_rng(seed)
    sources = rng.random((count, *shape), dtype=np.float32)
    return sources, sources.mean(axis=0)


@pytest.mark.parametrize("stack", [(1,), (3,), (2, 2)])
@pytest.mark.parametrize("count", [2, 3])
def test_planes_are_scored_as_planes_and_averaged(stack, count):
    sources, fused = make_stack((*stack, 41, 42), count)
    planes = evaluate_planes(sources, fused, which="all")
    assert list(planes) == list(METRICS)
    single = {
        index: evaluate(sources[:, *index], fused[index], which="all")
        for index in np.ndindex(stack)
    }
    for name, values in planes.items():
        assert values.shape == stack
        assert values.dtype == np.float64
        assert {index: values[index] for index in single} == {i: s[name] for i, s in single.items()}
    means = evaluate(sources, fused, which="all")
    assert means == average_planes(planes)
    for name in METRICS:
        assert means[name] == pytest.approx(np.mean([s[name] for s in single.values()]), rel=1e-12)


def test_a_stack_of_one_plane_has_the_scores_of_the_plane():
    sources, fused = make_stack((20, 21))
    expected = evaluate(sources, fused)
    assert evaluate(sources[:, None], fused[None]) == expected
    planes = evaluate_planes(sources, fused)
    assert {name: values.shape for name, values in planes.items()} == dict.fromkeys(expected, ())
    assert average_planes(planes) == expected


def test_planes_without_any_source_are_left_out():
    sources, fused = make_stack((4, 20, 21))
    sources[:, 1], fused[1] = 0, 0.5
    sources[0, 2] = 0.25  # only one of them is empty here
    values = evaluate_planes(sources, fused)["petrovic"]
    assert_array_equal(np.isnan(values), [False, True, False, False])
    kept = [0, 2, 3]
    assert evaluate(sources, fused) == evaluate(sources[:, kept], fused[kept])


def test_a_stack_of_nothing_has_the_scores_of_empty_planes():
    flat = np.full((3, 20, 21), 0.3)
    scores = evaluate([flat, flat], flat)
    assert np.isfinite(list(scores.values())).all()
    assert scores == evaluate([flat[0]] * 2, flat[0])


def test_the_range_is_told_from_the_whole_stack_before_any_plane_is_scored():
    sources, fused = make_stack((3, 20, 21))
    sources[0, 2, 0, 0] = 2
    told = []
    with (
        interruption.make_observable(lambda *event: told.append(event)),
        interruption.stage("metrics", 3),
        pytest.raises(ValueError, match=r"floats in \[0, 1\], got .* to 2; rescale"),
    ):
        evaluate_planes(sources, fused)
    assert told == [("metrics", 0, 3)]


def test_images_are_checked_once_for_all_planes(monkeypatch):
    checked = []
    check = gray_levels._check_images
    monkeypatch.setattr(gray_levels, "_check_images", lambda i: (checked.append(i), check(i)))
    evaluate(*make_stack((3, 20, 21)))
    assert len(checked) == 1


def test_source_objects_are_taken_in_place_of_arrays():
    sources, fused = make_stack((2, 20, 21))
    given = [Source(image) for image in sources]
    assert evaluate(given, Source(fused)) == evaluate(sources, fused)
    assert evaluate([given[0], sources[1]], fused) == evaluate(sources, fused)
    colored = Source(np.zeros((2, 20, 21, 3)), rgb=True)
    with pytest.raises(ValueError, match=r"gray images .* got shape \(2, 20, 21, 3\); convert"):
        evaluate([colored, colored], colored)


@pytest.mark.parametrize(
    ("sources", "fused", "message"),
    [
        (np.zeros((2, 3, 9, 9)), np.zeros((2, 9, 9)), r"\(3, 9, 9\) and \(2, 9, 9\); align"),
        (np.zeros((2, 0, 9, 9)), np.zeros((0, 9, 9)), r"one plane, got shape \(0, 9, 9\)"),
        (np.zeros((2, 3, 9, 9, 4)), np.zeros((3, 9, 9, 4)), r"got shape \(3, 9, 9, 4\); convert"),
        (np.zeros((2, 9)), np.zeros(9), r"gray images .* got shape \(9,\)"),
    ],
)
def test_stacks_that_are_none_are_refused(sources, fused, message):
    with pytest.raises(ValueError, match=message):
        evaluate_planes(sources, fused, data_range=1)


def test_the_function_of_a_metric_takes_planes_only():
    sources, fused = make_stack((2, 20, 21))
    with pytest.raises(ValueError, match=r"planes .* got shape \(2, 20, 21\); score volumes .* ev"):
        petrovic(sources, fused)


def test_each_plane_is_told_and_may_end_the_computation():
    told = []
    with (
        interruption.make_observable(lambda *event: told.append(event)),
        interruption.stage("metrics", 3),
    ):
        evaluate(*make_stack((3, 20, 21)))
    assert told == [("metrics", n, 3) for n in range(4)]

    def stop():
        if len(asked) == 2:
            raise KeyboardInterrupt
        asked.append(1)

    asked = []
    with interruption.make_interruptible(stop), pytest.raises(KeyboardInterrupt):
        evaluate(*make_stack((3, 20, 21)), which=[])


@pytest.mark.parametrize(
    ("scores", "text"),
    [
        ({}, ""),
        ({"petrovic": np.array(0.5)}, ""),
        ({"petrovic": np.array([0.5])}, "mean over 1 plane"),
        ({"petrovic": np.ones((2, 64))}, "mean over 128 planes"),
        (SCORES, "mean over 2 of 3 planes"),
    ],
)
def test_a_mean_is_named(scores, text):
    assert describe_mean(scores) == text


@pytest.mark.parametrize(
    ("scores", "count"),
    [({}, 0), ({"ssim": np.array(0.5)}, 1), (SCORES, 2), ({"ssim": SCORES["ssim"]}, 1)],
)
def test_planes_that_count_are_those_that_any_metric_says_something_of(scores, count):
    assert count_planes(scores) == count


def test_what_a_metric_cannot_say_is_not_averaged():
    nowhere = {"vif": np.full(3, np.nan)}
    means = average_planes(SCORES | nowhere)
    assert (means["petrovic"], means["ssim"]) == (0.5, 0.5)
    assert np.isnan(means["vif"])
    assert {type(value) for value in means.values()} == {float}


def test_scores_of_planes_go_through_json():
    lists = list_planes(SCORES)
    assert lists == {"petrovic": [0.25, None, 0.75], "ssim": [0.5, None, None]}
    back = read_planes(json.loads(json.dumps(lists, allow_nan=False)))
    assert list(back) == list(SCORES)
    for name, values in SCORES.items():
        assert_array_equal(back[name], values)
        assert back[name].dtype == np.float64
    nested = {"ssim": np.arange(6.0).reshape(2, 3)}
    assert list_planes(nested) == {"ssim": [[0, 1, 2], [3, 4, 5]]}
    assert list_planes(evaluate_planes(*make_stack((20, 21)))) == {}


def test_scores_of_planes_are_rows_of_a_table():
    rows = tabulate_planes(SCORES, ["z"])
    assert rows[1] == {"z": 1, "petrovic": None, "ssim": None}
    assert [list(row) for row in rows] == [["z", "petrovic", "ssim"]] * 3
    nested = {"ssim": np.arange(6.0).reshape(2, 3)}
    assert tabulate_planes(nested, "tz")[4] == {"t": 1, "z": 1, "ssim": 4.0}
    assert tabulate_planes({"ssim": np.array(0.5)}, []) == [{"ssim": 0.5}]
    with pytest.raises(ValueError, match="2 axes of planes need as many names, got z"):
        tabulate_planes(nested, "z")


def test_the_default_metrics_are_those_of_planes():
    assert tuple(evaluate_planes(*make_stack((2, 20, 21)))) == DEFAULT_METRICS
