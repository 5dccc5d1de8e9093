"""One run at a time in this napari, whatever widget or tab it was started from."""

import weakref

BUSY = (
    "another fusion or comparison is running in this napari; wait for it, or stop it, and try again"
)

# Two networks at once would halve each other's speed and double the memory.
_running: "weakref.WeakSet[object]" = weakref.WeakSet()


def require_turn() -> None:
    """Refuse a second run.

    Raises
    ------
    ValueError
        If one goes on.
    """
    if _running:
        raise ValueError(BUSY)


def take_turn(session: object) -> None:
    """Say that a session runs now; it is forgotten if the session goes."""
    _running.add(session)


def end_turn(session: object) -> None:
    """Say that a session runs no more."""
    _running.discard(session)


def turn_is_free() -> bool:
    """Tell whether no run goes on."""
    return not _running
