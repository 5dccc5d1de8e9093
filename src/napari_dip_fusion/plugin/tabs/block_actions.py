"""What the form of runs block by block says, and what becomes of runs that were not finished."""

from collections.abc import Callable

from napari_dip_fusion.plugin.forms.planner import Planner, explain_blocks, list_blocks
from napari_dip_fusion.plugin.forms.question import ask
from napari_dip_fusion.plugin.running.active_runs import has_active_run
from napari_dip_fusion.plugin.running.block_choice import BlockChoice, describe_blocks
from napari_dip_fusion.plugin.running.fusion_session import FusionSession
from napari_dip_fusion.plugin.running.plan import Plan
from napari_dip_fusion.plugin.running.run_events import Failed
from napari_dip_fusion.plugin.running.tasks import Tasks
from napari_dip_fusion.plugin.tabs.run_panel import RunPanel


class BlockActions:
    """Says what a run block by block needs, and removes what is left of one.

    Parameters
    ----------
    planner : Planner
    session : FusionSession
    panel : RunPanel
    update : callable
        Called when something else can be started now.
    """

    def __init__(
        self,
        planner: Planner,
        session: FusionSession,
        panel: RunPanel,
        update: Callable[[], None],
    ) -> None:
        self._form, self._session, self._panel, self._update = (
            planner.blocks,
            session,
            panel,
            update,
        )
        self._tasks = Tasks(self)
        self._form.choice_changed.connect(update)
        self._form.anew_wanted.connect(self.throw_away)
        session.phase_changed.connect(self._follow_run)

    def show_need(self, plan: Plan, choice: BlockChoice, *, gains: bool) -> None:
        """Say whether a run can start, and what it needs.

        Parameters
        ----------
        plan : Plan
        choice : BlockChoice
            That of the plan.
        gains : bool
            Whether gain maps can be computed.
        """
        self._form.say("" if has_active_run() else explain_blocks(plan))
        try:
            sources = [reader.source for reader in plan.readers]
            line = describe_blocks(list_blocks(plan), choice, sources)
        except ValueError as error:
            self._panel.set_ready(False, gains, str(error))
            return
        self._panel.set_ready(True, gains, line, resumes=choice.resumes)

    def throw_away(self) -> None:
        """Remove what is left of a run that was not finished, if that is meant."""
        choice = self._form.take()
        question = f"Remove the unfinished fusion {choice.folder} from the disk?"
        # The button is out of sight while another run goes on, which may be this one.
        if has_active_run() or not ask(self._panel.native, question):
            return
        self._session.drop_unfinished(choice)
        # In a thread: it may be many files.
        self._tasks.start(choice.throw_away, BlockActions._show_thrown_away, choice)

    def close(self) -> None:
        """Receive nothing any more; the Qt part may be gone already."""
        self._tasks.close()

    def _follow_run(self) -> None:
        """Say no more of an unfinished run while it goes on."""
        if has_active_run():
            self._form.say("")

    def _show_thrown_away(self, choice: BlockChoice, failed: Failed | None) -> None:
        removed = f"removed: {choice.folder}"
        self._panel.message.say(removed if failed is None else failed.message)
        self._form.refresh()
        self._update()
