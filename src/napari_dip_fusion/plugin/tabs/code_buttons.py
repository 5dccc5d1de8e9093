"""The buttons that put a run on the clipboard as code."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from magicgui.widgets import Container, PushButton
from magicgui.widgets.bases import Widget
from napari import Viewer
from psygnal import Signal
from qtpy.QtWidgets import QApplication

from napari_dip_fusion.fusion import Done
from napari_dip_fusion.plugin.forms.planner import Planner
from napari_dip_fusion.plugin.running.export import (
    describe_run,
    is_continued,
    is_cut_short,
    pin_config,
    write_command,
    write_script,
)
from napari_dip_fusion.plugin.running.fusion_session import FusionSession
from napari_dip_fusion.plugin.running.plan import Plan, name_as_now
from napari_dip_fusion.plugin.running.provenance import Provenance, find_provenance
from napari_dip_fusion.plugin.running.run_events import Discarded, Failed
from napari_dip_fusion.plugin.running.tasks import Tasks

_NEXT_RUN = "a run of the ticked layers as set now"
_NOT_STOPPED = ".\nIt makes all iterations, and so another image: this run was stopped"
_AT_ONCE = ".\nIt makes all iterations at once, and so another image: this run was continued"


class CodeButtons(Container[Widget]):
    """Copy the last run, or the next one before there was any, as a script or a command.

    Emits ``told`` with what came of it, a line for the user.

    Parameters
    ----------
    viewer : napari.Viewer
    planner : Planner
    session : FusionSession
    """

    told = Signal(str)

    def __init__(self, viewer: Viewer, planner: Planner, session: FusionSession) -> None:
        self.script_button = PushButton(text="Copy as script")
        self.command_button = PushButton(text="Copy as command")
        super().__init__(
            widgets=[self.script_button, self.command_button], layout="horizontal", labels=False
        )
        self._viewer = viewer
        self._planner = planner
        self._session = session
        self._tasks = Tasks(self)
        self._last_plan: Plan | None = None
        self._provenance: Provenance | None = None
        self.margins = (0, 0, 0, 0)
        self._name_run(_NEXT_RUN)
        self.script_button.changed.connect(self.copy_script)
        self.command_button.changed.connect(self.copy_command)
        session.reported.connect(self._follow)

    def begin(self, plan: Plan) -> None:
        """Take note of a run that has started."""
        # Kept even if the run is discarded: the user may want its script. What it reads is kept
        # until the run has told which files hold that.
        self._last_plan, self._provenance = plan.drop_layers(), None
        self._name_run(describe_run(plan, made=True))

    def copy_script(self) -> None:
        """Put a script on the clipboard that repeats the last run, or would make the next."""
        self._copy(write_script)

    def copy_command(self) -> None:
        """Put a command on the clipboard that repeats the last run, or would make the next."""
        self._copy(write_command)

    def close_tasks(self) -> None:
        """Receive nothing any more; the Qt part may be gone already."""
        self._tasks.close()

    def _name_run(self, run: str) -> None:
        """Say in the tooltips what the buttons copy, whatever is ticked since."""
        self.script_button.tooltip = f"Python code for napari: {run}."
        self.command_button.tooltip = f"A command for a terminal, on the files: {run}."

    def _follow(self, event: Any) -> None:
        if isinstance(event, Provenance) and self._last_plan is not None:
            self._last_plan, self._provenance = self._last_plan.drop_data(), event
        elif isinstance(event, Done | Failed | Discarded) and self._provenance is None:
            # The run has read nothing: there is nothing to repeat.
            self._last_plan = None
            self._name_run(_NEXT_RUN)

    def _copy(self, write: Callable[[Plan, Provenance], str]) -> None:
        made = self._last_plan is not None
        try:
            plan = self._last_plan or self._planner.take()
        except ValueError as error:
            self.told.emit(str(error))
            return
        config = pin_config(plan.config, self._session.result if made else None)
        plan = replace(name_as_now(plan, self._viewer), config=config)
        if made and self._provenance is not None:
            self._show(write, plan, made, self._provenance)
        elif not any(plan.origins):
            self._show(write, plan, made, find_provenance(plan))
        else:
            # In a thread: whether the files hold the layers is seen by reading both.
            self.told.emit("looking what the files hold")
            call = partial(find_provenance, plan.drop_layers())
            self._tasks.start(call, CodeButtons._show, write, plan.drop_data(), made)

    def _show(
        self,
        write: Callable[[Plan, Provenance], str],
        plan: Plan,
        made: bool,
        provenance: Provenance | Failed,
    ) -> None:
        try:
            if isinstance(provenance, Failed):
                raise ValueError(provenance.message)
            text = write(plan, provenance)
        except ValueError as error:
            self.told.emit(str(error))
            return
        QApplication.clipboard().setText(text)
        told = f"copied to the clipboard: {describe_run(plan, made=made)}"
        if made and is_cut_short(self._session.result):
            told += _NOT_STOPPED
        elif made and is_continued(self._session.result):
            told += _AT_ONCE
        self.told.emit(told)
