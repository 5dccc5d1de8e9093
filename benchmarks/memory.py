"""Peak memory of whole runs beside the estimate that is made before them.

Each run is a process of its own: peak resident memory does not fall again.
Run with ``python benchmarks/memory.py``; it needs about 5 GB and a few minutes.
"""

import json
import resource
import subprocess
import sys
from importlib import import_module

import numpy as np

from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.fusion import iter_fuse
from napari_dip_fusion.prior.memory import estimate_memory

CASES = (
    (256, "fast", {}),
    (512, "fast", {}),
    (1024, "fast", {}),
    (256, "paper", {}),
    (512, "fast", {"upsampling": "bilinear"}),
    (512, "fast", {"net_input": "random", "channels": 10}),
    (512, "fast", {"precision": "float32"}),
    (1024, "fast", {"precision": "float32"}),
    (512, "quality", {}),
    (512, "fast", {"depth": 3, "width": 64}),
)


def peak() -> int:
    """Return the peak resident memory of this process in bytes (Linux)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(size: int, preset: str, changes: dict[str, object]) -> None:
    config = FusionConfig.preset(preset, device="cpu", iterations=2, **changes)
    for library in ("napari_dip_fusion.prior.fit", "skimage.restoration"):
        import_module(library)
    sources = np.random.default_rng(0).random((2, size, size), dtype=np.float32)
    before = peak()
    # Noise: the longer way, with denoised sources and structure given back.
    for _ in iter_fuse(list(sources), config):
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
