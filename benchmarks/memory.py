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
from napari_dip_fusion.fusion.memory import estimate_memory
from napari_dip_fusion.methods import METHODS

METHOD_CASES = tuple(
    (size, count, method.name)
    for method in METHODS.values()
    if not method.needs_weights
    for count in (2, 4)
    for size in (1024, 2048)
)
CASES = (
    (256, "fast", {}),
    (512, "fast", {}),
    (1024, "fast", {}),
    (256, "paper", {}),
    (512, "fast", {"upsampling": "bilinear"}),
    (512, "fast", {"net_input": "random", "channels": 10}),
    (512, "fast", {"precision": "float32"}),
    (1024, "fast", {"precision": "float32"}),
    (512, "fast", {"width": 64}),
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


def measure_method(size: int, count: int, method: str) -> None:
    config = FusionConfig(method=method)
    # On clean sources: noise takes time, but hardly more memory.
    ramp = np.linspace(0, 1, size, dtype=np.float32) * np.ones((size, 1), dtype=np.float32)
    sources = [np.roll(ramp, i * size // 7, axis=1) for i in range(count)]
    for _ in iter_fuse([s[:64] for s in sources], config):
        pass
    before = peak()
    for _ in iter_fuse(sources, config):
        pass
    used, estimate = peak() - before, estimate_memory(config, (size, size), count)
    print(
        f"| {size} | {method} | {count} sources | {used / 1e6:.0f} | {used / size**2:.0f} "
        f"| {estimate / 1e6:.0f} | {estimate / used:.2f} |",
        flush=True,
    )


def main() -> None:
    if len(sys.argv) > 1:
        case = json.loads(sys.argv[1])
        (measure_method if isinstance(case[1], int) else measure)(*case)
        return
    print("| size | preset | changes | peak MB | bytes a pixel | estimated MB | ratio |")
    print("|---|---|---|---|---|---|---|")
    for case in (*CASES, *METHOD_CASES):
        subprocess.run([sys.executable, __file__, json.dumps(case)], check=True)


if __name__ == "__main__":
    main()
