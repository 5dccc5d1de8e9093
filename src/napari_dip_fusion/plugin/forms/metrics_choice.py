"""The choice of the metrics to compute."""

from collections.abc import Sequence

from magicgui.widgets import CheckBox

from napari_dip_fusion.metrics import DEFAULT_METRICS, METRICS


class MetricsChoice(CheckBox):
    """Ticked for all metrics, otherwise for those of the paper."""

    def __init__(self) -> None:
        # All of them take several times as long, and do not fit the narrowest window.
        tip = f"All {len(METRICS)} metrics, in place of the {len(DEFAULT_METRICS)} of the paper."
        super().__init__(text="All metrics", tooltip=tip)

    def get_names(self) -> Sequence[str]:
        """Return the names of the metrics to compute."""
        return list(METRICS) if self.value else DEFAULT_METRICS
