"""What a folder holds of a run on its way: its settings, what is known, and which blocks are done.

It lies beside the output, so that a run whose process was killed at any moment is taken up where it
was. A block is entered when it is written; what is written before that is written again.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from napari_dip_fusion.blocks.layout import Index, Layout
from napari_dip_fusion.blocks.statistics import Statistics
from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io.atomic import write_atomically, write_text

__all__ = ["Manifest", "name_folder"]

_PLAN, _STATISTICS, _DONE, _LOCK = "plan.json", "statistics.json", "done.jsonl", "lock"
_NETWORK, _FIT = "network-{}.pt", "fit.pt"
# What files raise that are not as they were written.
_DAMAGE = (AttributeError, KeyError, RecursionError, TypeError, ValueError)
IMAGE = "image.ome.zarr"
"""Name of the growing image in the folder."""


def name_folder(output: Path) -> Path:
    """Return the folder of a run that is on its way to an output."""
    return output.with_name(f"{output.name}.part")


@dataclass(eq=False)
class Manifest:
    """The folder of a run on its way.

    Attributes
    ----------
    folder : Path
    plan : dict
        What is fused how, of values that JSON can hold: the same for a run that is taken up.
    done : dict of tuple to tuple of str
        The hashes of what was read of each source for a block, by the index of the block.
    """

    folder: Path
    plan: dict[str, Any]
    done: dict[Index, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Of all threads: a run may be closed in another one than it was begun in.
        self._lock = FileLock(self.folder / _LOCK, timeout=0, thread_local=False)

    @classmethod
    def create(cls, folder: Path, plan: Mapping[str, Any]) -> "Manifest":
        """Begin a run in a new folder.

        Raises
        ------
        ImageFileError
            If the folder cannot be made.
        """
        try:
            folder.mkdir()
        except FileExistsError:
            raise
        except OSError as error:
            raise ImageFileError(
                f"could not make {folder}: {error.strerror}; choose another place"
            ) from error
        manifest = cls(folder, dict(plan))
        try:
            manifest.lock()
            write_text(folder / _PLAN, json.dumps(manifest.plan, indent=1))
        except BaseException:
            manifest.remove()
            raise
        return manifest

    @classmethod
    def open(cls, folder: Path) -> "Manifest":
        """Take up the run of a folder.

        Raises
        ------
        ValueError
            If there is none, or its files are damaged.
        """
        if not (folder / _PLAN).is_file():
            raise ValueError(
                f"{folder} holds no run that could be resumed; remove it and start anew"
            )
        manifest = cls(folder, {})
        manifest.lock()
        try:
            manifest.plan = _read_plan(folder / _PLAN)
            manifest.done = _read_done(folder / _DONE)
        except _DAMAGE as error:
            manifest.unlock()
            raise ValueError(f"{folder} is damaged ({error}); remove it and start anew") from error
        except BaseException:
            manifest.unlock()
            raise
        return manifest

    def lock(self) -> None:
        """Keep other processes from the folder, until :meth:`leave` or the end of this one."""
        try:
            self._lock.acquire()
        except Timeout:
            raise ValueError(
                f"another run is at work in {self.folder}; wait for its end, or stop it"
            ) from None

    def unlock(self) -> None:
        """Let other processes take up the run."""
        self._lock.release()

    def leave(self) -> None:
        """Let other processes take up the run; one that came to nothing yet is removed."""
        begun = self.done or (self.folder / _STATISTICS).exists()
        if self.folder.exists() and not begun:
            self.remove()
        self.unlock()

    @property
    def image(self) -> Path:
        """The growing image."""
        return self.folder / IMAGE

    def check(self, plan: Mapping[str, Any]) -> None:
        """Refuse to take up a run that was begun with another plan.

        Raises
        ------
        ValueError
            If anything differs; the message says what.
        """
        # As JSON has them: tuples are lists there.
        now = json.loads(json.dumps(plan))
        for path, was, is_now in _compare(self.plan, now):
            raise ValueError(
                f"{self.folder} was begun with another {path}: {was} then, {is_now} now; go on "
                "with what it was begun with, or remove the folder"
            )

    def check_done(self, layout: Layout, sources: int) -> None:
        """Refuse blocks that the run cannot have made, and blocks without an image.

        Parameters
        ----------
        layout : Layout
            The blocks of the run.
        sources : int
            How many sources are read for each.

        Raises
        ------
        ValueError
            If there are such.
        """
        for index, hashes in self.done.items():
            if not layout.holds(index) or len(hashes) != sources:
                raise ValueError(
                    f"{self.folder} is damaged: it lists block {list(index)} of {len(hashes)} "
                    f"sources, and has {list(layout.grid)} blocks of {sources} sources; remove it "
                    "and start anew"
                )
        if self.done and not self.image.exists():
            raise ValueError(
                f"{self.folder} lists {len(self.done)} blocks, but their image is gone: it became "
                "the output, or was moved; remove the folder and start anew if it is needed again"
            )

    def write_statistics(self, statistics: Statistics) -> None:
        """Keep what is known of the whole sources."""
        files = {_NETWORK.format(n): weights for n, weights in statistics.networks.items()}
        if statistics.fit is not None:
            files[_FIT] = statistics.fit
        for name, weights in files.items():
            with write_atomically(self.folder / name, overwrite=True) as temporary:
                temporary.write_bytes(weights)
        # torch notices few of the ways in which weights can be damaged.
        digests = {name: hashlib.sha256(weights).hexdigest() for name, weights in files.items()}
        text = json.dumps({**statistics.to_dict(), "weights": digests})
        write_text(self.folder / _STATISTICS, text, overwrite=True)

    def read_statistics(self) -> Statistics | None:
        """Return what is known of the whole sources; None where the run had not come so far.

        Raises
        ------
        ValueError
            If the file is damaged.
        """
        path = self.folder / _STATISTICS
        if not path.is_file() and self.done:
            raise ValueError(f"{path} is missing, by which blocks were made; start the run anew")
        if not path.is_file():
            return None
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            found, digests = Statistics.from_dict(values), values["weights"]
            numbers = found.decision.networked
            networks = {n: self._read_weights(_NETWORK.format(n), digests) for n in numbers}
            if found.decision.fits:
                fit = self._read_weights(_FIT, digests)
                found = found.with_fit(fit, found.losses, found.floor)
        except (*_DAMAGE, OSError) as error:
            raise ValueError(f"{path} is damaged ({error}); start the run anew") from error
        return found.with_networks(networks)

    def add(self, index: Index, hashes: Sequence[str]) -> None:
        """Enter a block that is written."""
        line = json.dumps({"index": list(index), "sha256": list(hashes)})
        with (self.folder / _DONE).open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        self.done[index] = tuple(hashes)

    def remove(self) -> None:
        """Remove the folder, when its image has become the output."""
        self.unlock()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _read_weights(self, name: str, digests: Mapping[str, str]) -> bytes:
        weights = (self.folder / name).read_bytes()
        if hashlib.sha256(weights).hexdigest() != digests[name]:
            raise ValueError(f"{name} is not what it was")
        return weights


def _read_plan(path: Path) -> dict[str, Any]:
    plan = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(plan, dict):
        raise TypeError(f"{path.name} holds a {type(plan).__name__}")
    return plan


def _read_done(path: Path) -> dict[Index, tuple[str, ...]]:
    """Return the blocks that were entered; a line that was not written to its end is none."""
    done: dict[Index, tuple[str, ...]] = {}
    if not path.is_file():
        return done
    lines = path.read_text(encoding="utf-8").split("\n")
    # What follows the last line break was cut off, and the next line is to begin a new one.
    if lines.pop():
        path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    for line in lines:
        with suppress(json.JSONDecodeError):
            entry = json.loads(line)
            done[tuple(map(int, entry["index"]))] = tuple(map(str, entry["sha256"]))
    return done


def _compare(was: Any, is_now: Any, path: str = "") -> list[tuple[str, Any, Any]]:
    """Return where two values of JSON differ, and what stands there."""
    if isinstance(was, dict) and isinstance(is_now, dict):
        return [
            found
            for key in sorted({*was, *is_now})
            for found in _compare(was.get(key), is_now.get(key), f"{path} {key}".strip())
        ]
    if isinstance(was, list) and isinstance(is_now, list) and len(was) == len(is_now):
        return [
            found
            for number, pair in enumerate(zip(was, is_now, strict=True))
            for found in _compare(*pair, f"{path} {number + 1}".strip())
        ]
    return [] if was == is_now else [(path, was, is_now)]
