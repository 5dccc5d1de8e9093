"""The fields of each source's resolution and mask, as a part of the list of sources."""

import numpy as np
import pytest

from napari_dip_fusion.plugin.forms.acquisition_form import GONE, ITS_PIXELS, NO_MASK, TITLE
from napari_dip_fusion.plugin.forms.source_list import SourceList
from napari_dip_fusion.plugin.layers.acquisition import Acquisition


@pytest.fixture
def viewer(viewer_without_window):
    for layer in viewer_without_window.layers:
        layer.units, layer.scale = "mm", (2, 2)
    return viewer_without_window


@pytest.fixture
def sources(qtbot, viewer):
    made = SourceList(viewer)
    qtbot.addWidget(made.native)
    yield made
    made.close_subscriptions()


@pytest.fixture
def form(sources):
    return sources.acquisitions


def rows(form):
    """Return resolution and mask fields by the label of their row."""
    return {row.label: (row[0], row[1]) for row in form._form[1:]}


def choices(box):
    return [box.native.itemText(i) for i in range(box.native.count())]


def test_each_source_has_its_fields(sources, form, viewer, pair):
    assert list(rows(form)) == ["MR", "CT"]
    viewer.add_image(pair[0], name="PET")
    assert list(rows(form)) == ["MR", "CT"]
    sources.set_sources([viewer.layers["PET"], viewer.layers["CT"]])
    assert list(rows(form)) == ["PET", "CT"]
    sources.set_sources([])
    assert form.native.isHidden()


def test_a_resolution_is_by_default_that_of_the_pixels(form):
    resolution, mask = rows(form)["CT"]
    assert resolution.native.text() == ITS_PIXELS
    # Any image of the same pixels could be one.
    assert choices(mask) == [NO_MASK, "MR"]
    assert "FWHM" in resolution.tooltip
    resolution.value = 4.5
    assert resolution.native.text() == "4.50 mm"
    assert form.folded.text() == f"{TITLE} (CT: 4.5 mm)"


def test_a_width_makes_its_source_one_to_restore(qtbot, sources, form):
    with qtbot.waitSignal(sources.choice_changed):
        rows(form)["CT"][0].value = 9
    assert [taken.fwhm for taken in sources.get_acquisitions()] == [9, 0]
    qtbot.waitUntil(lambda: "CT is restored: its blur is 9 mm wide" in sources.status.value)
    assert sources.status.value.startswith("✓")
    sources.set_restore("never")
    qtbot.waitUntil(lambda: "CT is not restored, as set" in sources.status.value)
    rows(form)["CT"][0].value = 999
    qtbot.waitUntil(lambda: "CT: fwhm along" in sources.status.value)
    assert sources.status.value.startswith("✗")


def test_labels_and_images_of_the_same_pixels_are_offered_as_masks(sources, form, viewer, pair):
    viewer.add_image(pair[0][:10], name="part")
    labels = viewer.add_labels(np.ones(pair[0].shape, dtype=int), name="seen")
    viewer.add_points(np.zeros((1, 2)), name="marks")
    assert choices(rows(form)["CT"][1]) == [NO_MASK, "seen", "MR"]
    labels.name = "body"
    assert choices(rows(form)["CT"][1]) == [NO_MASK, "body", "MR"]
    rows(form)["CT"][1].value = labels.unique_id
    assert sources.get_acquisitions()[0].mask == labels
    assert form.folded.text() == f"{TITLE} (CT: mask)"


def test_what_was_said_stays_with_its_layer(sources, form, viewer, pair):
    labels = viewer.add_labels(np.ones(pair[0].shape, dtype=int), name="seen")
    form.set_acquisition(viewer.layers["CT"], Acquisition(4.5, labels))
    viewer.layers["CT"].name = "bone"
    viewer.layers.move(0, 2)
    sources.set_sources([viewer.layers["MR"]])
    assert form.folded.text() == TITLE
    sources.set_sources([viewer.layers["MR"], viewer.layers["bone"]])
    resolution, mask = rows(form)["bone"]
    assert resolution.value == 4.5
    assert mask.native.currentText() == "seen"
    assert form.get_acquisition(viewer.layers["bone"]).mask == labels


def test_a_mask_that_is_removed_is_not_forgotten_in_silence(qtbot, sources, form, viewer, pair):
    labels = viewer.add_labels(np.ones(pair[0].shape, dtype=int), name="seen")
    rows(form)["CT"][1].value = labels.unique_id
    viewer.layers.remove("seen")
    assert rows(form)["CT"][1].native.currentText() == GONE
    qtbot.waitUntil(lambda: "the mask of CT was removed" in sources.status.value)
    rows(form)["CT"][1].value = ""
    qtbot.waitUntil(lambda: sources.status.value.startswith("✓"))


def test_a_layer_that_says_how_wide_it_is_blurred_needs_no_hand(sources, form, viewer, pair):
    viewer.add_image(pair[0], name="PET", units="mm", scale=(2, 2), metadata={"fwhm": [4.5, 4.5]})
    sources.set_sources([viewer.layers["PET"], viewer.layers["CT"]])
    assert rows(form)["PET"][0].value == 4.5
    assert sources.get_acquisitions()[1].fwhm == 4.5
    rows(form)["PET"][0].value = 0
    assert sources.get_acquisitions()[1].fwhm == 0


@pytest.mark.parametrize(("scale", "step", "text"), [(0.05, 0.005, "0.123 mm"), (30, 5, "0.12 mm")])
def test_numbers_are_as_fine_as_the_pixels(form, sources, viewer, scale, step, text):
    viewer.layers["CT"].scale = (scale, scale)
    viewer.layers["CT"].name = "CT"
    sources.check()
    form._shown = []
    sources.check()
    resolution = rows(form)["CT"][0]
    assert resolution.step == pytest.approx(step)
    resolution.value = 0.123
    assert resolution.native.text().startswith(text[:5])


def test_units_follow_the_layer(form, sources, viewer):
    for layer in viewer.layers:
        layer.units = "um"
    sources.check()
    rows(form)["CT"][0].value = 3
    assert rows(form)["CT"][0].native.text() == "3.00 um"


def test_the_fields_fit_the_narrowest_widget(form, viewer):
    assert form.native.minimumSizeHint().width() <= 310
    viewer.layers["CT"].name = "WWWWWWWW WWWWWWW"
    rows(form)["WWWWWWWW WWWWWWW"][0].value = 4.5
    assert form.native.minimumSizeHint().width() <= 310
    assert form.folded.text() == f"{TITLE} (WWWWWWWW …: 4.5 mm)"
    assert form.folded.toggleButton().toolTip() == "WWWWWWWW WWWWWWW: 4.5 mm"
