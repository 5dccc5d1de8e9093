"""Make the images that a fusion has to beat: they take no optimization and no training."""

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.methods.average import average
from napari_dip_fusion.methods.maximum import maximum

Floats = NDArray[np.float32]

BASELINES = {
    "consensus": "The closed-form image that the fusion aims at.",
    "average": "The mean of the prepared sources, pixel by pixel.",
    "maximum": "The largest of the prepared sources, pixel by pixel.",
}
"""The label of each baseline, with one sentence for a tooltip, in the order of a table's rows."""


def make_baselines(images: Floats, consensus: Floats | None) -> dict[str, Floats]:
    """Return the baselines of some sources, by their labels in :data:`BASELINES`.

    Every table of metrics shows them beside a fused image: the maximum alone scores high on edges
    and mutual information, and the consensus image is what the network is fitted to.

    Parameters
    ----------
    images : ndarray of shape (K, ..., M, N), float32 in [0, 1]
        The prepared sources.
    consensus : ndarray of shape (..., M, N), float32, or None
        Their consensus image T, which gains of unit norm take above 1; without one, its row is
        left out.

    Returns
    -------
    dict of str to ndarray of shape (..., M, N), float32 in [0, 1]
    """
    baselines = zip(BASELINES, (consensus, average(images), maximum(images)), strict=True)
    return {name: np.clip(image, 0, 1) for name, image in baselines if image is not None}
