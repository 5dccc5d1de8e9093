"""The heap of the command's own process, which keeps what an iteration frees."""

import subprocess
import sys

import pytest

from napari_dip_fusion.cli import heap

FAULTS = """
import resource
import sys
import numpy as np
from napari_dip_fusion.cli import heap
if sys.argv[1] == "kept":
    assert heap.keep_freed_memory()
def fill():
    blocks = [np.ones(2**20) for _ in range(10)]  # 80 MB: glibc returns so much at once
fill()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
fill()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(heap._load_glibc() is None, reason="another C library")
def test_memory_that_was_freed_is_not_fetched_again() -> None:
    def count_faults(heap: str) -> int:
        call = [sys.executable, "-c", FAULTS, heap]
        return int(subprocess.run(call, capture_output=True, check=True, text=True).stdout)

    # A block of 8 MB has 2048 pages of 4 KiB: not one of ten was new.
    assert count_faults("kept") < 2048 < count_faults("not kept")


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap.sys, "platform", "darwin")
    assert not heap.keep_freed_memory()
