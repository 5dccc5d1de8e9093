"""Other fusion methods behind one signature, for comparison with Deep Image Prior.

Owns the registry :data:`METHODS` and :func:`fuse_with`. Each method is a module of its own, with
a leaf function ``method(sources, *, options) -> fused`` on arrays of shape (K, M, N) in [0, 1].
Such a module is imported when its method is first used, because the networks among them bring
torch, which takes seconds. All but one are two-dimensional, as published: volumes and series are
fused plane by plane.
"""

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_dip_fusion.config import Intensity
from napari_dip_fusion.interruption import advance, checkpoint
from napari_dip_fusion.prior.devices import require_torch
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.grid import GridSources, bring_together
from napari_dip_fusion.sources.prepare import prepare_sources

__all__ = ["METHODS", "Method", "fuse_stack", "fuse_with"]

Floats = NDArray[np.float32]


# Bytes that temporaries take for each source: so many a pixel, but never more than so many in all,
# since large images are cut into strips.
_WORK_SPACE_OF_PIXEL, _WORK_SPACE = 240, 60e6


@dataclass(frozen=True)
class Method:
    """A fusion method, as the widget and the command line list it."""

    name: str
    """Key in :data:`METHODS`."""
    label: str
    """Short name, for rows of tables."""
    description: str
    """What the method does, in one sentence for a tooltip."""
    citation: str
    """Authors, year and DOI or arXiv number; empty where nobody in particular invented it."""
    home: str
    """Module in this folder and function, as ``module:function``."""
    memory: tuple[float, float]
    """Float32 values a pixel that the method holds at its peak: so many, and so many for each
    source. Measured by ``benchmarks/memory.py``."""
    work_space: float = 0.0
    """Bytes that its network takes beside, however large the images are."""
    needs_torch: bool = False
    """Whether the method runs a network."""
    needs_weights: bool = False
    """Whether the method runs only with weights that are not part of the package."""
    planar: bool = True
    """Whether the method is two-dimensional, and volumes are fused plane by plane."""

    def estimate_memory(self, shape: tuple[int, ...], count: int) -> int:
        """Return the bytes that a run on so many sources of a shape (..., M, N) needs."""
        once, each = self.memory
        stack = shape[:-2] if self.planar else ()
        pixels = math.prod(shape[len(stack) :])
        temporaries = min(_WORK_SPACE_OF_PIXEL * pixels, _WORK_SPACE) * count
        # Beside what one plane takes, the prepared sources and the fused image lie there whole.
        whole = 4 * math.prod(shape) * (count + 1) if stack else 0
        return int(4 * pixels * (once + each * count) + temporaries + self.work_space + whole)

    def load(self) -> Callable[..., Floats]:
        """Import the leaf function and return it.

        Raises
        ------
        TorchMissingError
            If the method runs a network and torch cannot be imported.
        """
        if self.needs_torch:
            require_torch()
        module, _, function = self.home.partition(":")
        leaf: Callable[..., Floats] = getattr(import_module(f"{__name__}.{module}"), function)
        return leaf

    def options(self) -> dict[str, Any]:
        """Return the names of the method's options with their defaults.

        They are read from the leaf function, which is imported for it.
        """
        parameters = inspect.signature(self.load()).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


_REGISTERED = (
    Method(
        "average",
        "average",
        "Takes the mean of the sources at each pixel.",
        "",
        "average:average",
        (3, 5.5),
    ),
    Method(
        "maximum",
        "maximum",
        "Takes the largest source at each pixel.",
        "",
        "maximum:maximum",
        (3, 5.5),
    ),
    Method(
        "consensus",
        "consensus",
        "Solves for the image that the Deep Image Prior is fitted to: least squares under the "
        "sensor gains, of denoised sources where there is noise.",
        "Ma et al. 2022, arXiv:2110.09490",
        "consensus:consensus_image",
        (14, 7),
        planar=False,
    ),
    Method(
        "wavelet",
        "wavelet",
        "Averages the coarsest wavelet coefficients, and keeps the largest of each detail.",
        "Li, Manjunath, Mitra 1995, doi:10.1006/gmip.1995.1022",
        "wavelet:wavelet",
        (1, 6.5),
    ),
    Method(
        "laplacian",
        "Laplacian pyramid",
        "Averages the coarsest levels of the pyramids, and keeps the largest of each detail.",
        "Burt, Kolczynski 1993, doi:10.1109/ICCV.1993.378222",
        "laplacian:laplacian",
        (3, 11),
    ),
    Method(
        "gmc",
        "non-convex penalty",
        "Fits sparse wavelet coefficients under the sensor gains, with the non-convex GMC penalty.",
        "Anantrasirichai et al. 2020, arXiv:1905.09645",
        "gmc:gmc",
        (26, 1.5),
    ),
    Method(
        "l1",
        "L1 penalty",
        "Fits sparse wavelet coefficients under the sensor gains, with the L1 penalty.",
        "Anantrasirichai et al. 2020, arXiv:1905.09645",
        "gmc:l1",
        (26, 1.5),
    ),
    Method(
        "base-detail",
        "base and detail (VGG-19)",
        "Averages the smooth parts, and weighs the details by the features of a VGG-19.",
        "Li, Wu, Kittler 2018, arXiv:1804.06992",
        "base_detail:base_detail",
        (5, 270),
        needs_torch=True,
        needs_weights=True,
    ),
    Method(
        "densefuse",
        "DenseFuse",
        "Weighs the codes of a trained auto-encoder by their l1 norm, and decodes their sum.",
        "Li, Wu 2019, arXiv:1804.08361",
        "densefuse:densefuse",
        (5, 6),
        work_space=1e9,
        needs_torch=True,
    ),
)

