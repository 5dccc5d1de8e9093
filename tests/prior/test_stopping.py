"""The plateau rule."""

from napari_dip_fusion.prior.stopping import Plateau, RunningMean


def test_stops_when_the_smallest_excess_no_longer_falls() -> None:
    rule = Plateau(patience=10, min_improvement=0.1)
    excess = [1.0 / n for n in range(1, 40)]
    assert not any(rule.update(e) for e in excess)
    flat = [rule.update(excess[-1]) for _ in range(10)]
    assert flat.index(True) > 5


def test_noise_above_the_smallest_does_not_count_as_progress() -> None:
    rule = Plateau(patience=4, min_improvement=0.05)
    assert [rule.update(e) for e in (1, 2, 1.5, 3, 2, 1.2)] == [False] * 4 + [True] * 2


def test_the_mean_is_that_of_the_latest_alone() -> None:
    mean, same = RunningMean(3), RunningMean(1)
    assert [mean.update(e) for e in (9, 3, 3, 3)] == [9, 6, 5, 3]
    assert [same.update(e) for e in (9, 3, 1)] == [9, 3, 1]
