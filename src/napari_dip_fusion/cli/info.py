"""The command dip-fusion info, which says what a bug report needs."""

import platform
from importlib.metadata import version

from napari_dip_fusion.cli import console
from napari_dip_fusion.prior.devices import list_devices, measure_free_memory


def show_info() -> None:
    """Print versions, devices, threads and memory: what to send with a bug report."""
    import torch

    packages = ("napari-dip-fusion", "napari", "npe2", "torch", "numpy", "scikit-image")
    console.print_pairs(
        "versions",
        {"python": platform.python_version(), **{p: version(p) for p in packages}},
    )
    console.print_pairs(
        "devices", {d: f"{measure_free_memory(d) / 1e9:.1f} GB free" for d in list_devices()}
    )
    console.print_pairs(
        "processor",
        {
            "system": platform.platform(),
            "threads": torch.get_num_threads(),
            "instructions": torch.backends.cpu.get_cpu_capability(),
        },
    )
