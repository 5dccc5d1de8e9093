"""The synthetic source sets as layers, for napari's menu File > Open Sample.

A truth comes along as a hidden layer below the sources, to compare a result with. Its
metadata say ``{"role": "truth"}``, and those of the sources ``{"role": "source"}``, with
``"fwhm"`` where they are blurred.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from napari_dip_fusion import samples
from napari_dip_fusion.plugin.readers import LayerData, make_layer_arguments
from napari_dip_fusion.sources import Source

__all__ = [
    "cell_series",
    "focus_pair",
    "focus_pair_color",
    "focus_stack",
    "head",
    "head_pet",
    "head_thick",
    "head_volume",
    "noisy_head",
]


def head() -> list[LayerData]:
    """Return CT and MR of a head slice, in millimeters, and the truth."""
    return _make_layers(samples.head_phantom(), is_head=True)


def noisy_head() -> list[LayerData]:
    """Return the head slice with speckle in CT and noise in MR, and the truth."""
    return _make_layers(samples.noisy_head_phantom(), is_head=True)


def head_pet() -> list[LayerData]:
    """Return MR and PET of a head slice on grids of their own, and what PET lost."""
    return _make_layers(samples.head_pet())


def head_volume() -> list[LayerData]:
    """Return CT and MR of a head on grids that lie oblique to each other, and the truth."""
    return _make_layers(samples.head_volume())


def head_thick() -> list[LayerData]:
    """Return MR of cubic voxels and CT of thick slices of a head, and what CT lost."""
    return _make_layers(samples.head_thick())


def focus_pair() -> list[LayerData]:
    """Return one scene focused near and far, and the truth."""
    return _make_layers(samples.focus_pair())


def focus_pair_color() -> list[LayerData]:
    """Return one scene in color, focused near and far, and the truth."""
    return _make_layers(samples.focus_pair(color=True))


def focus_stack() -> list[LayerData]:
    """Return five focal planes of a tilted tissue section, and the truth."""
    return _make_layers(samples.focus_stack())


def cell_series() -> list[LayerData]:
    """Return nuclei and membranes of moving cells, in seconds and micrometers."""
    return _make_layers(samples.cell_series())


def _make_layers(sample: samples.SampleSet, *, is_head: bool = False) -> list[LayerData]:
    # Of a source that is as it should be there is one layer, which shows it.
    true = [image for image in sample.undegraded if image not in sample.sources]
    named: list[tuple[npt.NDArray[Any] | Source | None, str]] = [
        (sample.truth, "truth"),
        *((image, image.name) for image in true),
        *zip(sample.sources, sample.source_names, strict=True),
    ]
    # napari puts what comes first at the bottom.
    return [
        _make_layer(
            image if isinstance(image, Source) else _place(image, is_head=is_head),
            f"{name} ({sample.name})",
            "truth" if image is sample.truth or image in true else "source",
        )
        for image, name in named
        if image is not None
    ]


def _make_layer(image: Source, name: str, role: str) -> LayerData:
    blur = {"fwhm": image.fwhm} if np.any(image.fwhm) else {}
    arguments = make_layer_arguments(image.replace(name=name, metadata={"role": role, **blur}))
    return image.data, {**arguments, "visible": role == "source"}, "image"


def _place(image: npt.NDArray[Any], *, is_head: bool) -> Source:
    """Return a plane as a source; a head is placed in millimeters."""
    # Limits of the type and not of the data, so that all layers of a set can be compared.
    white = 255 if image.dtype == np.uint8 else 1
    rgb = image.ndim == 3
    display = {} if rgb else {"colormap": "gray", "contrast_limits": (0, white)}
    # The shorter side spans the field of view, whatever size the phantom has.
    pixel = samples.FIELD_OF_VIEW / min(image.shape[:2]) if is_head else 1.0
    return Source(
        image,
        axes=("y", "x"),
        affine=np.diag([pixel, pixel, 1]),
        units=("mm" if is_head else "pixel",) * 2,
        rgb=rgb,
        display=display,
    )
