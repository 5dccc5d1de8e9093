"""A question before something is done that cannot be undone."""

from qtpy.QtWidgets import QMessageBox, QWidget


def ask(parent: QWidget, question: str) -> bool:
    """Ask a question with the answers yes and no, and tell whether it was yes."""
    answers = QMessageBox.StandardButton
    # No is what Enter chooses.
    answer = QMessageBox.question(
        parent, "DIP Fusion", question, answers.Yes | answers.No, answers.No
    )
    return bool(answer == answers.Yes)
