"""Rules that end a run before its iterations are used up."""

from collections import deque


class Discrepancy:
    """Stop when the excess loss is down to what noise explains [1]_.

    Parameters
    ----------
    noise : float
        Excess loss of an image without noise; 0 never stops.

    References
    ----------
    .. [1] T. Jahn, B. Jin, "On the Discrepancy Principle for Deep Image Prior", 2024,
       arXiv:2402.04610.

    Examples
    --------
    >>> rule = Discrepancy(0.5)
    >>> [rule.update(excess) for excess in (1.0, 0.7, 0.49)]
    [False, False, True]
    """

    def __init__(self, noise: float) -> None:
        self._noise = noise

    def update(self, excess: float) -> bool:
        """Take the excess of one more iteration; return whether to stop."""
        return excess < self._noise


class Plateau:
    """Stop when the smallest excess loss has stopped falling.

    Parameters
    ----------
    patience : int
        Iterations over which the smallest excess is compared with itself.
    min_improvement : float
        Fraction by which it has to fall within that time, in [0, 1).

    Examples
    --------
    >>> rule = Plateau(patience=2, min_improvement=0.1)
    >>> [rule.update(excess) for excess in (1.0, 0.5, 0.49, 0.48)]
    [False, False, False, True]
    """

    def __init__(self, patience: int, min_improvement: float) -> None:
        self._smallest: deque[float] = deque(maxlen=patience + 1)
        self._keep = 1 - min_improvement

    def update(self, excess: float) -> bool:
        """Take the excess of one more iteration; return whether to stop."""
        best = min(excess, self._smallest[-1]) if self._smallest else excess
        self._smallest.append(best)
        full = len(self._smallest) == self._smallest.maxlen
        return full and best > self._keep * self._smallest[0]


class RunningMean:
    """The mean of the latest excess losses, for rules that must not end a run by one lucky batch.

    Parameters
    ----------
    length : int
        How many values the mean is taken over, at most; see :attr:`.Fit.smoothing`.

    Examples
    --------
    >>> mean = RunningMean(2)
    >>> [mean.update(excess) for excess in (1.0, 0.5, 0.25)]
    [1.0, 0.75, 0.375]
    """

    def __init__(self, length: int) -> None:
        self._latest: deque[float] = deque(maxlen=length)

    def update(self, excess: float) -> float:
        """Take the excess of one more iteration; return the mean."""
        self._latest.append(excess)
        return sum(self._latest) / len(self._latest)
