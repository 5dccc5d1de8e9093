"""Long computations ask here, between two of their steps, whether they are still wanted."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

# The sensor, the methods and the metrics know nothing of runs and their controls. What they ask
# belongs to the run in whose thread, or in whose copied context, they compute.
_ask: ContextVar[Callable[[], None] | None] = ContextVar("ask", default=None)


@contextmanager
def make_interruptible(ask: Callable[[], None]) -> Iterator[None]:
    """Let computations within this context be interrupted.

    Parameters
    ----------
    ask : callable
        Called at each :func:`checkpoint`; raises an exception to end the computation, or returns,
        perhaps after a while, to let it go on.
    """
    token = _ask.set(ask)
    try:
        yield
    finally:
        _ask.reset(token)


def checkpoint() -> None:
    """Raise the exception of whoever wants the present computation to end; else do nothing.

    Loops that take longer than a blink call it once in each of their steps.
    """
    ask = _ask.get()
    if ask is not None:
        ask()
