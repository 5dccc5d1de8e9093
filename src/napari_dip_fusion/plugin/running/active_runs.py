"""The run of this napari: one at a time, from whatever tab."""

import weakref

BUSY = (
    "another fusion or comparison is running in this napari; wait for it, or stop it, and try again"
)

# Two networks at once would halve each other's speed and double the memory.
_active: "weakref.WeakSet[object]" = weakref.WeakSet()


def refuse_second_run() -> None:
    """Raise an error if a run goes on.

    Raises
    ------
    ValueError
        If one does.
    """
    if _active:
        raise ValueError(BUSY)


def add_run(session: object) -> None:
    """Note that a session runs from now on; it is forgotten if the session is deleted."""
    _active.add(session)


def remove_run(session: object) -> None:
    """Note that a session runs no more."""
    _active.discard(session)


def has_active_run() -> bool:
    """Tell whether a run goes on."""
    return bool(_active)
