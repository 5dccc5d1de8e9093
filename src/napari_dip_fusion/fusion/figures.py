"""Figures of a fusion, drawn off screen."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from napari_dip_fusion.fusion.result import FusionResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_fusion(result: FusionResult, names: Sequence[str]) -> "Figure":
    """Draw the sources, the gains of each band, the fused image, the consensus and the losses.

    Parameters
    ----------
    result : FusionResult
    names : sequence of str
        Names of the sources.

    Returns
    -------
    matplotlib.figure.Figure
        Save it with ``savefig``; no window is opened.
    """
    from matplotlib.figure import Figure

    bands = result.gain_bands
    columns, rows = max(len(names), 3), 2 + len(bands)
    figure = Figure(figsize=(3 * columns, 3 * rows), layout="constrained")
    axes = figure.subplots(rows, columns)
    for ax, name, image in zip(axes[0], names, result.sources.images, strict=False):
        _show(ax, image, name, "gray")
    for line, (band, gains) in zip(axes[1:-1], bands.items(), strict=True):
        for ax, name, gain in zip(line, names, gains, strict=False):
            _show(ax, gain, f"{name} {band}", "viridis")
    if result.consensus is not None:
        _show(axes[-1, 0], result.consensus, "consensus", "gray")
    _show(axes[-1, 1], result.image, "fused", "gray")
    if len(result.losses):
        _plot_losses(axes[-1, 2], result)
    for ax in figure.axes:
        if not ax.has_data():
            ax.set_axis_off()
    return figure


def _show(ax: "Axes", image: NDArray[Any], title: str, colormap: str) -> None:
    ax.imshow(image, cmap=colormap, vmin=0, vmax=1)
    ax.set_title(title, fontsize=10)
    ax.set_axis_off()


def _plot_losses(ax: "Axes", result: FusionResult) -> None:
    curves: Mapping[str, NDArray[Any]] = {"loss": result.losses, "excess": result.excess}
    for label, values in curves.items():
        ax.semilogy(range(1, len(values) + 1), values, label=label)
    ax.set_xlabel("iteration")
    ax.set_title("loss and excess", fontsize=10)
    ax.legend()
