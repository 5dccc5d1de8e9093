"""Calls in worker threads, for a widget that may have gone when they return."""

import weakref
from collections.abc import Callable
from threading import Event
from typing import Any

from napari_dip_fusion.fusion import Control
from napari_dip_fusion.plugin.running.worker import start_call


class Tasks:
    """Starts calls for an owner, and drops what comes of them once the owner has gone.

    Parameters
    ----------
    owner : object
        It is held by a weak reference only.
    """

    def __init__(self, owner: object) -> None:
        self._owner = weakref.ref(owner)
        # Beside the weak reference: an owner may be closed long before it is deleted.
        self._closed = Event()

    def start(
        self,
        call: Callable[[], Any],
        receive: Callable[..., None],
        *arguments: Any,
        control: Control | None = None,
    ) -> None:
        """Run a call in a thread, then a method of the owner with what came of it.

        Nothing is received, and nothing held, when the owner has gone by then.

        Parameters
        ----------
        call : callable
            Takes nothing.
        receive : callable
            Gets the owner, the arguments, and the value of the call or a
            :class:`~napari_dip_fusion.plugin.running.run_events.Failed`; an unbound method.
        *arguments
        control : Control, optional
            Of the call; it is stopped when the program exits.
        """
        # napari keeps the worker and with it this function: it must give the arguments away.
        owner_ref, closed, waiting = self._owner, self._closed, [arguments]

        def deliver(value: Any) -> None:
            owner, given = owner_ref(), waiting.pop()
            if owner is not None and not closed.is_set():
                receive(owner, *given, value)

        start_call(call, deliver, control)

    def close(self) -> None:
        """Receive nothing any more."""
        self._closed.set()
