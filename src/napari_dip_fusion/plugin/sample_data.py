"""The synthetic source sets as layers, for napari's menu File > Open Sample.

The truth comes along as a hidden layer below the sources, to compare a result with. Its
metadata say ``{"role": "truth"}``, and those of the sources ``{"role": "source"}``.
"""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_dip_fusion import samples

__all__ = ["focus_pair", "focus_pair_color", "focus_stack", "head", "noisy_head"]

LayerData: TypeAlias = tuple[npt.NDArray[Any], dict[str, Any], str]


def head() -> list[LayerData]:
    """Return CT and MR of a head slice, in millimeters, and the truth."""
    return _place_in_millimeters(_make_layers(samples.head_phantom()))


def noisy_head() -> list[LayerData]:
    """Return the head slice with speckle in CT and noise in MR, and the truth."""
    return _place_in_millimeters(_make_layers(samples.noisy_head_phantom()))


def focus_pair() -> list[LayerData]:
    """Return one scene focused near and far, and the truth."""
    return _make_layers(samples.focus_pair())


def focus_pair_color() -> list[LayerData]:
    """Return one scene in color, focused near and far, and the truth."""
    return _make_layers(samples.focus_pair(color=True))


def focus_stack() -> list[LayerData]:
    """Return five focal planes of a tilted tissue section, and the truth."""
    return _make_layers(samples.focus_stack())


def _make_layers(sample: samples.SampleSet) -> list[LayerData]:
    truth = _make_layer(sample.truth, f"truth ({sample.name})", "truth")
    names = (f"{name} ({sample.name})" for name in sample.source_names)
    sources = (_make_layer(*pair, "source") for pair in zip(sample.sources, names, strict=True))
    # napari puts what comes first at the bottom.
    return [truth, *sources]


def _make_layer(image: npt.NDArray[Any], name: str, role: str) -> LayerData:
    options = {"name": name, "metadata": {"role": role}, "visible": role == "source"}
    if image.ndim == 3:
        return image, options | {"rgb": True}, "image"
    # Limits of the type and not of the data, so that all layers of a set can be compared.
    white = 255 if image.dtype == np.uint8 else 1
    return image, options | {"colormap": "gray", "contrast_limits": (0, white)}, "image"


def _place_in_millimeters(layers: list[LayerData]) -> list[LayerData]:
    # The shorter side spans the field of view, whatever size the phantom has.
    pixel = samples.FIELD_OF_VIEW / min(layers[0][0].shape)
    grid = {"scale": (pixel, pixel), "units": ("mm", "mm")}
    return [(image, options | grid, kind) for image, options, kind in layers]
