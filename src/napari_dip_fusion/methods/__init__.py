"""Other fusion methods behind one signature, for comparison with Deep Image Prior.

Owns the registry :data:`METHODS` and :func:`fuse_with`. Each method is a module of its own, with
one leaf function ``method(sources, *, options) -> fused`` on arrays of shape (K, M, N) in [0, 1];
it is imported, and torch with it where it is a network, when it is first used.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_dip_fusion.config import Intensity
from napari_dip_fusion.sources.prepare import prepare_sources

__all__ = ["METHODS", "Method", "fuse_stack", "fuse_with"]

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Method:
    """A fusion method, as the widget and the command line list it."""

    name: str
    """Key in :data:`METHODS`."""
    label: str
    """Short name, for rows of tables."""
    description: str
    """What it does, in one sentence for a tooltip."""
    source: str
    """Authors, year and DOI or arXiv number; empty where it is common property."""
    home: str
    """Module in this folder and function, as ``module:function``."""
    needs_torch: bool = False
    """Whether it runs a network."""
    needs_weights: bool = False
    """Whether it runs only with weights that are not part of the package."""

    def load(self) -> Callable[..., Floats]:
        """Import the leaf function."""
        module, _, function = self.home.partition(":")
        leaf: Callable[..., Floats] = getattr(import_module(f"{__name__}.{module}"), function)
        return leaf

    def options(self) -> dict[str, Any]:
        """Return the options with their defaults; imports the method."""
        parameters = inspect.signature(self.load()).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


_REGISTERED = (
    Method("average", "average", "The mean of the sources at each pixel.", "", "average:average"),
    Method("maximum", "maximum", "The largest source at each pixel.", "", "maximum:maximum"),
    Method(
        "consensus",
        "consensus T",
        "The closed form that the Deep Image Prior is fitted to: least squares under the gains.",
        "Ma et al. 2022, arXiv:2110.09490",
        "consensus:consensus_image",
    ),
    Method(
        "wavelet",
        "wavelet",
        "Mean of the coarsest wavelet coefficients, the larger of each detail coefficient.",
        "Li, Manjunath, Mitra 1995, doi:10.1006/gmip.1995.1022",
        "wavelet:wavelet",
    ),
    Method(
        "laplacian",
        "Laplacian pyramid",
        "Mean of the coarsest pyramid level, the larger of each detail coefficient.",
        "Burt, Kolczynski 1993, doi:10.1109/ICCV.1993.378222",
        "laplacian:laplacian",
    ),
    Method(
        "gmc",
        "non-convex penalty",
        "Sparse wavelet regression on the sensor gains, with the non-convex GMC penalty.",
        "Anantrasirichai et al. 2020, arXiv:1905.09645",
        "gmc:gmc",
    ),
    Method(
        "l1",
        "L1 penalty",
        "Sparse wavelet regression on the sensor gains, with the L1 penalty.",
        "Anantrasirichai et al. 2020, arXiv:1905.09645",
        "gmc:l1",
    ),
    Method(
        "base-detail",
        "base and detail (VGG-19)",
        "Mean of the smooth parts; details weighed by the features of a VGG-19.",
        "Li, Wu, Kittler 2018, arXiv:1804.06992",
        "base_detail:base_detail",
        needs_torch=True,
        needs_weights=True,
    ),
    Method(
        "densefuse",
        "DenseFuse",
        "Codes of a trained auto-encoder, weighed by their l1 norm and decoded.",
        "Li, Wu 2019, arXiv:1804.08361",
        "densefuse:densefuse",
        needs_torch=True,
    ),
)

METHODS: dict[str, Method] = {method.name: method for method in _REGISTERED}
"""Every method by name, the simplest first."""


def fuse_with(
    name: str,
    sources: Sequence[ArrayLike],
    *,
    intensity: Intensity = "auto",
    **options: Any,
) -> Floats:
    """Fuse aligned images with one of the methods of :data:`METHODS`.

    Parameters
    ----------
    name : str
        A key of :data:`METHODS`.
    sources : sequence of K >= 2 arrays of shape (M, N), (M, N, 3) or (M, N, 4)
        Any real type and any size; never modified. Colour is fused by its luma and keeps its
        chroma.
    intensity : str or one entry per source
        How source values become [0, 1]; see :func:`.prepare_sources`.
    **options
        Options of the method; ``METHODS[name].options()`` lists them.

    Returns
    -------
    ndarray of shape (M, N), or (M, N, 3) if a source is in colour
        float32 in [0, 1].

    Raises
    ------
    ValueError
        If the method or an option is unknown, or sources or values cannot be used.

    Examples
    --------
    >>> import numpy as np
    >>> near, far = np.random.default_rng(0).random((2, 30, 41))
    >>> fused = fuse_with("wavelet", [near, far], levels=2)
    >>> fused.shape, fused.dtype
    ((30, 41), dtype('float32'))
    """
    _checked(name, options)
    prepared = prepare_sources(sources, intensity=intensity)
    return prepared.add_color(fuse_stack(name, prepared.images, **options))


def fuse_stack(name: str, images: Floats, **options: Any) -> Floats:
    """Fuse prepared grey sources; otherwise as :func:`fuse_with`.

    Parameters
    ----------
    name, **options
        As for :func:`fuse_with`.
    images : ndarray of shape (K, M, N), float32 in [0, 1]

    Returns
    -------
    ndarray of shape (M, N), float32 in [0, 1]
    """
    function = _checked(name, options)
    return np.clip(function(images, **options), 0, 1).astype(np.float32, copy=False)


def _checked(name: str, options: dict[str, Any]) -> Callable[..., Floats]:
    if name not in METHODS:
        raise ValueError(f"unknown method {name!r}; the methods are {', '.join(METHODS)}")
    method = METHODS[name]
    known = method.options()
    for option in options:
        if option not in known:
            choice = f"its options are {', '.join(known)}" if known else "it has no options"
            raise ValueError(f"unknown option {option!r} of method {name!r}; {choice}")
    return method.load()
