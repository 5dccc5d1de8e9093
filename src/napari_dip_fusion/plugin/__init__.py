"""The napari plugin: the only folder of the package that imports napari, Qt or magicgui."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_dip_fusion.plugin.scripting import fuse_layers

__all__ = ["fuse_layers"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f"{__name__}.scripting").fuse_layers


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
