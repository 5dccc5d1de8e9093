"""Long computations ask here whether they are still wanted, and tell how far they are."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

# The sensor, the methods and the metrics know nothing of runs and their controls. What they ask
# belongs to the run in whose thread, or in whose copied context, they compute.
_ask: ContextVar[Callable[[], None] | None] = ContextVar("ask", default=None)

Tell = Callable[[str, float, float], None]
"""Takes the name of a stage of a computation, how much of it is done, and how much there is."""

_tell: ContextVar[Tell | None] = ContextVar("tell", default=None)
_stage: ContextVar["_Stage | _Share | None"] = ContextVar("stage", default=None)


@contextmanager
def make_interruptible(ask: Callable[[], None]) -> Iterator[None]:
    """Let computations within this context be interrupted.

    Parameters
    ----------
    ask : callable
        Called at each :func:`checkpoint`; raises an exception to end the computation, or returns,
        perhaps after a while, to let it go on. Whoever is asked outside this context still is.
    """
    outer = _ask.get()

    def ask_all() -> None:
        if outer is not None:
            outer()
        ask()

    token = _ask.set(ask_all)
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


@contextmanager
def make_observable(tell: Tell) -> Iterator[None]:
    """Let computations within this context tell how far they are.

    Parameters
    ----------
    tell : callable
        Called from any thread that computes; see :data:`Tell`. It must return at once. Whoever
        is told outside this context still is.
    """
    outer = _tell.get()

    def tell_all(name: str, done: float, total: float) -> None:
        if outer is not None:
            outer(name, done, total)
        tell(name, done, total)

    token = _tell.set(tell_all)
    try:
        yield
    finally:
        _tell.reset(token)


@contextmanager
def stage(name: str, total: float) -> Iterator[None]:
    """Give the computations within this context a name and an amount of work.

    Parameters
    ----------
    name : str
        For people, such as ``"gains"``.
    total : float
        How much there is to do, in planes.
    """
    tell = _tell.get()
    token = _stage.set(None if tell is None else _Stage(name, total, tell))
    try:
        yield
    finally:
        _stage.reset(token)


def advance(planes: float) -> None:
    """Tell that so many more planes of the present stage are done, if anybody listens."""
    current = _stage.get()
    if current is not None:
        current.advance(planes)


@contextmanager
def take_share(share: float) -> Iterator[None]:
    """Let the computations within this context be a share of the present stage.

    Parameters
    ----------
    share : float
        Of the work on each plane: :func:`advance` counts for so much.
    """
    current = _stage.get()
    token = _stage.set(None if current is None else _Share(current, share))
    try:
        yield
    finally:
        _stage.reset(token)


class _Stage:
    """A stage of a computation, on which several threads may be at work."""

    def __init__(self, name: str, total: float, tell: Tell) -> None:
        self._name, self._total, self._tell = name, total, tell
        self._done = 0.0
        self._lock = threading.Lock()
        tell(name, 0.0, total)

    def advance(self, planes: float) -> None:
        with self._lock:
            self._done = min(self._done + planes, self._total)
            self._tell(self._name, self._done, self._total)


class _Share:
    """A part of the work of a stage, in which each plane counts for less."""

    def __init__(self, whole: "_Stage | _Share", share: float) -> None:
        self._whole, self._share = whole, share

    def advance(self, planes: float) -> None:
        self._whole.advance(planes * self._share)
