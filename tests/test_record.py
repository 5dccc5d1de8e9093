"""The run record: hashes, thinning, damage."""

import json
from pathlib import Path

import numpy as np
import pytest

from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.record import (
    SCHEMA,
    array_sha256,
    build_record,
    describe_source,
    parse_record,
    read_record,
)

IMAGE = np.arange(12, dtype=np.uint16).reshape(3, 4)


def test_hash_depends_on_the_image_alone() -> None:
    digest = array_sha256(IMAGE)
    assert array_sha256(IMAGE.astype(">u2")) == digest
    assert array_sha256(np.asfortranarray(IMAGE)) == digest
    others = [IMAGE.astype(np.int16), IMAGE.reshape(4, 3), IMAGE + np.uint16(1), IMAGE.ravel()]
    assert len({digest, *(array_sha256(o) for o in others)}) == 5


@pytest.mark.parametrize("count", [1, 2, 199, 200, 201, 5000])
def test_losses_are_thinned_with_both_ends(count: int) -> None:
    record = build_record(
        config=FusionConfig(),
        device="cpu",
        threads=1,
        sources=[describe_source(IMAGE, (0, 11), name="CT", path="/data/ct.tif")],
        losses=np.arange(count, dtype=float),
        floor=0.0,
        noise=[0.0],
        stop_reason="iterations",
        seconds={"fit": 1.23456},
        metrics={"piella": 0.5},
    )
    kept = record["losses"]
    assert len(kept) == min(count, 200)
    assert kept[0] == [1, 0.0]
    assert kept[-1] == [count, count - 1.0]
    assert parse_record(json.dumps(record)) == record


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[1]", f'expected a run record with "schema": "{SCHEMA}"'),
        (json.dumps({"schema": SCHEMA, "schema_version": 99}), "schema version 99.*update"),
        (json.dumps({"schema": SCHEMA, "schema_version": 1}), "lacks its 'config' entry"),
    ],
)
def test_what_is_no_record(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_record(text)


def test_binary_files_are_no_records(tmp_path: Path) -> None:
    path = tmp_path / "image.json"
    path.write_bytes(b"\xff\xfe\x00\x9c")
    with pytest.raises(ValueError, match="is not a run record: it is not text"):
        read_record(path)
