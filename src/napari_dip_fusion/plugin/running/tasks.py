"""Calls in worker threads, for a widget that may have gone when they return."""

import weakref
from collections.abc import Callable
from threading import Event
from typing import Any

from napari_dip_fusion.plugin.running.worker import start_task


class Tasks:
    """Starts calls for an owner, and drops what comes of them once it has gone.

    Parameters
    ----------
    owner : object
        Only referred to weakly.
    """

    def __init__(self, owner: object) -> None:
        self._owner = weakref.ref(owner)
        self._closed = Event()

    def start(self, call: Callable[[], Any], receive: Callable[..., None], *arguments: Any) -> None:
        """Run a call in a thread, then a method of the owner with what came of it.

        Nothing is received, and nothing held, when the owner has gone by then.

        Parameters
        ----------
        call : callable
            Takes nothing.
        receive : callable
            Gets the owner, the arguments, and the value of the call or a
            :class:`~napari_dip_fusion.plugin.running.worker.Failed`; an unbound method.
        *arguments
        """
        there, closed, once = self._owner, self._closed, [arguments]

        def deliver(value: Any) -> None:
            owner, given = there(), once.pop()
            if owner is not None and not closed.is_set():
                receive(owner, *given, value)

        start_task(call, deliver)

    def close(self) -> None:
        """Receive nothing any more."""
        self._closed.set()
