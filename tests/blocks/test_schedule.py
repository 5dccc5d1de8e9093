"""Which blocks come first: those around what is looked at, wherever that moves."""

from napari_dip_fusion.blocks.layout import Layout
from napari_dip_fusion.blocks.schedule import Focus, Schedule

LAYOUT = Layout(shape=(512, 640), block=(64, 64), halo=(36, 36))


def measure_distance(index, place):
    return sum((n - p // 64) ** 2 for n, p in zip(index, place, strict=True))


def test_the_nearest_blocks_come_first_and_the_focus_may_move():
    focus = Focus((320, 320))
    blocks = iter(Schedule(LAYOUT, {(5, 5)}, focus))
    near = [next(blocks) for _ in range(8)]
    assert sorted(near) == [(4, 4), (4, 5), (4, 6), (5, 4), (5, 6), (6, 4), (6, 5), (6, 6)]
    # Beyond the last column: the nearest one counts.
    focus.look_at((0, 9999))
    rest = list(blocks)
    distances = [measure_distance(index, (0, 639)) for index in rest]
    assert distances == sorted(distances)
    assert rest[0] == (0, 9)
    assert sorted([*near, *rest, (5, 5)]) == list(LAYOUT)


def test_without_a_focus_blocks_come_from_the_first_to_the_last():
    assert list(Schedule(LAYOUT)) == list(LAYOUT)
    assert list(Schedule(LAYOUT, (), Focus())) == list(LAYOUT)
    assert next(iter(Schedule(LAYOUT, (), (511, 0)))) == (7, 0)
