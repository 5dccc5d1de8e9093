"""Which devices torch can use here, how much memory they have free, and whether torch is there."""

import sys

import psutil

from napari_dip_fusion.errors import TorchMissingError, summarize_error

# On Linux a plain "pip install torch" fetches gigabytes of CUDA libraries; the site's selector
# names a command without them, whatever the system.
_TORCH_HELP = (
    "PyTorch cannot be imported ({}). {} with the command that pytorch.org/get-started/locally "
    "gives for your system, Pip and CPU (or your GPU), then start this program again"
)


def torch_is_imported() -> bool:
    """Tell whether torch can be used at once.

    A module that another thread is importing stands in ``sys.modules`` too:
    to import it again waits for that thread, and it may still be half empty.
    """
    torch = sys.modules.get("torch")
    spec = getattr(torch, "__spec__", None)
    return torch is not None and not getattr(spec, "_initializing", False)


def require_torch() -> None:
    """Import torch, or say how it is installed.

    Raises
    ------
    TorchMissingError
        If torch is missing or broken.
    """
    # A broken installation raises OSError for a library that torch's own code loads.
    try:
        import torch  # noqa: F401
    except (ImportError, OSError) as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == "torch"
        # pip leaves alone what seems to be installed already.
        advice = "Install it" if missing else "Uninstall torch with pip, then install it"
        raise TorchMissingError(_TORCH_HELP.format(summarize_error(error), advice)) from error


def list_devices() -> list[str]:
    """Return the names of the devices that torch can use here, ``cpu`` first.

    Raises
    ------
    TorchMissingError
        If torch cannot be imported.
    """
    require_torch()
    import torch

    names = ["cpu"]
    if torch.cuda.is_available():
        names += [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        names.append("mps")
    return names


def resolve_device(name: str) -> str:
    """Return the device that a setting names.

    Parameters
    ----------
    name : str
        ``auto`` (the first GPU, or else the CPU), ``cuda`` (the first one) or
        a name of :func:`list_devices`.

    Raises
    ------
    ValueError
        If there is no such device; the message names those that are.
    TorchMissingError
        If torch cannot be imported.
    """
    found = list_devices()
    if name == "auto":
        return found[1] if len(found) > 1 else "cpu"
    wanted = "cuda:0" if name == "cuda" else name
    if wanted not in found:
        raise ValueError(f"device must be auto or one of {', '.join(found)} here, got {name!r}")
    return wanted


def resolve_precision(name: str, device: str) -> str:
    """Return ``float32`` or ``bfloat16`` for a setting that may say ``auto``.

    ``auto`` is bfloat16 on processors and GPUs that compute with it, which takes
    a half to two thirds of the time on a processor, and float32 on others.
    """
    if name != "auto":
        return name
    import torch

    if device.startswith("cuda"):
        # Ampere (compute capability 8) is the first that multiplies in bfloat16.
        return "bfloat16" if torch.cuda.get_device_capability(device)[0] >= 8 else "float32"
    # Others emulate bfloat16, which takes longer than float32.
    if device == "cpu" and torch.cpu._is_avx512_bf16_supported():
        return "bfloat16"
    return "float32"


def measure_free_memory(device: str) -> int:
    """Return the free memory of a device in bytes (of the machine for ``cpu`` and ``mps``)."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)
