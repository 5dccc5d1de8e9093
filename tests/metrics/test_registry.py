"""The list of metrics, what evaluate does with it, and what holds for every metric."""

import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose

from napari_dip_fusion.metrics import DEFAULT_METRICS, METRICS, evaluate, gray_levels


@pytest.mark.parametrize(
    ("name", "perfect"),
    [
        ("petrovic", 1.0),
        ("petrovic_textbook", 0.9748),
        ("piella", 1.0),
        ("piella_no_edge", 1.0),
        ("piella_plain", 1.0),
        ("ssim", 1.0),
    ],
)
@pytest.mark.parametrize("count", [2, 3])
def test_a_perfect_copy(name, perfect, count, images, functions):
    image = images[0][1]
    score = functions[name]([image] * count, image)
    assert score == pytest.approx(perfect, abs=1e-12 if perfect == 1 else 1e-4)


def test_a_perfect_copy_carries_the_whole_entropy(images):
    image = images[0][1]
    scores = evaluate([image, image, image], image, which="all")
    assert scores["mutual_information"] == pytest.approx(scores["entropy"])
    assert scores["mutual_information_sum"] == pytest.approx(3 * scores["entropy"])
    assert scores["normalized_mutual_information"] == pytest.approx(3)


def test_the_order_of_the_sources_changes_nothing(make):
    sources, fused = make(3)
    forward, backward = (evaluate(s, fused, which="all") for s in (sources, sources[::-1]))
    assert forward == pytest.approx(backward, abs=1e-12)


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("other", [0.0, 0.3])
def test_flat_images_are_finite(value, other):
    flat = np.full((41, 42), value)
    scores = evaluate([flat, flat], np.full_like(flat, other), which="all")
    assert np.isfinite(list(scores.values())).all()
    if value == other:
        perfect = [scores[name] for name in ("petrovic", "piella", "piella_plain", "ssim", "vif")]
        assert_allclose(perfect, 1)


def test_flat_fused_image_keeps_nothing(images):
    sources, fused = images
    scores = evaluate(sources, np.zeros_like(fused), which="all")
    assert scores["mutual_information"] == pytest.approx(0, abs=1e-12)
    for name in ("cvejic", "vif", "entropy"):
        assert scores[name] == 0
    for name in ("standard_deviation", "average_gradient", "spatial_frequency"):
        assert scores[name] == 0
    assert scores["petrovic"] < 0.1


def test_which_metrics(images):
    sources, fused = images
    assert tuple(evaluate(sources, fused)) == DEFAULT_METRICS
    assert set(DEFAULT_METRICS) == {"petrovic", "mutual_information", "piella", "cvejic"}
    assert list(evaluate(sources, fused, which="all")) == list(METRICS)
    assert list(evaluate(sources, fused, which=["ssim", "cvejic"])) == ["ssim", "cvejic"]
    assert list(evaluate(sources, fused, which="ssim")) == ["ssim"]
    with pytest.raises(ValueError, match="'psnr'; choose from petrovic, mutual_information"):
        evaluate(sources, fused, which=["psnr"])


def test_the_registry_describes_its_metrics():
    assert len({metric.label for metric in METRICS.values()}) == len(METRICS)
    for name, metric in METRICS.items():
        assert metric.name == name
        assert metric.higher_is_better
        assert "higher is better" in metric.description


def test_values_are_plain_floats(images):
    sources, fused = images
    assert {type(value) for value in evaluate(sources, fused, which="all").values()} == {float}


def test_import_is_light():
    heavy = {"torch", "napari", "skimage", "scipy"}
    code = f"import sys, napari_dip_fusion.metrics; print({heavy} & set(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "set()"


def test_images_are_checked_and_quantized_once_however_many_are_asked_for(images, monkeypatch):
    checked = []
    check = gray_levels._check_images  # quantize calls it, from whichever module that is called
    monkeypatch.setattr(gray_levels, "_check_images", lambda i: (checked.append(i), check(i)))
    assert list(evaluate(*images, which="all")) == list(METRICS)
    assert len(checked) == 1


@pytest.mark.parametrize("count", [2, 3])
def test_together_and_alone_the_metrics_give_the_same_bits(count, make, functions):
    sources, fused = (image / 255 for image in make(count, (47, 53)))
    assert set(functions) == set(METRICS)
    together = evaluate(sources, fused, which="all")
    assert together == {name: function(sources, fused) for name, function in functions.items()}
    assert together == {name: evaluate(sources, fused, which=name)[name] for name in METRICS}
