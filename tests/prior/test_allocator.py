"""The heap while a network is fitted."""

import sys

import pytest

from napari_dip_fusion.prior import allocator
from napari_dip_fusion.prior.allocator import kept_heap


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_the_heap_is_kept_until_the_last_user_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    if allocator._glibc() is None:
        pytest.skip("another C library")
    changes: list[dict[int, int]] = []
    monkeypatch.setattr(allocator, "_set", lambda _, values: changes.append(values))
    with kept_heap():
        with pytest.raises(RuntimeError), kept_heap():
            raise RuntimeError
        assert changes == [allocator._KEEPING]
    assert changes == [allocator._KEEPING, allocator._DEFAULTS]


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator.sys, "platform", "darwin")
    with kept_heap():
        assert allocator._users == 0
