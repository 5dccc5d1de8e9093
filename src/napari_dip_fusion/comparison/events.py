"""What a comparison is about, what it tells while it runs, and what comes of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.prepare import PreparedSources

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class SourceSet:
    """Aligned sources of one scene, which are read when their turn comes.

    Attributes
    ----------
    name : str
        Name of the set, unique among those of its kind.
    kind : str
        What averages are made over, such as ``ct_mr``.
    read : callable
        Returns K >= 2 arrays or planes as :func:`.prepare_sources` takes them.
    source_names : tuple of str
        Names of the sources, for figures and records; numbers by default.
    source_paths : tuple of str or None
        Files of the sources, for records.
    prepared : PreparedSources, optional
        The sources in [0, 1], where the caller has prepared them already; they are not read then.
    """

    name: str
    kind: str
    read: Callable[[], Sequence[ArrayLike | Source]]
    source_names: tuple[str, ...] = ()
    source_paths: tuple[str | None, ...] = ()
    prepared: PreparedSources | None = None


@dataclass(frozen=True)
class Row:
    """The scores of one method on one set of sources.

    Attributes
    ----------
    kind, name : str
        Of the set of sources.
    method : str
    seed : int or None
        None for methods without a seed.
    seconds : float
        Wall time of the fusion, without reading, metrics and imports.
    metrics : dict of str to float
    """

    kind: str
    name: str
    method: str
    seed: int | None
    seconds: float
    metrics: dict[str, float]


@dataclass(frozen=True)
class Failure:
    """A method that could not fuse a set of sources, and the reason."""

    kind: str
    name: str
    method: str
    reason: str


@dataclass(frozen=True)
class Running:
    """A run goes on; several of these are sent for methods that iterate.

    Attributes
    ----------
    done, total : int
        Runs that are finished, and all that will be.
    kind, name, method : str
    part : float
        How much of this run is done, from 0 to 1.
    """

    done: int
    total: int
    kind: str
    name: str
    method: str
    part: float = 0.0


@dataclass(frozen=True, eq=False)
class Finished:
    """A run has its outcome.

    Attributes
    ----------
    done, total : int
        Runs that are finished, and all that will be.
    outcome : Row or Failure
    image : ndarray of shape (M, N) or (M, N, 3), or None
        The fused image in [0, 1]; None for a failure.
    record : dict or None
        The run record, of kind ``comparison``; None for a failure.
    reused : bool
        Whether it was read from the folder of an earlier comparison.
    """

    done: int
    total: int
    outcome: Row | Failure
    image: Floats | None = None
    record: dict[str, Any] | None = None
    reused: bool = False


@dataclass(eq=False)
class Outcomes:
    """The outcomes of a whole comparison."""

    rows: list[Row] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    def add(self, outcome: Row | Failure) -> None:
        """Take in the outcome of one run."""
        if isinstance(outcome, Row):
            self.rows.append(outcome)
        else:
            self.failures.append(outcome)
