"""What a source's sensor does to the image sought, exactly inverted as far as the data tell."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, reduce
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_dip_fusion.interruption import checkpoint
from napari_dip_fusion.operators.convolution import Convolution
from napari_dip_fusion.operators.separable import (
    Decomposition,
    Floats,
    decompose,
    make_matrix,
    multiply,
)

# Own pixels along an axis up to which its matrix is decomposed, which takes some 10 s for as many
# and grows with their cube. Conjugate gradients do longer axes.
_LONGEST = 4096

# Conjugate gradients end after so many steps, or when the residual is this small a part of what it
# was: beyond that, the rounding of float32 shows.
_STEPS = 30
_TOLERANCE = 1e-5


@dataclass(frozen=True, eq=False)
class Degradation:
    """The operator A = M S B of the model y = A x + n of a source.

    Fine pixels are own pixels of the source divided by whole factors along each axis. B blurs
    them, S takes the mean of those in each own pixel, and M leaves out what was not seen. Beyond
    its ends, an image is continued by its mirror image.

    Parameters
    ----------
    shape : tuple of int
        Shape of the source's own pixels, two or three axes.
    factors : tuple of int
        Fine pixels in an own pixel along each axis, 1 or more.
    sigmas : tuple of float
        Standard deviation of the Gaussian blur along each axis in fine pixels, 0 or more.
    kernel : ndarray, optional
        A measured point spread function in fine pixels, which blurs beside the Gaussian. It has
        odd sizes, is finite, and is divided by its sum, which is above 0.
    seen : ndarray of shape `shape`, bool, optional
        False for own pixels that were not seen.

    Raises
    ------
    ValueError
        If an argument has no such value, or shapes do not fit.
    """

    shape: tuple[int, ...]
    factors: tuple[int, ...]
    sigmas: tuple[float, ...]
    kernel: NDArray[np.floating] | None = None
    seen: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        _check_axes(self.shape, self.factors, self.sigmas)
        if self.kernel is not None:
            kernel = _check_kernel(np.asarray(self.kernel, dtype=float), len(self.shape))
            object.__setattr__(self, "kernel", kernel.astype(np.float32))
        if self.seen is not None:
            seen = _check_seen(np.asarray(self.seen, dtype=bool), self.shape)
            object.__setattr__(self, "seen", None if seen.all() else seen)

    @property
    def fine_shape(self) -> tuple[int, ...]:
        """The shape of the image sought."""
        return tuple(n * f for n, f in zip(self.shape, self.factors, strict=True))

    @property
    def is_identity(self) -> bool:
        """Whether the source saw all of the image as it is."""
        whole = self.kernel is None and self.seen is None
        return whole and all(matrix is None for matrix in self._sparse)

    @property
    def is_separable(self) -> bool:
        """Whether A is the product with one of the `matrices` along each axis."""
        return self.kernel is None and self.seen is None

    @cached_property
    def matrices(self) -> tuple[Floats, ...]:
        """The matrix D of shape (own pixels, fine pixels) of each axis, of S B without a kernel."""
        return tuple(make_matrix(*axis).toarray() for axis in self._axes)

    @property
    def decompositions(self) -> tuple[Decomposition, ...]:
        """What :meth:`solve` computes with: U and L with D D^T = U diag(L) U^T for each axis."""
        return tuple(decompose(*axis) for axis in self._axes)

    def apply(self, image: Floats) -> Floats:
        """Return what the source sees of an image: A x, of shape `shape`; 0 where not seen."""
        _check_shape("image", image, self.fine_shape)
        if self._convolution is not None:
            image = self._convolution.apply(image)
        return self._hide(multiply(image, self._sparse))

    def adjoint(self, pixels: Floats) -> Floats:
        """Return A^T y of some own pixels y, of shape `fine_shape`."""
        _check_shape("pixels", pixels, self.shape)
        transposed = [None if m is None else m.T for m in self._sparse]
        image = multiply(self._hide(pixels), transposed)
        return image if self._convolution is None else self._convolution.adjoint(image)

    def solve(self, pixels: Floats, image: Floats, ratio: float) -> Floats:
        """Return the image nearest to another one that explains the source's own pixels.

        It is argmin_x ||A x - pixels||^2 + ratio ||x - image||^2, of closed form where A is
        separable, and by at most 30 steps of conjugate gradients that start at `image` where
        not.

        Parameters
        ----------
        pixels : ndarray of shape `shape`, float32
            Those not seen count for nothing.
        image : ndarray of shape `fine_shape`, float32
        ratio : float
            Above 0: the variance of the noise over that of `image`.

        Returns
        -------
        ndarray of shape `fine_shape`, float32

        Notes
        -----
        With D = U diag(S) V^T along each axis, the solution is image + A^T w, where
        (A A^T + ratio) w = pixels - A image. So all but the products with A happens on the
        source's own pixels, of which there are fewer, and where U makes A A^T diagonal.
        """
        if not ratio > 0:
            raise ValueError(f"ratio must be above 0, got {ratio}")
        gap = self._hide(pixels) - self.apply(image)
        if not self._is_decomposed:
            weights = self._conjugate(gap, ratio, lambda own: own)
        elif self.seen is None:
            weights = self._divide(gap, ratio)
        else:
            # What would solve the same source without a mask is nearly right beside one.
            weights = self._conjugate(gap, ratio, lambda own: self._hide(self._divide(own, ratio)))
        return image + self.adjoint(weights)

    def interpolate(self, pixels: Floats) -> Floats:
        """Return own pixels on the fine ones by cubic splines, the nearest seen where not seen."""
        _check_shape("pixels", pixels, self.shape)
        if self.seen is not None:
            nearest = ndimage.distance_transform_edt(
                ~self.seen, return_distances=False, return_indices=True
            )
            pixels = pixels[tuple(nearest)]
        if all(factor == 1 for factor in self.factors):
            return pixels
        checkpoint()
        fine: Floats = ndimage.affine_transform(
            pixels,
            [1 / factor for factor in self.factors],
            [0.5 / factor - 0.5 for factor in self.factors],
            self.fine_shape,
            mode="reflect",
        )
        return fine

    @property
    def _axes(self) -> tuple[tuple[int, int, float], ...]:
        return tuple(zip(self.shape, self.factors, self.sigmas, strict=True))

    @cached_property
    def _sparse(self) -> tuple[Any, ...]:
        """The matrix of each axis, None where it is the identity."""
        matrices = (make_matrix(*axis) for axis in self._axes)
        return tuple(None if m.nnz == m.shape[1] == m.shape[0] else m for m in matrices)

    @cached_property
    def _convolution(self) -> Convolution | None:
        return None if self.kernel is None else Convolution(self.kernel, self.fine_shape)

    @property
    def _is_decomposed(self) -> bool:
        changed = (n for n, m in zip(self.shape, self._sparse, strict=True) if m is not None)
        return self.kernel is None and max(changed, default=0) <= _LONGEST

    def _hide(self, pixels: Floats) -> Floats:
        return pixels if self.seen is None else np.where(self.seen, pixels, np.float32(0))

    def _divide(self, pixels: Floats, ratio: float) -> Floats:
        """Return (S B B^T S^T + ratio)^-1 of own pixels, by the decompositions."""
        parts = [
            None if matrix is None else decompose(*axis)
            for matrix, axis in zip(self._sparse, self._axes, strict=True)
        ]
        values = (np.ones(1, np.float32) if part is None else part.values for part in parts)
        eigenvalues: Floats = reduce(np.multiply, np.ix_(*values))
        pixels = multiply(pixels, [None if p is None else p.vectors.T for p in parts])
        pixels = np.divide(pixels, eigenvalues + np.float32(ratio))
        return multiply(pixels, [None if p is None else p.vectors for p in parts])

    def _conjugate(
        self, gap: Floats, ratio: float, precondition: Callable[[Floats], Floats]
    ) -> Floats:
        """Return w with (A A^T + ratio) w = gap by preconditioned conjugate gradients."""
        weights, residual = np.zeros_like(gap), gap.copy()
        nearer = direction = precondition(residual)
        product = _dot(residual, nearer)
        enough = product * _TOLERANCE**2
        for _ in range(_STEPS):
            if product <= enough:
                break
            checkpoint()
            image = self.apply(self.adjoint(direction))
            image += np.float32(ratio) * direction
            length = np.float32(product / _dot(direction, image))
            weights += length * direction
            residual -= length * image
            nearer = precondition(residual)
            before, product = product, _dot(residual, nearer)
            direction = nearer + np.float32(product / before) * direction
        return weights


def _dot(one: Floats, other: Floats) -> float:
    return float(np.vdot(one, other))


def _check_axes(
    shape: tuple[int, ...], factors: tuple[int, ...], sigmas: tuple[float, ...]
) -> None:
    if not len(shape) == len(factors) == len(sigmas):
        raise ValueError(
            "shape, factors and sigmas must have one entry an axis, got "
            f"{shape}, {factors} and {sigmas}"
        )
    if not prod(shape) > 0:
        raise ValueError(f"shape must have at least one pixel along each axis, got {shape}")
    if not all(factor == int(factor) >= 1 for factor in factors):
        raise ValueError(f"factors must be whole numbers from 1, got {factors}")
    if not all(0 <= sigma < np.inf for sigma in sigmas):
        raise ValueError(f"sigmas must be finite and 0 or more, in fine pixels, got {sigmas}")


def _check_kernel(kernel: NDArray[np.floating], axes: int) -> NDArray[np.floating]:
    """Return a kernel of sum 1."""
    if kernel.ndim != axes or not all(size % 2 for size in kernel.shape):
        raise ValueError(
            f"kernel must have {axes} axes of odd sizes, with its middle where a point is, got "
            f"shape {kernel.shape}"
        )
    total = kernel.sum()
    if not 0 < total < np.inf:
        raise ValueError(f"kernel must be finite with a sum above 0, got the sum {total}")
    normalized: NDArray[np.floating] = kernel / total
    return normalized


def _check_seen(seen: NDArray[np.bool_], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    _check_shape("seen", seen, shape)
    if not seen.any():
        raise ValueError("seen must be true for at least one pixel, got none")
    return seen


def _check_shape(name: str, array: NDArray[Any], shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
