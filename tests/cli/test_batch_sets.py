"""Which sets dip-fusion batch finds, and what it refuses."""

import os
from pathlib import Path

import numpy as np
import pytest

from napari_dip_fusion.cli.batch.inputs import collect_batch
from napari_dip_fusion.io import write_image


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"")


def collect(*inputs: str, match: str = "name") -> dict[str, list[str]]:
    found = collect_batch(inputs, Path("fused"), match)
    return {each.name: [p.as_posix() for p in each.paths] for each in found.sets}


def left_out(*inputs: str) -> list[tuple[list[str], str]]:
    found = collect_batch(inputs, Path("fused"), "name")
    return [([p.as_posix() for p in each.paths], each.reason) for each in found.left_out]


def test_patterns_match_what_their_wildcards_stand_for(here) -> None:
    touch("ct/007.nii.gz", "ct/010.nii.gz", "mr/010.tif", "mr/007.tif", "mr/notes.txt")
    assert collect("ct/*.nii.gz", "mr/*") == {
        "007": ["ct/007.nii.gz", "mr/007.tif"],
        "010": ["ct/010.nii.gz", "mr/010.tif"],
    }
    # Names of results are whole words where they are the same for all patterns.
    assert list(collect("ct/0*", "mr/0*")) == ["007", "010"]
    assert collect("./ct/*", f"{here}/mr/???.tif")["007"][0] == "ct/007.nii.gz"


def test_patterns_may_stand_for_folders(here) -> None:
    for name in ("p1/CT", "p1/MR", "p2/CT", "p2/MR"):
        touch(f"patients/{name}/IM0001")
    assert collect("patients/*/CT", "patients/*/MR") == {
        "p1": ["patients/p1/CT", "patients/p1/MR"],
        "p2": ["patients/p2/CT", "patients/p2/MR"],
    }
    touch("bids/sub-01/ses-02/t1.nii", "bids/sub-01/ses-02/t2.nii")
    for t1, t2 in (("bids/sub-*/ses-*/t1.nii",) * 2, ("bids/**/t1.nii",) * 2):
        assert len(collect(t1, t2.replace("t1", "t2"))) == 1
    assert list(collect("bids/sub-*/ses-*/t1.nii", "bids/sub-*/ses-*/t2.nii")) == ["01-02"]


def test_a_common_end_is_left_out_only_where_no_names_are_the_same(here) -> None:
    touch("ct/007_ct.png", "ct/008_ct.png", "mr/007-T1.png", "mr/008-T1.png")
    assert list(collect("ct/*.png", "mr/*.png")) == ["007", "008"]
    # An end that differs within a pattern may be the patient.
    touch("x/1_a.png", "x/1_b.png", "y/1_c.png", "y/1_d.png")
    with pytest.raises(ValueError, match=r"no names are the same for all of 'x/\*', 'y/\*'"):
        collect("x/*", "y/*")


def test_files_without_a_partner_are_left_out_and_said(here) -> None:
    touch("ct/1.png", "ct/2.png", "mr/1.png", "mr/3.png", "pet/1.png", "pet/2.png")
    assert list(collect("ct/*", "mr/*", "pet/*")) == ["1"]
    assert left_out("ct/*", "mr/*", "pet/*") == [
        (["ct/2.png", "pet/2.png"], "has no partner in 'mr/*'"),
        (["mr/3.png"], "has no partner in 'ct/*', 'pet/*'"),
    ]


def test_order_is_taken_only_if_it_is_asked_for(here) -> None:
    touch("a/s1.png", "a/s2.png", "a/s10.png", "b/x01.png", "b/x02.png", "b/x10.png")
    with pytest.raises(ValueError, match="or --match order"):
        collect("a/*", "b/*")
    assert collect("a/*", "b/*", match="order") == {
        "s1-x01": ["a/s1.png", "b/x01.png"],
        "s2-x02": ["a/s2.png", "b/x02.png"],
        "s10-x10": ["a/s10.png", "b/x10.png"],
    }
    Path("b/x10.png").unlink()
    with pytest.raises(ValueError, match=r"got 3 for 'a/\*', 2 for 'b/\*'"):
        collect("a/*", "b/*", match="order")
    with pytest.raises(ValueError, match="one of name, order, got 'auto'"):
        collect("a/*", "b/*", match="auto")


def test_patterns_that_say_too_little_are_refused(here) -> None:
    touch("ct/1.png", "ct/1.tif", "mr/1.png")
    with pytest.raises(ValueError, match="which both have the name '1'"):
        collect("ct/*", "mr/*")
    with pytest.raises(ValueError, match=r"no image fits 'pet/.*'"):
        collect("ct/*.png", "pet/*")
    with pytest.raises(ValueError, match="put each pattern in quotes"):
        collect("ct/1.png", "mr/1.png")
    with pytest.raises(ValueError, match="a pattern for each source"):
        collect("ct/*.png")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_what_is_no_file_is_no_source(here) -> None:
    touch("ct/1.png", "mr/1.png")
    os.mkfifo("ct/2")
    assert list(collect("ct/*", "mr/*")) == ["1"]


