"""What the sensor of a source made of the scene, on the source's own pixels, and the way back.

Where a sensor has larger pixels than the reference, or blurs, interpolation shows a blurred source.
An observation holds what is needed to restore it on its own grid: y = M S B x + n, with x on fine
pixels, which are the source's own divided by whole factors.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.interruption import checkpoint
from napari_dip_fusion.sources.footprint import Loss
from napari_dip_fusion.sources.own_pixels import OwnPixels
from napari_dip_fusion.sources.resample import cut_slabs, find_order, find_slices

__all__ = [
    "Observation",
    "ObservedFrames",
    "make_observation",
    "make_own_observation",
    "take_observation",
]

Field = NDArray[np.bool_] | None
Floats = NDArray[np.float32]
Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Observation:
    """A source as its sensor saw it, and what the sensor lost.

    Attributes
    ----------
    pixels : ndarray of shape (R, C) or (S, R, C), float32 in [0, 1]
        Of the source's own grid, in a box around the target. Of a plane cut from a volume, that
        plane on the volume's own rows and columns; of a colored source, its luma.
    factors : tuple of int
        Into how many fine pixels each of them is divided along each axis.
    sigmas : tuple of float
        Standard deviation of the blur along each axis, in fine pixels.
    matrix : ndarray of shape (d, d + 1)
        Target pixel (row, column, 1) to row and column of `pixels`.
    shape : tuple of int
        Sizes of the target.
    kernel : ndarray of odd sizes, float32, or None
        Measured point spread function on fine pixels, of sum 1, in place of `sigmas`.
    seen : ndarray of the shape of pixels, bool, or None
        Which of them were seen; None for all.
    inside : ndarray of the shape of the target, bool, or None
        Which pixels of the target lie in the source, and were seen; None for all.
    step : float
        Of a volume, the distance between its own planes, in its own pixels of a plane.
    noise_share : float
        Variance of the noise of `pixels` over that of the source, which is less than 1 for a
        plane between two planes of a volume.
    text : str
        What was lost, for people, in units of the world.
    """

    pixels: Floats
    factors: tuple[int, ...]
    sigmas: tuple[float, ...]
    matrix: Matrix
    shape: tuple[int, ...]
    kernel: Floats | None = None
    seen: Field = None
    inside: Field = None
    step: float = 1.0
    noise_share: float = 1.0
    text: str = ""

    @property
    def is_degraded(self) -> bool:
        """Whether the sensor lost anything."""
        return max(self.factors) > 1 or max(self.sigmas) > 0 or self.kernel is not None

    @property
    def fine_shape(self) -> tuple[int, ...]:
        """Sizes of the image on fine pixels."""
        sizes = zip(self.pixels.shape, self.factors, strict=True)
        return tuple(size * factor for size, factor in sizes)

    def describe(self) -> str:
        """Return what was lost, as in ``"pixels of 4 x 4 mm, restored to 1 x 1 mm"``."""
        return self.text

    def to_target(self, fine: Floats, fallback: Floats) -> Floats:
        """Return an image on fine pixels at the pixels of the target.

        Parameters
        ----------
        fine : ndarray of shape fine_shape, float32
            The restored source.
        fallback : ndarray of the shape of the target, float32
            Values where the source saw nothing, such as the interpolated source.

        Returns
        -------
        ndarray of the shape of the target, float32 in [0, 1]
            The fine pixels themselves where they are those of the target, else cubic splines
            through them.
        """
        matrix = self._find_fine_matrix()
        index = find_slices(
            fine.shape, np.vstack([matrix, np.eye(len(matrix) + 1)[-1]]), self.shape
        )
        if index is not None:
            order = find_order(np.vstack([matrix, np.eye(len(matrix) + 1)[-1]]))
            image = np.clip(fine[index].transpose(order), 0, 1)
        else:
            image = _interpolate(fine, matrix, self.shape)
        if self.inside is not None:
            np.copyto(image, fallback, where=~self.inside)
        return image

    def _find_fine_matrix(self) -> Matrix:
        """Return the matrix from target pixels to fine pixels."""
        factors = np.array(self.factors, float)
        matrix = factors[:, None] * self.matrix
        # Whole numbers are middles: the first fine pixel lies half of it within its pixel.
        matrix[:, -1] += (factors - 1) / 2
        return matrix


@dataclass(frozen=True, eq=False)
class ObservedFrames:
    """The observations of the frames of a series, which are read when they are asked for.

    Attributes
    ----------
    find : callable
        Takes the index of a frame, and returns its :class:`Observation`, or None.
    axes : int
        How many numbers an index has.
    text : str
        What was lost of each frame, for people.
    """

    find: Callable[[tuple[int, ...]], Observation | None]
    axes: int
    text: str

    def take(self, index: tuple[int, ...]) -> Observation | None:
        """Return the observation of a frame; None of a part of a frame."""
        return self.find(index) if len(index) == self.axes else None

    def describe(self) -> str:
        """Return what was lost of each frame, as of :meth:`Observation.describe`."""
        return self.text


def take_observation(
    observation: Observation | ObservedFrames | None, index: tuple[int, ...]
) -> Observation | None:
    """Return the observation of a frame.

    Parameters
    ----------
    observation : Observation, ObservedFrames or None
        Of all frames.
    index : tuple of int
        Of the frame; empty where there is but one.
    """
    if isinstance(observation, ObservedFrames):
        return observation.take(index)
    # A volume is restored as a whole, or not at all.
    return observation if not index else None


def make_observation(image: Floats, loss: Loss, inside: Field, step: float) -> Observation:
    """Return the observation of a source whose own pixels are those of the target.

    Parameters
    ----------
    image : ndarray, float32 in [0, 1]
    loss : Loss
    inside : ndarray of the shape of the image, bool, or None
    step : float
        As of :class:`Observation`.
    """
    identity = np.eye(image.ndim, image.ndim + 1)
    return Observation(
        image,
        loss.factors,
        loss.sigmas,
        identity,
        image.shape,
        kernel=loss.kernel,
        seen=inside,
        inside=inside,
        step=step,
        text=loss.text,
    )


def make_own_observation(own: OwnPixels, loss: Loss) -> Observation:
    """Return the observation of a source that was interpolated.

    Parameters
    ----------
    own : OwnPixels
        In gray and in [0, 1].
    loss : Loss
    """
    return Observation(
        np.asarray(own.plane, np.float32),
        loss.factors,
        loss.sigmas,
        own.matrix,
        own.inside.shape,
        kernel=loss.kernel,
        seen=own.plane_seen,
        inside=None if own.inside.all() else own.inside,
        step=own.step,
        noise_share=float(own.variance_share.mean()),
        text=loss.text,
    )


def _interpolate(fine: Floats, matrix: Matrix, shape: tuple[int, ...]) -> Floats:
    """Return cubic splines through an image at the pixels of a target, clipped to [0, 1]."""
    # Sources on one grid need no SciPy, whose import takes a quarter of a second.
    from scipy import ndimage

    image = np.empty(shape, dtype=np.float32)
    coefficients = ndimage.spline_filter(fine, order=3, output=np.float32, mode="reflect")
    for slab in cut_slabs(shape):
        checkpoint()
        ndimage.affine_transform(
            coefficients,
            matrix[:, :-1],
            matrix[:, -1] + slab.start * matrix[:, 0],
            output_shape=image[slab].shape,
            output=image[slab],
            prefilter=False,
            mode="reflect",
        )
    return np.clip(image, 0, 1, out=image)
