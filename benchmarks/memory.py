"""Peak memory of whole runs beside the estimate that is made before them.

Each run is a process of its own: peak resident memory does not fall again.
Run with ``python benchmarks/memory.py``; it needs about 5 GB and a few minutes.
"""

import json
import resource
import subprocess
import sys

import numpy as np

from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.estimate import estimate_memory
from napari_dip_fusion.fit import Fit

CASES = (
    (256, "fast", {}),
    (512, "fast", {}),
    (1024, "fast", {}),
    (256, "paper", {}),
    (512, "fast", {"upsampling": "bilinear"}),
    (512, "fast", {"net_input": "random", "channels": 10}),
    (512, "fast", {"precision": "bfloat16"}),
    (512, "fast", {"depth": 3, "width": 64}),
)


def peak() -> int:
    """Return the peak resident memory of this process in bytes (Linux)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(size: int, preset: str, changes: dict[str, object]) -> None:
    config = FusionConfig.preset(preset, device="cpu", **changes)
    sources = np.random.default_rng(0).random((2, size, size), dtype=np.float32)
    before = peak()
    fit = Fit(sources[0], np.ones((size, size), np.float32), sources, config)
    for _ in fit.run(2):
        pass
    used, estimate = peak() - before, estimate_memory(config, (size, size), 2)
    changed = ", ".join(f"{k}={v}" for k, v in changes.items())
    print(
        f"| {size} | {preset} | {changed} | {used / 1e6:.0f} | {used / size**2:.0f} "
        f"| {estimate / 1e6:.0f} | {estimate / used:.2f} |",
        flush=True,
    )


def main() -> None:
    if len(sys.argv) > 1:
        measure(*json.loads(sys.argv[1]))
        return
    print("| size | preset | changes | peak MB | bytes a pixel | estimated MB | ratio |")
    print("|---|---|---|---|---|---|---|")
    for case in CASES:
        subprocess.run([sys.executable, __file__, json.dumps(case)], check=True)


if __name__ == "__main__":
    main()
