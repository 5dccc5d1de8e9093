"""Which block is next: the nearest to what is looked at, of those that are left."""

import threading
from collections import deque
from collections.abc import Container, Iterator, Sequence

import numpy as np

from napari_dip_fusion.blocks.layout import Index, Layout

__all__ = ["Focus", "Schedule"]


class Focus:
    """The pixel that somebody looks at while a run goes on; it may move at any moment.

    Parameters
    ----------
    place : sequence of int, optional
        Along each axis of the reference; None as long as nobody looks.
    """

    def __init__(self, place: Sequence[int] | None = None) -> None:
        # One attribute that is replaced as a whole: threads may read it while others write.
        self._place = None if place is None else tuple(place)

    @property
    def place(self) -> tuple[int, ...] | None:
        """The pixel; None where nobody looks."""
        return self._place

    def look_at(self, place: Sequence[int]) -> None:
        """Look at another pixel, which may lie outside; from any thread."""
        self._place = tuple(place)


class Schedule:
    """The blocks of a run that are still to be made, in an order that may change on the way.

    Parameters
    ----------
    layout : Layout
    done : container of tuple of int
        Blocks that are left out.
    look_at : sequence of int or Focus, optional
        The pixel around which it begins; by default the blocks come from the first to the last.
        A focus is followed on the way.
    """

    def __init__(
        self,
        layout: Layout,
        done: Container[Index] = (),
        look_at: Sequence[int] | Focus | None = None,
    ) -> None:
        self._layout = layout
        left = [index for index in layout if index not in done]
        self._indices = np.array(left, dtype=np.intp).reshape(len(left), len(layout.shape))
        self._left = np.ones(len(left), dtype=bool)
        self._order = deque(range(len(left)))
        self._lock = threading.Lock()
        self._focus = look_at if isinstance(look_at, Focus) else Focus(look_at)
        self._seen: tuple[int, ...] | None = None

    def __len__(self) -> int:
        return int(self._left.sum())

    def look_at(self, place: Sequence[int]) -> None:
        """Go on with the blocks that are nearest to a pixel, from any thread.

        Parameters
        ----------
        place : sequence of int
            Along each axis of the image; it may lie outside.
        """
        # Distances in blocks: what lies in other frames or planes is looked at later.
        middle = np.array(self._layout.find(place))
        with self._lock:
            left = np.flatnonzero(self._left)
            apart = np.abs(self._indices[left] - middle)
            distances = (apart**2).sum(axis=1)
            self._order = deque(left[np.argsort(distances, kind="stable")].tolist())

    def list_left(self) -> list[Index]:
        """Return the blocks that are left."""
        with self._lock:
            return [tuple(map(int, index)) for index in self._indices[self._left]]

    def __iter__(self) -> Iterator[Index]:
        """Yield the blocks that are left, each of them once."""
        while True:
            self._follow()
            with self._lock:
                if not self._order:
                    return
                number = self._order.popleft()
                self._left[number] = False
            yield tuple(int(n) for n in self._indices[number])

    def _follow(self) -> None:
        """Bring the blocks in order where somebody looks elsewhere by now."""
        place = self._focus.place
        if place is not None and place != self._seen:
            self._seen = place
            self.look_at(place)
