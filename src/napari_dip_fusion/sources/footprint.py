"""How wide the pixels of a source and its blur are, beside the pixels that are asked of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.sources.kernels import (
    measure_psf_steps,
    measure_widths,
    resample_kernel,
)
from napari_dip_fusion.sources.source import Source
from napari_dip_fusion.sources.units import find_factor

__all__ = ["Footprint", "Loss", "measure_footprint"]

Floats = NDArray[np.float32]
Matrix = NDArray[np.float64]

# From this ratio of its pixels to the reference's on a source is restored: below it,
# interpolation loses next to nothing.
_COARSE = 1.3

# Where all that is coarser is to be restored: headers round spacings of one grid.
_LARGER = 1.01

_ROUNDING = 1e-6

# A blur is counted from this standard deviation on, in pixels of the reference. A width at half
# maximum of 1.2 pixels is what such a pixel averages by itself, and nobody sees it taken back.
_SHOWN = 0.5

_WIDTH = float(np.sqrt(8 * np.log(2)))
"""Full width at half maximum of a Gaussian of standard deviation 1."""


@dataclass(frozen=True, eq=False)
class Loss:
    """What the sensor of a source lost of what the reference's pixels could show.

    Attributes
    ----------
    factors : tuple of int
        Into how many fine pixels a pixel of the source is divided along each of its axes.
    sigmas : tuple of float
        Standard deviation of the blur along each axis, in fine pixels.
    kernel : ndarray of odd sizes, float32, or None
        Measured point spread function on the fine pixels, of sum 1, in place of `sigmas`.
    text : str
        The same for people, in units of the world.
    """

    factors: tuple[int, ...]
    sigmas: tuple[float, ...]
    kernel: Floats | None
    text: str


@dataclass(frozen=True, eq=False)
class Footprint:
    """How wide the pixels of a source and its blur are, along each of its own axes.

    Attributes
    ----------
    ratios : tuple of float
        Distance of neighbors over that of the target's pixels in the same direction.
    blur : tuple of float
        Full width at half maximum of the blur, in these distances.
    sizes : tuple of float
        Sizes of a pixel in the world.
    stretch : tuple of float
        Distance of neighbors in sizes of a pixel: 1, or more in a plane that is cut obliquely
        through a volume.
    unit : str
        Unit of `sizes`.
    psf : ndarray or None
        Measured point spread function in place of `blur`.
    psf_steps : tuple of float
        Distance of its samples in the distances of neighbors.
    """

    ratios: tuple[float, ...]
    blur: tuple[float, ...]
    sizes: tuple[float, ...]
    stretch: tuple[float, ...]
    unit: str
    psf: NDArray[Any] | None = None
    psf_steps: tuple[float, ...] = ()

    def take_last(self, count: int) -> "Footprint":
        """Return the footprint along the last axes alone: that of a frame of a series."""
        first, psf = len(self.ratios) - count, self.psf
        if psf is not None:
            psf = psf.sum(axis=tuple(range(psf.ndim - count)))
        return Footprint(
            self.ratios[first:],
            self.blur[first:],
            self.sizes[first:],
            self.stretch[first:],
            self.unit,
            psf,
            self.psf_steps[-count:],
        )

    def find_loss(self, restore: str) -> Loss | None:
        """Return what is to be restored; None where the source shows all that the target can.

        Parameters
        ----------
        restore : {"auto", "always", "never"}
            As :class:`.RestorationSettings` has it.
        """
        if not self.loses(restore):
            return None
        factors = self._find_factors(restore)
        sigmas, kernel = (0.0,) * len(factors), None
        if any(self._shown) and self.psf is not None:
            steps = np.multiply(self.psf_steps, factors)
            kernel = resample_kernel(self.psf, steps.tolist())
        elif any(self._shown):
            widths = zip(self.blur, factors, self._shown, strict=True)
            sigmas = tuple(w / _WIDTH * f if shown else 0.0 for w, f, shown in widths)
        return Loss(factors, sigmas, kernel, self._describe(factors))

    def loses(self, restore: str = "always") -> bool:
        """Tell whether there is anything that :meth:`find_loss` would return."""
        lost = max(self._find_factors(restore)) > 1 or any(self._shown)
        return lost and restore != "never"

    @property
    def reach(self) -> tuple[int, ...]:
        """How many own pixels around a target its restoration looks at, along each axis."""
        return tuple(int(np.ceil(1 + 3 * sigma)) for sigma in self._deviations)

    @cached_property
    def _deviations(self) -> tuple[float, ...]:
        """Standard deviations of the blur in own pixels."""
        if self.psf is not None:
            return measure_widths(self.psf, self.psf_steps)
        return tuple(width / _WIDTH for width in self.blur)

    @property
    def _shown(self) -> tuple[bool, ...]:
        """Whether the pixels of the target could show more than the blur left, along each axis."""
        pairs = zip(self._deviations, self.ratios, strict=True)
        return tuple(sigma * ratio >= _SHOWN for sigma, ratio in pairs)

    @property
    def _distances(self) -> tuple[float, ...]:
        """Distances of neighbors in the world."""
        return tuple(size * far for size, far in zip(self.sizes, self.stretch, strict=True))

    def _find_factors(self, restore: str) -> tuple[int, ...]:
        least = _LARGER if restore == "always" else _COARSE - _ROUNDING
        # Pixels are not larger for lying obliquely.
        pairs = zip(self.ratios, self.stretch, strict=True)
        return tuple(_divide(ratio) if ratio / far >= least else 1 for ratio, far in pairs)

    def _describe(self, factors: tuple[int, ...]) -> str:
        text = f"pixels of {self._list_sizes(self.sizes)}"
        if max(factors) > 1:
            fine = [step / factor for step, factor in zip(self._distances, factors, strict=True)]
            text += f", restored to {self._list_sizes(fine)}"
        if not any(self._shown):
            return text
        if self.psf is not None:
            return f"{text}; blur as measured"
        widths = [width * step for width, step in zip(self.blur, self._distances, strict=True)]
        same = np.ptp(widths) < 1e-3 * max(widths)
        noun = " pixels" if self.unit == "pixel" else ""
        return f"{text}; blur of {self._list_sizes(widths[:1] if same else widths)}{noun}"

    def _list_sizes(self, sizes: Sequence[float]) -> str:
        # What counts pixels of some picture has no unit.
        unit = "" if self.unit == "pixel" else f" {self.unit}"
        return " x ".join(f"{size:.3g}" for size in sizes) + unit


def _divide(ratio: float) -> int:
    """Return into how many parts a larger pixel is divided: 2, 3 from 2.3 on, 4 from 3.3 on."""
    return max(int(np.floor(ratio + 2 - _COARSE + _ROUNDING)), 2)


def measure_footprint(source: Source, axes: Sequence[int], matrix: Matrix) -> Footprint:
    """Return how wide pixels and blur of a source are beside the pixels of a target.

    Parameters
    ----------
    source : Source
        The source, with n axes.
    axes : sequence of d int
        The axes of the source that the target runs along, in the order that is wanted.
    matrix : ndarray of shape (n + 1, d + 1)
        From :func:`.combine_affines`.
    """
    linear = matrix[:-1, :-1]
    # How far the target is moved by a step of one own pixel, along each axis.
    moves = np.linalg.inv(linear[list(axes)])
    steps = source.affine[:-1, :-1] @ linear @ moves
    unit = source.units[axes[-1]]
    scales = np.array([find_factor(own, unit) or 1.0 for own in source.units])
    distances = np.linalg.norm(scales[:, None] * steps, axis=0)
    sizes = (scales * source.spacing)[list(axes)]
    # The source says its blur along each axis in the unit of that one.
    widths = (scales * source.widths)[list(axes)]
    psf, psf_steps = _find_psf(source, axes, distances / sizes)
    return Footprint(
        ratios=tuple(np.linalg.norm(moves, axis=0).tolist()),
        blur=tuple((widths / distances).tolist()),
        sizes=tuple(sizes.tolist()),
        stretch=tuple((distances / sizes).tolist()),
        unit=unit,
        psf=psf,
        psf_steps=psf_steps,
    )


def _find_psf(
    source: Source, axes: Sequence[int], stretch: NDArray[np.float64]
) -> tuple[NDArray[Any] | None, tuple[float, ...]]:
    """Return the point spread function along some axes, and its steps in their distances."""
    psf = source.psf
    if psf is None:
        return None, ()
    space = source.space
    numbers = [space.index(axis) for axis in axes if axis in space]
    left = tuple(number for number in range(psf.ndim) if number not in numbers)
    values = psf.to_numpy().sum(axis=left, dtype=np.float64)
    own = measure_psf_steps(psf, source)[numbers]
    far = [far for axis, far in zip(axes, stretch, strict=True) if axis in space]
    return values.transpose(np.argsort(np.argsort(numbers))), tuple((own / far).tolist())
