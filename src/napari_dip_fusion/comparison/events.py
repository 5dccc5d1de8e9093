"""What a comparison is about, what it tells while it runs, and what comes of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.prepared import PreparedSources

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class SourceSet:
    """Sources of one scene, which are read when their turn comes.

    Attributes
    ----------
    name : str
        Name of the set, unique among those of its kind.
    kind : str
        What averages are made over, such as ``ct_mr``.
    read : callable
        Returns K >= 2 arrays or sources as :func:`.bring_together` takes them: planes, volumes or
        series.
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
        Of volumes and series the means over planes.
    plane_metrics : dict of str to list
        Of volumes and series the score of each plane, as
        :func:`~napari_dip_fusion.metrics.list_planes` gives them; empty for planes.
    stack_axes : tuple of str
        Names of the axes that these lists are nested by.
    """

    kind: str
    name: str
    method: str
    seed: int | None
    seconds: float
    metrics: dict[str, float]
    plane_metrics: dict[str, list[Any]] = field(default_factory=dict)
    stack_axes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Failure:
    """A method that could not fuse a set of sources, and the reason."""

    kind: str
    name: str
    method: str
    reason: str


@dataclass(frozen=True)
class Running:
    """A run goes on; several of these are sent for methods that iterate, and for volumes.

    Attributes
    ----------
    done, total : int
        Runs that are finished, and all that will be.
    kind, name, method : str
    part : float
        How much of this run, or of its stage, is done, from 0 to 1.
    stage : str
        What is done with the planes of a volume or a series just now, such as ``"gains"``; empty
        where `part` is that of the iterations.
    """

    done: int
    total: int
    kind: str
    name: str
    method: str
    part: float = 0.0
    stage: str = ""


@dataclass(frozen=True, eq=False)
class Finished:
    """A run has its outcome.

    Attributes
    ----------
    done, total : int
        Runs that are finished, and all that will be.
    outcome : Row or Failure
    image : ndarray of shape (..., M, N) or (..., M, N, 3), or None
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
