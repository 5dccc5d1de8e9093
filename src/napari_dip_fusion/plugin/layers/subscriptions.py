"""Connections to napari's events that can be ended together."""

from collections.abc import Callable
from typing import Any


class Subscriptions:
    """Holds event connections, and ends them at once when a widget goes.

    A Qt object that was deleted must not be called by a layer that lives on.
    """

    def __init__(self) -> None:
        self._pairs: list[tuple[Any, Callable[..., None]]] = []

    def connect(self, emitter: Any, callback: Callable[..., None]) -> None:
        """Call a bound method at each event of a napari emitter."""
        # napari holds bound methods weakly, and calls them with the event only if they take it.
        emitter.connect(callback)
        self._pairs.append((emitter, callback))

    def close(self) -> None:
        """End all connections; the object can be used again."""
        for emitter, callback in self._pairs:
            emitter.disconnect(callback)
        self._pairs.clear()
