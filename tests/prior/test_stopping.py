"""The plateau rule."""

from napari_dip_fusion.prior.stopping import Plateau


def test_stops_when_the_smallest_excess_no_longer_falls() -> None:
    rule = Plateau(patience=10, min_improvement=0.1)
    excess = [1.0 / n for n in range(1, 40)]
    assert not any(rule.update(e) for e in excess)
    flat = [rule.update(excess[-1]) for _ in range(10)]
    assert flat.index(True) > 5


def test_noise_above_the_smallest_does_not_count_as_progress() -> None:
    rule = Plateau(patience=4, min_improvement=0.05)
    assert [rule.update(e) for e in (1, 2, 1.5, 3, 2, 1.2)] == [False] * 4 + [True] * 2
