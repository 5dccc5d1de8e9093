"""Unsupervised image fusion by Deep Image Prior.

The public names are loaded on first use, so that importing the package costs
nothing: no torch, no napari.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_dip_fusion.config import FusionConfig
    from napari_dip_fusion.errors import FusionError
    from napari_dip_fusion.events import Control, FusionResult
    from napari_dip_fusion.fusion import continue_fuse, fuse, iter_fuse
    from napari_dip_fusion.gains import consensus, gain_maps
    from napari_dip_fusion.methods import fuse_with
    from napari_dip_fusion.metrics import evaluate
    from napari_dip_fusion.probe import estimate_run

__all__ = [
    "Control",
    "FusionConfig",
    "FusionError",
    "FusionResult",
    "consensus",
    "continue_fuse",
    "estimate_run",
    "evaluate",
    "fuse",
    "fuse_with",
    "gain_maps",
    "iter_fuse",
]

_HOMES = {
    "Control": "events",
    "FusionConfig": "config",
    "FusionError": "errors",
    "FusionResult": "events",
    "consensus": "gains",
    "continue_fuse": "fusion",
    "estimate_run": "probe",
    "evaluate": "metrics",
    "fuse": "fusion",
    "fuse_with": "methods",
    "gain_maps": "gains",
    "iter_fuse": "fusion",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("napari-dip-fusion")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__, "__version__"])
