"""Unsupervised image fusion by Deep Image Prior.

The public names stand in ``__init__.pyi`` and are loaded on first use, so that importing the
package costs nothing: no torch, no napari.
"""

from importlib.metadata import version
from typing import Any

import lazy_loader

_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    return version("napari-dip-fusion") if name == "__version__" else _load(name)
