from napari_dip_fusion.plugin.forms.layout import Text
from napari_dip_fusion.plugin.forms.shortening import MOST_LETTERS, cut_middle

LONG = "sub-01_acq-highres_T1w_brain_extracted_to_MNI152_space_second_visit"


def test_a_name_is_cut_in_its_middle():
    assert cut_middle("CT", 16) == "CT"
    assert cut_middle("abcdefgh", 5) == "ab\N{HORIZONTAL ELLIPSIS}gh"
    assert cut_middle("abcdefgh", 6) == "abc\N{HORIZONTAL ELLIPSIS}gh"
    assert len(cut_middle(LONG, 16)) == 16


def test_a_label_cuts_words_for_which_there_is_no_line(qtbot):
    label = Text("CT", tooltip="What is fused.")
    qtbot.addWidget(label.native)
    assert label.tooltip == "What is fused."
    label.value = f"{LONG} covers only 25% of CT"
    assert label.value == f"{LONG} covers only 25% of CT"
    shown = label.native.text()
    assert shown.split()[0] == cut_middle(LONG, MOST_LETTERS)
    assert shown.endswith("visit covers only 25% of CT")
    assert label.tooltip == f"{LONG} covers only 25% of CT\nWhat is fused."
    label.say("CT")
    assert label.tooltip == "What is fused."
