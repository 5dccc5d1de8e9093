"""The run record: what was run on what, with what outcome, as JSON."""

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dip_fusion.config import FusionConfig, Window

SCHEMA = "napari-dip-fusion/run-record"
SCHEMA_VERSION = 2
"""Version 2 has the settings in groups; version 1, which had them flat, is read as well."""

_KEPT_LOSSES = 200


def array_sha256(array: NDArray[Any]) -> str:
    """Return the SHA-256 of an array's type, shape and values.

    The values are taken in C order and little-endian, so that the digest
    depends on the image, not on the file or machine it came from.
    """
    # Type and shape are a part of the digest: zeros of 2x3 and of 3x2 are other images.
    little = array.dtype.newbyteorder("<")
    digest = hashlib.sha256(f"{little.str}{array.shape}".encode())
    digest.update(np.ascontiguousarray(array, dtype=little).data)
    return digest.hexdigest()


def describe_source(
    array: NDArray[Any], window: Window, *, name: str, path: str | None = None
) -> dict[str, Any]:
    """Return the record's entry of one source."""
    return {
        "name": name,
        "path": path,
        "shape": list(array.shape),
        "dtype": str(array.dtype),
        "sha256": array_sha256(array),
        "intensity_window": [float(window[0]), float(window[1])],
    }


def build_record(
    *,
    config: FusionConfig,
    device: str,
    threads: int,
    sources: Sequence[Mapping[str, Any]],
    losses: NDArray[np.float64],
    floor: float,
    noise: Sequence[float],
    stop_reason: str,
    seconds: Mapping[str, float],
    metrics: Mapping[str, float],
    notes: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the record of a run, of values that JSON can hold.

    Parameters
    ----------
    config : FusionConfig
    device : str
        The device that was used, where ``config.compute.device`` may say ``auto``.
    threads : int
        Processor threads that torch used.
    sources : sequence of dict
        From :func:`describe_source`.
    losses : ndarray
        One loss per iteration; at most 200 of them are kept.
    floor : float
        The smallest value that the loss can take.
    noise : sequence of float
        Standard deviation of the noise that was found in each source, before interpolation.
    stop_reason : str
    seconds : dict
        Time of each stage; four digits are kept, for the quickest take microseconds.
    metrics : dict
    notes : mapping, optional
        Entries of the caller, such as ``kind``, which is ``fusion`` by default.
    """
    return {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "kind": "fusion",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        # Read from the installed distributions, so that a record imports none of them.
        "versions": {
            "python": sys.version.split()[0],
            **{p: find_version(p) for p in ("napari-dip-fusion", "torch", "numpy", "scikit-image")},
        },
        "preset": config.describe_preset(),
        "config": config.to_dict(),
        "seed": config.fit.seed,
        "device": device,
        "threads": threads,
        "sources": [dict(s) for s in sources],
        "iterations": len(losses),
        "stop_reason": stop_reason,
        "floor": floor,
        "noise": [round(n, 6) for n in noise],
        "losses": _thin_losses(losses),
        "seconds": {k: float(f"{v:.4g}") for k, v in seconds.items()},
        "metrics": dict(metrics),
        **(notes or {}),
    }


def find_version(package: str) -> str | None:
    """Return the version of an installed package, None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def parse_record(text: str) -> dict[str, Any]:
    """Read a run record from JSON, or the one in a stored result of a comparison.

    Raises
    ------
    ValueError
        If the text is no JSON, no run record, or of a newer schema.
    """
    try:
        record = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"the run record is not valid JSON ({error})") from error
    # A comparison keeps the record of each run beside its scores.
    if isinstance(record, dict) and {"fingerprint", "row", "record"} <= set(record):
        record = record["record"]
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        raise ValueError(f'expected a run record with "schema": "{SCHEMA}", got another file')
    found = record.get("schema_version")
    if not isinstance(found, int) or found > SCHEMA_VERSION:
        raise ValueError(
            f"the run record has schema version {found!r}; this program reads up to "
            f"{SCHEMA_VERSION}: update napari-dip-fusion"
        )
    for key, kind in (("config", dict), ("sources", list)):
        if not isinstance(record.get(key), kind):
            raise ValueError(f"the run record lacks its {key!r} entry; it may be damaged")
    return record


def read_record(path: Path) -> dict[str, Any]:
    """Read a run record from a file; see :func:`parse_record`.

    Raises
    ------
    ValueError
        If the file is not a run record.
    OSError
        If it cannot be read.
    """
    if not path.exists():
        raise FileNotFoundError(f"there is no run record {path}; check the name")
    # To open a pipe would wait for whoever writes to it.
    if not path.is_file():
        raise ValueError(f"{path} is not a run record: it is no file")
    try:
        return parse_record(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a run record: it is not text") from error


def _thin_losses(losses: NDArray[np.float64]) -> list[list[float]]:
    """Return at most 200 pairs of iteration and loss, first and last among them."""
    count = min(len(losses), _KEPT_LOSSES)
    picked = np.unique(np.linspace(0, len(losses) - 1, count).round().astype(int))
    return [[int(i) + 1, float(losses[i])] for i in picked]