def test_a_name_with_brackets_is_a_folder_if_it_is_there(here) -> None:
    touch("scans [1]/7_ct.png", "scans [1]/7_mr.png")
    assert collect("scans [1]") == {"7": ["scans [1]/7_ct.png", "scans [1]/7_mr.png"]}


def test_sets_of_a_folder_and_of_those_below(here) -> None:
    touch("s/7_ct.png", "s/7_mr.png", "s/alone.png", "s/head/7_ct.png", "s/head/7_mr.png")
    touch("s/fused/a_1.tif", "s/fused/a_2.tif", "s/notes_1.txt")
    found = collect_batch(["s"], Path("s/fused"), "name")
    assert [each.name for each in found.sets] == ["7", "head-7"]
    assert [each.name for each in found.left_out] == ["alone"]
    # The results may lie in a folder around it.
    assert len(collect_batch(["s/head"], Path("s"), "name").sets) == 1
    with pytest.raises(ValueError, match="cannot hold the sources and the results"):
        collect_batch(["s"], Path("s"), "name")
    (here / "empty").mkdir()
    with pytest.raises(ValueError, match="has no sets of sources"):
        collect("empty")
    with pytest.raises(ValueError, match="gone does not exist"):
        collect("gone")
    with pytest.raises(ValueError, match="neither a folder nor a table"):
        collect("s/7_ct.png")
    with pytest.raises(ValueError, match="--match order is for two or more patterns"):
        collect("s", match="order")


def test_a_series_is_no_set(here) -> None:
    touch(*(f"s/slice_{i:03d}.png" for i in range(30)))
    with pytest.raises(ValueError, match="slice has 30 images, from"):
        collect("s")
    touch(*(f"s/focus_{i}.png" for i in range(8)))
    assert {name: len(paths) for name, paths in collect("s").items()} == {"focus": 8}
    assert "looks like a series" in left_out("s")[0][1]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_table(here, delimiter: str, mark: str) -> None:
    rows = [
        ("Name", "Age", "Source1", "source 2"),
        ("=Müller", "41", "ct/1.png", "/mr/1.png"),
        ("", "42", "ct/2.nii.gz", "mr/2.nii.gz"),
        ("", "", "", ""),
        ("", "43", "a.png", "b.png"),
        ("lonely", "44", "a.png", ""),
    ]
    text = "\r\n".join(delimiter.join(row) for row in rows)
    touch("t/list.csv")
    Path("t/list.csv").write_text(mark + text, encoding="utf-8")
    assert collect("t/list.csv") == {
        "_Müller": ["t/ct/1.png", "/mr/1.png"],
        "2": ["t/ct/2.nii.gz", "t/mr/2.nii.gz"],
        "a-b": ["t/a.png", "t/b.png"],
        "lonely": ["t/a.png"],
    }
    how = collect_batch(["t/list.csv"], Path("fused"), "name").how
    assert how == f"by the rows of {Path('t/list.csv')}, columns Source1, source 2"


def test_columns_of_any_names(here) -> None:
    Path("t.csv").write_text("ID;ct;mr\n7;c.png;m.png\n")
    assert collect("t.csv") == {"7": ["c.png", "m.png"]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "needs a first row with columns for two or more sources"),
        (b"name,ct\n1,a.png\n", "got name,ct"),
        (b"ct,mr\n", "has no row below"),
        (b"ct,mr\na,b,c\n", "row 2 of t.csv has 3 cells for 2 columns"),
        ("ct,mr\nä,b\n".encode("latin-1"), "not text in UTF-8"),
        (b"name,ct,mr\nA/1,a,b\na_1,c,d\n", "two sets have the name a_1"),
        (b"source1,source2,fwhm\na,b,4mm\n", "column fwhm that belongs to no source"),
        (b"source1,source2,mask3\na,b,c\n", "such as mask2 for source2"),
    ],
)
def test_tables_that_cannot_be_used(here, content: bytes, message: str) -> None:
    Path("t.csv").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        collect("t.csv")


def test_zarr_folders_are_sources(here) -> None:
    for name in ("ct", "mr"):
        Path(name).mkdir()
        write_image(Path(name, "1.ome.zarr"), np.zeros((8, 8), np.uint8))
    assert collect("ct/*", "mr/*") == {"1": ["ct/1.ome.zarr", "mr/1.ome.zarr"]}
