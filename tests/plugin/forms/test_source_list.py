import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QScrollArea

from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.plugin.forms.source_list import SourceList
from napari_dip_fusion.plugin.layers.result_layers import add_fused_layer, add_gain_layers
from napari_dip_fusion.plugin.running.plan import make_plan


@pytest.fixture
def viewer(viewer_without_window):
    return viewer_without_window


@pytest.fixture
def sources(qtbot, viewer):
    made = SourceList(viewer)
    qtbot.addWidget(made.native)
    yield made
    made.close_subscriptions()


def rows(sources):
    return [sources.list.item(i).text() for i in range(sources.list.count())]


def bold(sources):
    items = [sources.list.item(i) for i in range(sources.list.count())]
    return [item.text() for item in items if item.font().bold()]


def names(sources):
    return [layer.name for layer in sources.get_sources()]


def test_the_list_follows_the_viewer(sources, viewer, pair):
    assert rows(sources) == ["MR", "CT"]
    viewer.add_image(pair[0], name="PET")
    viewer.add_labels(np.zeros((32, 40), dtype=int), name="mask")
    assert rows(sources) == ["PET", "MR", "CT"]
    viewer.layers["CT"].name = "bone"
    assert rows(sources) == ["PET", "MR", "bone"]
    viewer.layers.move(0, 3)
    assert rows(sources) == ["bone", "PET", "MR"]
    viewer.layers.remove("PET")
    assert rows(sources) == ["bone", "MR"]


def test_ticks_survive_what_happens_to_other_layers(sources, viewer, pair):
    viewer.add_image(pair[0], name="PET")
    assert names(sources) == ["CT", "MR"]
    sources.set_sources([viewer.layers["PET"], viewer.layers["MR"]])
    viewer.layers.move(0, 3)
    viewer.layers["MR"].name = "T1"
    assert names(sources) == ["T1", "PET"]
    viewer.layers.remove("T1")
    assert names(sources) == ["PET"]
    assert sources.status.value.startswith("✗")


def test_a_new_order_of_the_sources_is_a_change(qtbot, sources, viewer):
    with qtbot.waitSignal(sources.choice_changed):
        viewer.layers.move(0, 2)
    assert names(sources) == ["MR", "CT"]


def test_a_tick_makes_a_source(qtbot, sources):
    with qtbot.waitSignal(sources.choice_changed):
        sources.list.item(0).setCheckState(Qt.CheckState.Unchecked)
    assert names(sources) == ["CT"]
    assert "choose two or more" in sources.status.value


def test_the_selection_is_shown_and_used(sources, viewer, pair):
    viewer.add_image(pair[0], name="PET")
    viewer.layers.selection = {viewer.layers["PET"], viewer.layers["CT"]}
    assert bold(sources) == ["PET", "CT"]
    assert sources.selected_button.text == "Use selected layers (2)"
    sources.selected_button.native.click()
    assert names(sources) == ["CT", "PET"]
    viewer.layers.selection = {viewer.layers["PET"]}
    assert not sources.selected_button.enabled


def test_layers_that_are_no_images_are_left_out_aloud(sources, viewer):
    viewer.add_labels(np.zeros((32, 40), dtype=int), name="mask")
    viewer.layers.selection = set(viewer.layers)
    sources.selected_button.native.click()
    assert names(sources) == ["CT", "MR"]
    assert "mask left out" in sources.status.value


def test_selected_layers_are_ticked_at_first(qtbot, viewer, pair):
    viewer.add_image(pair[0], name="PET")
    viewer.layers.selection = {viewer.layers["PET"], viewer.layers["MR"]}
    made = SourceList(viewer)
    qtbot.addWidget(made.native)
    assert names(made) == ["MR", "PET"]
    made.close_subscriptions()


@pytest.fixture
def open_list(qtbot, viewer):
    """Return a function that opens a list in the viewer."""
    made = []

    def open_it():
        made.append(SourceList(viewer))
        qtbot.addWidget(made[-1].native)
        return made[-1]

    yield open_it
    for sources in made:
        sources.close_subscriptions()


def test_all_visible_images_that_fit_are_ticked_at_first(open_list, viewer, pair):
    viewer.add_image(pair[0], name="PET")
    viewer.add_image(pair[0], name="truth", visible=False)
    assert names(open_list()) == ["CT", "MR", "PET"]


def test_what_a_run_has_made_is_not_ticked_at_first(open_list, viewer, pair):
    plan = make_plan([*viewer.layers], None, viewer.dims, FusionConfig())
    add_fused_layer(viewer, pair[0], "preview", plan.place)
    add_gain_layers(viewer, np.ones((2, 32, 40)), plan.names, plan.place)
    viewer.add_image(pair[0], name="result", metadata={"dip_fusion": {}})
    assert names(open_list()) == ["CT", "MR"]


