"""The cell series."""

import numpy as np
import pytest

from napari_dip_fusion.samples import cell_series


def test_two_channels_over_time_in_seconds_and_micrometers():
    for channel in cell_series().sources:
        assert channel.shape == (12, 128, 128)
        assert channel.dtype == np.uint8
        assert channel.axes == ("t", "y", "x")
        assert channel.units == ("s", "um", "um")
        np.testing.assert_allclose(channel.spacing, (30, 0.3, 0.3))


def test_channels_show_different_things():
    nuclei, membranes = (channel.data > 100 for channel in cell_series(frames=2).sources)
    assert nuclei.mean() > 0.03
    assert membranes.mean() > 0.03
    assert (nuclei & membranes).mean() < 0.005


def test_things_move_from_frame_to_frame():
    for channel in cell_series(shape=(64, 64)).sources:
        frames = channel.data.astype(float)
        assert (np.abs(np.diff(frames, axis=0)).mean(axis=(1, 2)) > 0.5).all()
        # A little at a time: neighbors are more alike than first and last.
        assert np.abs(frames[0] - frames[1]).mean() < 0.5 * np.abs(frames[0] - frames[-1]).mean()


def test_same_seed_same_bytes_and_frames_do_not_depend_on_their_number():
    short, long = (cell_series(frames=n, shape=(32, 32)).sources[0].data for n in (2, 3))
    np.testing.assert_array_equal(short, long[:2])
    other = cell_series(frames=2, shape=(32, 32), seed=1).sources[0].data
    assert not np.array_equal(short, other)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"frames": 0}, "frames must be at least 1, got 0"), ({"shape": (8, 64)}, "must be two")],
)
def test_errors_say_what_was_got_and_what_is_allowed(options, message):
    with pytest.raises(ValueError, match=message):
        cell_series(**options)
