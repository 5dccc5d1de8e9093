import pytest

from napari_dip_fusion.plugin.tabs import score_table
from napari_dip_fusion.plugin.tabs.score_table import ScoreRow, ScoreTable


@pytest.fixture
def table(qtbot):
    made = ScoreTable("Method", "comparison.csv")
    qtbot.addWidget(made.native)
    return made


def test_an_empty_table_is_hidden(table):
    assert table.table.isHidden()
    assert table.copy_button.native.isHidden()
    assert table.format_rows() == [["method"]]


def test_equal_values_share_their_place(table):
    values = [0.5, 0.25, 0.50001, 0.125]
    table.show_rows([ScoreRow(str(v), {"petrovic": v}) for v in values])
    fonts = [table.table.item(i, 1).font() for i in range(4)]
    assert [f.bold() for f in fonts] == [True, False, True, False]
    assert [f.underline() for f in fonts] == [False, True, False, False]
    assert "second best" in table.table.item(1, 1).toolTip()


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.004, "0.00"), (0.05, "0.05"), (1.26, "1.3"), (123.4, "123")]
)
def test_times_have_a_column(table, seconds, shown):
    table.show_rows([ScoreRow("average", {"petrovic": 0.5}, seconds=seconds, key="mean")])
    assert table.table.item(0, 2).text() == shown
    assert table.format_rows() == [
        ["method", "petrovic", "seconds"],
        ["mean", "0.5", f"{seconds:g}"],
    ]


def test_a_click_says_the_row(qtbot, table):
    table.show_rows([ScoreRow(name, {"petrovic": 0.5}) for name in "ab"])
    with qtbot.waitSignal(table.row_clicked) as blocker:
        table.table.cellClicked.emit(1, 0)
    assert blocker.args == [1]


def test_the_file_is_asked_for(table, tmp_path, monkeypatch):
    answers = [("", ""), (str(tmp_path / "scores.csv"), "")]
    ask = staticmethod(lambda *args: answers.pop(0))
    monkeypatch.setattr(score_table.QFileDialog, "getSaveFileName", ask)
    table.show_rows([ScoreRow("average", {"petrovic": 0.5})])
    table.save_button.native.click()
    assert not list(tmp_path.iterdir())
    table.save_button.native.click()
    assert (tmp_path / "scores.csv").read_text() == "method,petrovic\naverage,0.5\n"
    assert "saved to" in table.status.value