def test_nothing_is_ticked_where_it_would_be_a_guess(open_list, viewer, pair):
    viewer.add_image(pair[0], name="elsewhere", translate=(500, 0))
    assert names(open_list()) == []
    viewer.layers.remove("elsewhere")
    for i in range(7):
        viewer.add_image(pair[0], name=f"channel {i}")
    assert names(open_list()) == []


def test_the_first_images_are_ticked_as_they_arrive(qtbot, open_list, viewer, pair):
    images = [viewer.layers.pop() for _ in range(2)][::-1]
    sources = open_list()
    assert names(sources) == []
    viewer.add_image(pair[0], name="truth", visible=False)
    viewer.layers.append(images[0])
    assert names(sources) == ["CT"]
    viewer.layers.append(images[1])
    assert names(sources) == ["CT", "MR"]
    viewer.add_image(pair[0], name="PET")
    assert names(sources) == ["CT", "MR", "PET"]
    # What comes later was not opened with them.
    qtbot.waitUntil(lambda: not sources._arrivals.isActive(), timeout=5000)
    viewer.add_image(pair[0], name="SPECT")
    assert names(sources) == ["CT", "MR", "PET"]


def test_nothing_is_ticked_for_somebody_who_has_chosen(open_list, viewer, pair):
    images = [viewer.layers.pop() for _ in range(2)]
    sources = open_list()
    viewer.layers.append(images[1])
    sources.list.item(0).setCheckState(Qt.CheckState.Unchecked)
    viewer.layers.append(images[0])
    assert names(sources) == []


def test_the_images_after_a_clean_sweep_are_the_first_again(sources, viewer, pair):
    sources.set_sources([])
    viewer.layers.clear()
    for name, image in zip(("T1", "T2"), pair, strict=True):
        viewer.add_image(image, name=name)
    assert names(sources) == ["T1", "T2"]


def test_the_whole_name_of_a_layer_is_the_tooltip_of_its_row(sources, viewer):
    viewer.layers["CT"].name = "a name that is much too long for the list of a narrow window"
    assert sources.list.item(1).toolTip() == viewer.layers[0].name


def test_the_reference_can_be_changed_and_survives(sources, viewer, pair):
    assert sources.get_reference() == viewer.layers["CT"]
    sources.set_reference(viewer.layers["MR"])
    viewer.add_image(pair[0], name="PET")
    viewer.layers["CT"].name = "bone"
    assert sources.get_reference() == viewer.layers["MR"]
    viewer.layers.remove("MR")
    assert sources.get_reference() == viewer.layers["bone"]


def test_moves_of_layers_are_checked_once_they_settle(qtbot, sources, viewer):
    with qtbot.waitSignal(sources.checked, timeout=5000):
        viewer.layers["MR"].translate = (0, 30)
    assert "covers only 25% of CT" in sources.status.value
    with qtbot.waitSignal(sources.checked, timeout=5000):
        viewer.layers["MR"].translate = (0, 300)
    assert "does not overlap" in sources.status.value
    assert not sources.report.ok


def test_long_names_do_not_widen_the_list(sources, viewer):
    viewer.layers["CT"].name = "a very long name of a layer " * 8
    assert sources.native.minimumSizeHint().width() < 340


