"""The command dip-fusion info, which says what a bug report needs."""

import platform
from typing import Any

from napari_dip_fusion.cli import console
from napari_dip_fusion.errors import TorchMissingError
from napari_dip_fusion.prior.devices import list_devices, measure_free_memory
from napari_dip_fusion.record import find_version

_PACKAGES = ("napari-dip-fusion", "napari", "npe2", "torch", "numpy", "scikit-image")


def show_info() -> None:
    """Print versions, devices, threads and memory: what to send with a bug report."""
    versions = {p: find_version(p) or "not installed" for p in _PACKAGES}
    console.print_pairs("versions", {"python": platform.python_version(), **versions})
    processor: dict[str, Any] = {"system": platform.platform()}
    try:
        devices = list_devices()
    except TorchMissingError as error:
        # What is wrong with torch is what such a report is about.
        devices = ["cpu"]
        console.warn(str(error))
    else:
        processor |= _describe_torch()
    console.print_pairs(
        "devices", {d: f"{measure_free_memory(d) / 1e9:.1f} GB free" for d in devices}
    )
    console.print_pairs("processor", processor)


def _describe_torch() -> dict[str, Any]:
    import torch

    return {
        "threads": torch.get_num_threads(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
    }
