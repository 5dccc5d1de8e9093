"""Whole volumes: one fusion in three dimensions, in its place."""

import json

import numpy as np
import pytest
from scipy import ndimage

from napari_dip_fusion import FusionConfig, Source, evaluate, fuse, iter_fuse
from napari_dip_fusion.errors import StoppedError
from napari_dip_fusion.fusion import (
    Control,
    Decided,
    Done,
    GainsReady,
    PlanesDone,
    Preview,
    StepDone,
    continue_fuse,
    estimate_gains,
)
from napari_dip_fusion.metrics import average_planes
from napari_dip_fusion.sources.color import LUMA
from napari_dip_fusion.sources.prepare import prepare_sources

CLEAN = FusionConfig(noise="none", intensity="dtype", threads=1)
SHAPE = (9, 40, 44)
PLACE = np.array([[2.0, 0, 0, 5], [0, 0.5, 0, -7], [0, 0, 0.5, 3], [0, 0, 0, 1]])
SMALL = {"width": 4, "depth": 2, "iterations": 3, "threads": 1, "device": "cpu"}


def draw(seed: int, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """Return smooth values in [0, 1]."""
    rough = np.random.default_rng(seed).random(shape)
    smooth = ndimage.gaussian_filter(rough, [1] + [3] * (len(shape) - 1))
    return ((smooth - smooth.min()) / np.ptp(smooth)).astype(np.float32)


PAIR = [draw(0), draw(1)]


def place(data: np.ndarray, affine: np.ndarray = PLACE, **fields) -> Source:
    axes = "tzyx"[-data.ndim :] if data.shape[-1] > 4 else "zyx"
    return Source(data, axes=axes, affine=affine, units=("mm",) * len(axes), **fields)


def test_a_volume_of_one_slice_is_a_plane() -> None:
    plane = fuse([p[4] for p in PAIR], CLEAN)
    for sources in ([p[4:5] for p in PAIR], [place(p[4:5]) for p in PAIR]):
        volume = fuse(sources, CLEAN)
        np.testing.assert_allclose(volume.image.reshape(plane.image.shape), plane.image, atol=1e-6)
        assert volume.metrics == pytest.approx(plane.metrics)
    assert volume.to_source().shape == (1, 40, 44)


def test_thick_slices_are_fused_as_planes_and_thin_ones_are_not() -> None:
    planes = [fuse(list(pair), CLEAN).image for pair in zip(*PAIR, strict=True)]
    thick = fuse([place(p, np.diag([6, 0.5, 0.5, 1])) for p in PAIR], CLEAN)
    assert thick.sources.steps == (12, 1, 1)
    np.testing.assert_allclose(thick.image, planes, atol=5e-6)
    thin = fuse([place(p, np.diag([0.5, 0.5, 0.5, 1])) for p in PAIR], CLEAN)
    assert np.abs(thin.image - planes).max() > 0.01
    apart = fuse(PAIR, CLEAN.replace(volumes="planes"))
    np.testing.assert_allclose(apart.image, planes, atol=5e-6)


def test_sources_on_other_grids_are_brought_to_the_finest() -> None:
    fine = place(PAIR[0], name="fine")
    coarse = place(PAIR[1][::2, ::2, ::2].copy(), PLACE @ np.diag([2, 2, 2, 1]), name="coarse")
    config = CLEAN.replace(network="never")
    result = fuse([coarse, fine], config)
    assert result.image.shape == SHAPE
    assert result.axes == ("z", "y", "x")
    assert result.units == ("mm",) * 3
    np.testing.assert_array_equal(result.affine, PLACE)
    assert result.record["grid"]["reference"] == "fine"
    assert result.record["grid"]["resampled"] == [True, False]
    image = result.to_source(like=1)
    np.testing.assert_array_equal(image.affine, PLACE)
    np.testing.assert_array_equal(image.data, result.rescale(like=1))
    other = fuse([coarse, fine], config, reference=0)
    assert other.image.shape == coarse.shape
    np.testing.assert_array_equal(other.affine, coarse.affine)


def test_what_is_kept_of_every_plane() -> None:
    result = fuse(PAIR, CLEAN)
    assert {values.shape for values in result.plane_metrics.values()} == {(9,)}
    assert result.metrics == average_planes(result.plane_metrics)
    alone = evaluate([p[3] for p in PAIR], result.image[3], data_range=1.0)
    assert {n: v[3] for n, v in result.plane_metrics.items()} == pytest.approx(alone, rel=1e-4)
    record = json.loads(json.dumps(result.record))
    assert record["axes"] == ["z", "y", "x"]
    assert record["planes"]["metrics_are"] == "mean over 9 planes"
    assert record["planes"]["metrics"]["piella"] == result.plane_metrics["piella"].tolist()
    assert fuse([p[0] for p in PAIR], CLEAN).plane_metrics == {}


def test_events_come_in_order_and_tell_how_far_they_are() -> None:
    events = list(iter_fuse(PAIR, CLEAN, preview_rate=1))
    kinds = [type(event) for event in events if not isinstance(event, PlanesDone)]
    assert kinds == [Decided, GainsReady, Preview, Done]
    assert {event.total for event in events if isinstance(event, PlanesDone)} == {9}
    assert [event.image.shape for event in events if isinstance(event, Preview)] == [SHAPE]
    alone = estimate_gains(PAIR, CLEAN)
    np.testing.assert_array_equal(alone.gains, events[-1].result.gains)


def test_gains_need_not_be_kept() -> None:
    kept, lost = (list(iter_fuse(PAIR, CLEAN, keep_gains=keep)) for keep in (True, False))
    assert not any(isinstance(event, GainsReady) for event in lost)
    assert lost[-1].result.gains is None
    np.testing.assert_array_equal(lost[-1].result.image, kept[-1].result.image)


def test_color_is_fused_by_its_luma() -> None:
    colors = np.stack([PAIR[0], PAIR[0] ** 2, 1 - PAIR[0]], axis=-1)
    result = fuse([Source(colors, axes="zyx"), PAIR[1]], CLEAN)
    assert result.image.shape == (*SHAPE, 3)
    gray = fuse([colors @ LUMA, PAIR[1]], CLEAN)
    np.testing.assert_allclose(result.image @ LUMA, gray.image, atol=0.02)
    assert result.to_source().rgb


def test_one_window_and_one_noise_for_all_planes() -> None:
    rising = [(p * np.linspace(0.2, 1, 9, dtype=np.float32)[:, None, None]) for p in PAIR]
    prepared = prepare_sources([(1000 * p).astype(np.uint16) for p in rising])
    assert prepared.images[0].max() == 1
    assert prepared.images[0, 0].max() < 0.4
    noisy = [p + np.random.default_rng(5).normal(0, 0.1, SHAPE).astype(np.float32) for p in PAIR]
    result = fuse([n.clip(0, 1) for n in noisy], FusionConfig(network="never", intensity="dtype"))
    assert result.noise == pytest.approx((0.1, 0.1), rel=0.15)


def test_one_network_for_the_whole_volume_is_continued() -> None:
    config = FusionConfig(**SMALL, network="always", noise="none", stop="iterations")
    events = list(iter_fuse(PAIR, config, keep_state=True, preview_rate=1e9, look_at=(2,)))
    steps = [event.iteration for event in events if isinstance(event, StepDone)]
    assert steps == [1, 2, 3]
    previews = [event for event in events if isinstance(event, Preview) and event.iteration]
    assert {event.plane for event in previews} == {(2,)}
    assert previews[0].image.shape == SHAPE[1:]
    result = events[-1].result
    more = list(continue_fuse(result, 2))[-1].result
    assert len(more.losses) == 5
    assert more.image.shape == SHAPE
    np.testing.assert_array_equal(more.gains, result.gains)
    again = fuse(PAIR, config)
    np.testing.assert_array_equal(again.image, result.image)


def test_the_paper_is_made_plane_by_plane() -> None:
    paper = FusionConfig.preset("paper", **SMALL, intensity="dtype")
    assert paper.gains.volumes == "planes"
    pair = [p[:2] for p in PAIR]
    whole = fuse(pair, paper)
    planes = [fuse([p[z] for p in pair], paper) for z in range(2)]
    np.testing.assert_allclose(whole.image, [p.image for p in planes], atol=1e-5)
    assert len(whole.losses) == 6


def test_a_run_is_stopped_before_it_has_an_image() -> None:
    control = Control()
    events = iter_fuse(PAIR, CLEAN, control=control)
    next(events)
    control.stop()
    with pytest.raises(StoppedError, match="nothing was kept"):
        list(events)


@pytest.mark.parametrize(
    ("sources", "options", "message"),
    [
        ([np.zeros((2, 3, 9, 9)), PAIR[1]], {}, 'source 0 has 4 axes.*axes="tzyx"'),
        ([PAIR[0], PAIR[1][:5]], {}, "must share one shape"),
        (PAIR, {"look_at": (9,)}, r"index along z of sizes \(9,\), got \(9,\)"),
        (PAIR, {"look_at": (1, 2)}, "index along z"),
        (PAIR, {"plane": "z=9"}, "index on axis z must be 0 to 8, got 9"),
        ([p[:, :5] for p in PAIR], {}, "at least 8x8 pixels, got 5x44"),
    ],
)
def test_bad_input_ends_in_one_line(sources, options, message) -> None:
    with pytest.raises(ValueError, match=message) as error:
        list(iter_fuse(sources, CLEAN, **options))
    assert "\n" not in str(error.value)


class Counted:
    """A volume that tells which of its planes were read."""

    def __init__(self, data: np.ndarray) -> None:
        self.data, self.shape, self.dtype, self.ndim = data, data.shape, data.dtype, data.ndim
        self.read: set[int] = set()

    def __getitem__(self, index):
        index = index if isinstance(index, tuple) else (index,)
        self.read |= set(np.atleast_1d(np.arange(len(self.data))[index[0]]).tolist())
        return self.data[index]


@pytest.mark.parametrize(("shift", "read"), [(0.0, {4}), (0.5, {3, 4})])
def test_one_plane_reads_its_neighborhood_alone(shift, read) -> None:
    moved = PLACE.copy()
    moved[0, 3] += 2 * shift
    first, second = Counted(PAIR[0]), Counted(PAIR[1])
    result = fuse([place(first), place(second, moved)], CLEAN, plane="z=4", reference=0)
    assert result.image.shape == SHAPE[1:]
    assert first.read == {4}
    assert second.read == read