def test_the_list_grows_with_the_height_around(qtbot, viewer, pair):
    for i in range(10):
        viewer.add_image(pair[0], name=f"channel {i}")
    area = QScrollArea()
    qtbot.addWidget(area)
    area.setWidgetResizable(True)
    made = SourceList(viewer)
    area.setWidget(made.native)

    def until_shown(height, rows):
        area.resize(350, height)
        qtbot.waitUntil(lambda: made.list.height() // 22 == rows)

    area.show()
    qtbot.waitExposed(area)
    for height, rows in ((200, 5), (530, 8), (1000, 12), (200, 5)):
        until_shown(height, rows)
    with viewer.layers.batched_update():
        while len(viewer.layers) > 1:
            viewer.layers.pop()
    until_shown(1000, 2)
    made.close_subscriptions()


def entries(sources):
    box = sources.reference_box.native
    return [box.itemText(i) for i in range(box.count())]


def test_the_reference_follows_the_finest_until_one_is_chosen(qtbot, sources, viewer, pair):
    ct, mr = viewer.layers
    assert entries(sources) == ["finest: CT", "CT", "MR"]
    with qtbot.waitSignal(sources.checked, timeout=5000):
        mr.scale = (0.5, 0.5)
    assert sources.get_reference() == mr
    assert sources.reference_box.native.currentText() == "finest: MR"
    assert "CT will be brought to the grid of MR" in sources.status.value
    pet = viewer.add_image(pair[0], name="PET", scale=(0.25, 0.25))
    sources.set_sources([ct, mr, pet])
    assert sources.get_reference() == pet
    pet.name = "tracer"
    assert sources.reference_box.native.currentText() == "finest: tracer"
    sources.set_reference(ct)
    mr.scale = (0.1, 0.1)
    sources.check()
    assert sources.get_reference() == ct
    assert entries(sources)[0] == "finest: MR"
    # The first entry is the way back; so is the end of the chosen one.
    sources.reference_box.value = sources.reference_box.choices[0]
    assert sources.get_reference() == mr
    sources.set_reference(ct)
    viewer.layers.remove(ct)
    assert sources.get_reference() == mr
    sources.set_sources([])
    assert sources.get_reference() is None
    assert entries(sources) == []


def test_thick_slices_are_told_once_they_settle(qtbot, viewer, pair):
    viewer.layers.clear()
    for name, image in zip(("CT", "MR"), pair, strict=True):
        viewer.add_image(np.stack([image] * 5), name=name)
    made = SourceList(viewer)
    qtbot.addWidget(made.native)
    made.set_sources(viewer.layers)
    made.set_whole(False)
    assert "planes" not in made.status.value
    with qtbot.waitSignal(made.checked, timeout=5000):
        viewer.dims.thickness = (2, 0, 0)
    assert "CT: mean of planes 1 to 3" in made.status.value
    with qtbot.waitSignal(made.checked, timeout=5000):
        viewer.layers["CT"].projection_mode = "none"
    assert "CT: " not in made.status.value
    assert "MR: mean of planes 1 to 3" in made.status.value
    made.close_subscriptions()


def test_another_layer_that_takes_the_units_away_is_told(qtbot, sources, viewer):
    viewer.layers["CT"].units = ("mm", "mm")
    viewer.layers["MR"].scale, viewer.layers["MR"].units = (1000, 1000), ("um", "um")
    with qtbot.waitSignal(sources.checked, timeout=5000):
        viewer.add_points(np.zeros((1, 2)))
    assert sources.status.value.startswith("\N{WARNING SIGN} 2 layers on one grid\n")
    assert "they are fused by their units, not as they are drawn" in sources.status.value


def show_stacks(viewer, *shapes):
    viewer.layers.clear()
    for i, shape in enumerate(shapes):
        viewer.add_image(np.random.default_rng(i).random(shape), name=f"L{i}")


def extent(sources):
    box = sources.extent_box
    return "hidden" if box.native.isHidden() else box.native.currentText()


def test_stacks_are_fused_whole_unless_somebody_chooses_a_plane(sources, viewer, pair):
    sources.check()
    assert extent(sources) == "hidden"
    assert not sources.get_whole()
    show_stacks(viewer, (5, 12, 14), (5, 12, 14))
    sources.check()
    assert extent(sources) == "Whole stack"
    assert "5 planes of 12x14, z y x; 2 layers on one grid" in sources.status.value
    sources.extent_box.value = False
    sources.check()
    assert extent(sources) == "This plane"
    assert sources.status.value == "✓ 2 layers on one grid"
    # What somebody has chosen stays, and comes back with the next stacks.
    viewer.dims.set_current_step(0, 2)
    sources.check()
    assert extent(sources) == "This plane"
    show_stacks(viewer, (12, 14), (12, 14))
    sources.check()
    assert extent(sources) == "hidden"
    show_stacks(viewer, (5, 12, 14), (5, 12, 14))
    sources.check()
    assert not sources.get_whole()
    sources.set_whole(True)
    assert "planes of" in sources.status.value


def test_a_plane_is_taken_where_stacks_do_not_fit(sources, viewer, monkeypatch):
    from napari_dip_fusion.plugin.layers import layer_report

    show_stacks(viewer, (5, 12, 14), (3, 5, 12, 14))
    sources.set_sources(viewer.layers)
    assert extent(sources) == "This plane"
    assert sources.report.ok
    sources.set_whole(True)
    assert sources.status.value.startswith("✗ L1 has 4 dimensions")
    assert not sources.report.ok
    show_stacks(viewer, (5, 12, 14), (5, 12, 14))
    monkeypatch.setattr(layer_report, "measure_free_memory", lambda device: 1000)
    made = SourceList(viewer)
    assert extent(made) == "This plane"
    made.close_subscriptions()


def test_volumes_in_3_d_are_fused_whole_only(sources, viewer):
    show_stacks(viewer, (5, 12, 14), (5, 12, 14))
    viewer.dims.ndisplay = 3
    sources.check()
    assert sources.report.ok
    sources.set_whole(False)
    assert "switch to 2-D display" in sources.status.value


def test_whole_stacks_are_not_checked_at_each_step_of_a_slider(qtbot, sources, viewer, monkeypatch):
    from napari_dip_fusion.plugin.forms import source_list

    show_stacks(viewer, (5, 12, 14), (5, 12, 14))
    sources.check()
    checked = []
    real = source_list.check_layers

    def count(*arguments, **options):
        checked.append(options["whole"])
        return real(*arguments, **options)

    monkeypatch.setattr(source_list, "check_layers", count)
    viewer.dims.set_current_step(0, 4)
    qtbot.wait(150)
    assert checked == []
    sources.check()
    assert checked == [True]
    sources.set_whole(False)
    checked.clear()
    viewer.dims.set_current_step(0, 1)
    qtbot.waitUntil(lambda: checked == [False], timeout=5000)
