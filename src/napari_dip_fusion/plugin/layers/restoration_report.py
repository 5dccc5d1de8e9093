"""Which layers a fusion restores, and why, as it is known before any pixel is read."""

import numpy as np

from napari_dip_fusion.plugin.layers.plane_reader import PlaneReader
from napari_dip_fusion.plugin.layers.whole_reader import WholeReader
from napari_dip_fusion.sources.footprint import Footprint, Loss


def describe_restoration(reader: PlaneReader | WholeReader, reference: str, restore: str) -> str:
    """Say that a layer is restored, and why; empty where there is nothing to restore.

    Parameters
    ----------
    reader : PlaneReader or WholeReader
        What is read of the layer.
    reference : str
        Name of the layer whose grid the result takes.
    restore : {"auto", "always", "never"}
        As the settings have it. Where they say never, the line tells what is left as it is.
    """
    footprint = reader.find_footprint()
    is_wanted = restore != "never"
    if footprint is None:
        return ""
    loss = footprint.find_loss(restore if is_wanted else "auto")
    if loss is None:
        return ""
    reasons = [*_describe_pixels(footprint, loss, reference), *_describe_blur(footprint, loss)]
    why = f"{reader.name} is restored" if is_wanted else f"{reader.name} is not restored, as set"
    return f"{why}: {' and '.join(reasons)}"


def _describe_pixels(footprint: Footprint, loss: Loss, reference: str) -> list[str]:
    """Say how much larger the pixels are, from the first axis to the last where they differ."""
    if max(loss.factors) == 1:
        return []
    ratios = [f"{ratio:.2g}" for ratio in footprint.ratios]
    times = ratios[0] if len(set(ratios)) == 1 else " x ".join(ratios)
    return [f"its pixels are {times} times those of {reference}"]


def _describe_blur(footprint: Footprint, loss: Loss) -> list[str]:
    if loss.kernel is not None:
        return ["its blur was measured"]
    if not any(loss.sigmas):
        return []
    widths = np.multiply(footprint.blur, footprint.sizes)[np.array(loss.sigmas) > 0]
    same = np.ptp(widths) < 1e-3 * widths.max()
    listed = " x ".join(f"{width:.3g}" for width in (widths[:1] if same else widths))
    return [f"its blur is {listed} {footprint.unit} wide"]