METHODS: dict[str, Method] = {method.name: method for method in _REGISTERED}
"""Every method by name, the simplest first."""


def fuse_with(
    name: str,
    sources: Sequence[ArrayLike | Source] | GridSources,
    *,
    intensity: Intensity = "auto",
    **options: Any,
) -> Floats:
    """Fuse images of one scene with one of the methods of :data:`METHODS`.

    Parameters
    ----------
    name : str
        A key of :data:`METHODS`.
    sources : sequence of K >= 2 planes, volumes or series, or GridSources
        Images of any real type and any size, as arrays or :class:`~napari_dip_fusion.Source`
        objects, which are brought to the finest of their grids; see :func:`.bring_together` and
        :func:`.prepare_sources`. They are never modified. Color is fused by its luma and keeps
        its chroma.
    intensity : str or one entry per source
        How source values become [0, 1]; see :func:`.prepare_sources`.
    **options
        Options of the method; ``METHODS[name].options()`` lists them.

    Returns
    -------
    ndarray of shape (..., M, N), or (..., M, N, 3) if a source is in color
        float32 in [0, 1]. Methods but ``consensus`` fuse volumes and series plane by plane.

    Raises
    ------
    ValueError
        If the method or an option is unknown, or sources or values cannot be used.

    Notes
    -----
    A method knows nothing of how its sources came to one grid. :func:`~napari_dip_fusion.fuse`
    with the method ``consensus`` does: it looks for noise where a source was not interpolated yet,
    and gives it no weight where it saw nothing.

    Examples
    --------
    >>> import numpy as np
    >>> near, far = np.random.default_rng(0).random((2, 30, 41))
    >>> fused = fuse_with("wavelet", [near, far], levels=2)
    >>> fused.shape, fused.dtype
    ((30, 41), dtype('float32'))
    """
    leaf = _find_leaf(name, options)  # first, so that a misspelled name costs no preparation
    prepared = prepare_sources(bring_together(sources), intensity=intensity)
    fused = _apply(METHODS[name], leaf, prepared.images, prepared.steps, options)
    return prepared.add_color(fused)


def fuse_stack(name: str, images: Floats, steps: Sequence[float] = (), **options: Any) -> Floats:
    """Fuse sources that are prepared already with one of the methods of :data:`METHODS`.

    Parameters
    ----------
    name, **options
        As for :func:`fuse_with`.
    images : ndarray of shape (K, ..., M, N), float32 in [0, 1]
        Gray sources, such as :func:`.prepare_sources` returns.
    steps : sequence of float, optional
        Distance between neighbors along each axis, as of :class:`.PreparedSources`; 1 by default.

    Returns
    -------
    ndarray of shape (..., M, N), float32 in [0, 1]

    Raises
    ------
    ValueError
        If the method or an option is unknown, or a value cannot be used.
    """
    leaf = _find_leaf(name, options)
    return _apply(METHODS[name], leaf, images, steps, options)


def _apply(
    method: Method,
    leaf: Callable[..., Floats],
    images: Floats,
    steps: Sequence[float],
    options: dict[str, Any],
) -> Floats:
    """Return the fused image, plane by plane where the method is two-dimensional."""
    if not method.planar:
        return leaf(images, steps, **options)
    stack = images.shape[1:-2]
    fused = np.empty(images.shape[1:], dtype=np.float32)
    for index in np.ndindex(stack):
        checkpoint()
        np.clip(leaf(images[:, *index], **options), 0, 1, out=fused[index])
        advance(1)
    return fused


def _find_leaf(name: str, options: dict[str, Any]) -> Callable[..., Floats]:
    """Return the leaf function of a method, or raise ValueError if it has no such options."""
    if name not in METHODS:
        raise ValueError(f"unknown method {name!r}; the methods are {', '.join(METHODS)}")
    method = METHODS[name]
    known = method.options()
    for option in options:
        if option not in known:
            choice = f"its options are {', '.join(known)}" if known else "it has no options"
            raise ValueError(f"unknown option {option!r} of method {name!r}; {choice}")
    return method.load()
