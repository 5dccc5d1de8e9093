"""Image files in and out: one module a format family, all of them headless.

Everything here works without napari and without torch; the format modules and
the libraries they need are imported when a file of that format is met.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_dip_fusion.io.atomic import replacing, write_text
    from napari_dip_fusion.io.errors import ImageFileError
    from napari_dip_fusion.io.formats import (
        read_image,
        read_images,
        read_plane,
        write_image,
        write_images,
    )
    from napari_dip_fusion.io.image import SpatialImage

__all__ = [
    "ImageFileError",
    "SpatialImage",
    "read_image",
    "read_images",
    "read_plane",
    "replacing",
    "write_image",
    "write_images",
    "write_text",
]

_HOMES = {
    "ImageFileError": "errors",
    "SpatialImage": "image",
    "read_image": "formats",
    "read_images": "formats",
    "read_plane": "formats",
    "replacing": "atomic",
    "write_image": "formats",
    "write_images": "formats",
    "write_text": "atomic",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
