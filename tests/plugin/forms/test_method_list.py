import pytest

from napari_dip_fusion.comparison.labels import label_methods
from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.plugin.forms.method_list import (
    NO_WEIGHTS,
    OWN,
    MethodList,
    list_lacking_weights,
)


@pytest.fixture
def methods(qtbot):
    made = MethodList()
    qtbot.addWidget(made.native)
    return made


def row(methods, key):
    keys = [choice.key for choice in methods.methods]
    return methods.list.item(keys.index(key))


def test_every_method_has_a_row_that_says_what_it_is(methods):
    assert [c.key for c in methods.methods] == [*label_methods(), OWN]
    for choice in methods.methods:
        assert choice.label
        assert len(choice.tip) > 20
    assert "arXiv:1804.08361" in row(methods, "densefuse").toolTip()
    assert "0.5 s" in row(methods, "densefuse").toolTip()


def test_all_but_the_slowest_are_ticked_at_first(methods):
    assert set(label_methods()) - set(methods.get_chosen()) == {"dip-paper"}
    assert OWN not in methods.get_chosen()


def test_all_and_none(methods):
    methods.none_button.native.click()
    assert methods.get_chosen() == []
    methods.all_button.native.click()
    assert methods.get_chosen() == [*label_methods(), OWN]


def test_methods_without_weights_are_grayed_until_they_have_a_file(qtbot, methods, tmp_path):
    methods.set_without_weights(["base-detail"])
    item = row(methods, "base-detail")
    assert not item.flags() & item.flags().ItemIsEnabled
    assert NO_WEIGHTS in item.text()
    assert NO_WEIGHTS in item.toolTip()
    assert "base-detail" not in methods.get_chosen()
    methods.all_button.native.click()
    assert "base-detail" not in methods.get_chosen()
    assert not methods.weights_button.native.isHidden()
    with qtbot.waitSignal(methods.choice_changed):
        methods.set_weights("base-detail", tmp_path / "vgg.pth")
    assert item.flags() & item.flags().ItemIsEnabled
    assert methods.weights_button.native.isHidden()
    (entry,) = (e for e in methods.make_entries(FusionConfig()) if e.key == "base-detail")
    assert entry.options == {"weights": str(tmp_path / "vgg.pth")}


def test_the_file_of_weights_is_asked_for(methods, tmp_path, monkeypatch):
    from napari_dip_fusion.plugin.forms import method_list

    answers = [("", ""), (str(tmp_path / "vgg.pth"), "")]
    ask = staticmethod(lambda *args: answers.pop(0))
    monkeypatch.setattr(method_list.QFileDialog, "getOpenFileName", ask)
    methods.set_without_weights(["base-detail"])
    methods.weights_button.native.click()
    assert "base-detail" not in methods.get_chosen()
    methods.weights_button.native.click()
    assert "base-detail" in methods.get_chosen()


def test_without_torch_only_the_others_run(methods):
    methods.set_torch_problem("PyTorch cannot be imported")
    assert methods.get_chosen() == [
        "average", "maximum", "consensus", "wavelet", "laplacian", "gmc", "l1"
    ]  # fmt: skip
    assert "PyTorch" in row(methods, "dip-fast").text()
    assert "cannot be imported" in row(methods, "dip-fast").toolTip()


def test_entries_take_the_machine_or_all_of_the_settings(methods):
    config = FusionConfig.preset("paper", iterations=5, threads=2, seed=9)
    methods.set_chosen(["average", "dip-fast", OWN])
    average, fast, own = methods.make_entries(config)
    assert not average.settings
    assert fast.method == "dip-fast"
    assert fast.settings["threads"] == 2
    assert "iterations" not in fast.settings
    assert own.method == "dip-paper"
    assert own.settings["iterations"] == 5
    assert (own.seed, fast.seed) == (9, 0)


def test_weights_are_looked_for_where_torch_keeps_them(tmp_path, monkeypatch):
    import torch

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    assert list_lacking_weights() == ["base-detail"]
    file = tmp_path / "checkpoints" / "vgg19-dcbb9e9d.pth"
    file.parent.mkdir()
    file.touch()
    assert list_lacking_weights() == []
