"""Golden values, invariants and plain transcriptions of the fusion metrics."""

import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose
from skimage import data

from napari_dip_fusion import metrics
from napari_dip_fusion.metrics import DEFAULT_METRICS, METRICS, evaluate

EPSILON = np.finfo(float).eps

# Made with the MATLAB metric code published by the laboratory behind the reference paper, run in
# GNU Octave 7.3 on uint8 images held as double (0..255); mutual_information is the mean over the
# sources of scikit-learn's mutual_info_score / ln 2, one bin per grey level. The pictures ship
# inside the scikit-image wheel.
NAMES = [
    "petrovic",
    "piella",
    "piella_no_edge",
    "cvejic",
    "mutual_information",
    "mutual_information_renyi",
]
PAIRS = {
    "camera_moon": lambda: (data.camera()[::2, ::2], data.moon()[::2, ::2]),
    "coins_page": lambda: (data.coins()[:191, :384], data.page()[:191, :384]),
    "brick_grass": lambda: (data.brick()[100:160, 200:277], data.grass()[100:160, 200:277]),
}
RULES = {
    "average": lambda a, b: np.floor((a.astype(float) + b) / 2 + 0.5).astype(np.uint8),
    "maximum": np.maximum,
    "first": lambda a, b: a,
}
GOLDEN = {
    ("camera_moon", "average"): [
        0.386965047677,
        0.732771086248,
        0.754376922168,
        0.671554257143,
        1.865630133769,
        2.01705555176,
    ],
    ("camera_moon", "maximum"): [
        0.603497054625,
        0.709185677649,
        0.716187155908,
        0.796750104245,
        3.501873234743,
        3.00426325547,
    ],
    ("camera_moon", "first"): [
        0.789080977921,
        0.928548215353,
        0.927321366765,
        0.854418357046,
        3.851356948886,
        4.28941967018,
    ],
    ("coins_page", "average"): [
        0.343745213019,
        0.703769232017,
        0.726546069697,
        0.681677687009,
        1.246451011431,
        1.27952168143,
    ],
    ("coins_page", "maximum"): [
        0.494075277789,
        0.606447112904,
        0.611122834201,
        0.657022412111,
        3.717120853767,
        2.5786158685,
    ],
    ("coins_page", "first"): [
        0.417540904796,
        0.343686713399,
        0.352751656449,
        0.728667460903,
        4.148934022657,
        4.26461864591,
    ],
    ("brick_grass", "average"): [
        0.418395823956,
        0.678770270354,
        0.711249366283,
        0.734341508576,
        2.263684867438,
        2.6877913055,
    ],
    ("brick_grass", "maximum"): [
        0.54417474026,
        0.635578664384,
        0.665179349118,
        0.723408822396,
        3.607691138084,
        3.51563070969,
    ],
    ("brick_grass", "first"): [
        0.446284181825,
        0.295345206241,
        0.280375269558,
        0.460869508053,
        3.284541865561,
        4.20320555466,
    ],
}


@pytest.mark.parametrize("store", ["uint8", "0..255", "0..1", "float32"])
@pytest.mark.parametrize(("pair", "rule"), GOLDEN)
def test_golden_values(pair, rule, store):
    as_stored = {
        "uint8": lambda image: image,
        "0..255": lambda image: image.astype(float),
        "0..1": lambda image: image / 255,
        "float32": lambda image: (image / 255).astype(np.float32),
    }[store]
    first, second = PAIRS[pair]()
    fused = RULES[rule](first, second)
    scores = evaluate(
        [as_stored(first), as_stored(second)],
        as_stored(fused),
        data_range=255 if store == "0..255" else None,
        which=NAMES,
    )
    assert_allclose([scores[name] for name in NAMES], GOLDEN[pair, rule], rtol=0, atol=1e-9)


# --- one window or pixel at a time, as the papers write it ---------------------------------------


def make(count=2, shape=(19, 23), seed=0):
    """Correlated sources with flat and black parts, and a fused image, in uint8."""
    rng = np.random.default_rng(seed)
    common = rng.integers(0, 256, shape)
    sources = np.stack([(common + 2 * rng.integers(0, 256, shape)) // 3 for _ in range(count)])
    sources[:, :9, :9] = 0
    sources[0, -10:, -10:] = 77
    fused = np.rint(sources.mean(axis=0))
    return sources.astype(np.uint8), fused.astype(np.uint8)


def plain_gradients(image):
    padded = np.pad(image, 1)
    kernel = np.array([[1, 2, 1], [0, 0, 0], [-1, -2, -1]]) / 8
    x, y = np.zeros(image.shape), np.zeros(image.shape)
    for i, j in np.ndindex(*image.shape):
        x[i, j] = (kernel * padded[i : i + 3, j : j + 3]).sum()
        y[i, j] = (-kernel.T * padded[i : i + 3, j : j + 3]).sum()
    return np.hypot(x, y), np.arctan(y / (x + EPSILON))


def plain_petrovic(sources, fused, textbook=False):
    strength_f, angle_f = plain_gradients(fused)
    kept = total = 0.0
    for source in sources:
        strength, angle = plain_gradients(source)
        low, high = np.minimum(strength, strength_f), np.maximum(strength, strength_f)
        g = (low + EPSILON) / (high + EPSILON)
        a = np.abs(np.abs(angle - angle_f) - np.pi / 2) / (np.pi / 2)
        if textbook:
            quality = (
                0.9994 / (1 + np.exp(-15 * (g - 0.5))) * 0.9879 / (1 + np.exp(-22 * (a - 0.8)))
            )
        else:
            of_strength = (1 + np.exp(-11 * (1 - 0.7))) / (1 + np.exp(-11 * (g - 0.7)))
            of_angle = (1 + np.exp(-24 * (1 - 0.8))) / (1 + np.exp(-24 * (a - 0.8)))
            quality = np.sqrt(of_strength * of_angle)
        kept += (quality * strength).sum()
        total += strength.sum()
    return kept / total


def plain_index(a, b):
    covariance = ((a - a.mean()) * (b - b.mean())).mean()
    spread, power = a.var() + b.var(), a.mean() ** 2 + b.mean() ** 2
    structure = 2 * covariance / spread if spread else 1.0
    return structure * (2 * a.mean() * b.mean() / power if power else 1.0)


def plain_window_index(sources, fused, saliency=True):
    quality = saliencies = 0.0
    for i, j in np.ndindex(fused.shape[0] - 7, fused.shape[1] - 7):
        window = np.s_[i : i + 8, j : j + 8]
        variances = np.array([source[window].var() for source in sources])
        count = len(sources)
        shares = variances / variances.sum() if variances.any() else np.full(count, 1 / count)
        weight = variances.max() if saliency else 1.0
        indices = [plain_index(source[window], fused[window]) for source in sources]
        quality += weight * (shares * indices).sum()
        saliencies += weight
    return quality / saliencies


def plain_piella(sources, fused):
    edges = [plain_gradients(image)[0] for image in (*sources, fused)]
    return (
        plain_window_index(sources, fused) ** 0.8 * plain_window_index(edges[:-1], edges[-1]) ** 0.2
    )


def plain_cvejic(sources, fused):
    values = []
    for i in range(0, fused.shape[0] - 3, 4):
        for j in range(0, fused.shape[1] - 3, 4):
            f = fused[i : i + 4, j : j + 4]
            blocks = [source[i : i + 4, j : j + 4] for source in sources]
            covariances = np.array([np.cov(b.ravel(), f.ravel())[0, 1] for b in blocks])
            similarity = np.clip(covariances / (covariances.sum() + EPSILON), 0, 1)
            quality = [
                4 * c * b.mean() * f.mean()
                / ((b.var(ddof=1) + f.var(ddof=1)) * (b.mean() ** 2 + f.mean() ** 2) + EPSILON)
                for c, b in zip(covariances, blocks, strict=True)
            ]  # fmt: skip
            values.append((similarity * quality).sum())
    return np.mean(values)


def plain_entropy(*images, order=1.0):
    keys = list(zip(*(image.ravel().tolist() for image in images), strict=True))
    p = np.array([keys.count(key) / len(keys) for key in set(keys)])
    return -(p * np.log2(p)).sum() if order == 1 else np.log2((p**order).sum()) / (1 - order)


def plain_information(sources, fused, order=1.0):
    def h(*images):
        return plain_entropy(*images, order=order)

    return np.array([h(source) + h(fused) - h(source, fused) for source in sources])


def plain_hossny(sources, fused):
    entropies = np.array([plain_entropy(source) for source in sources]) + plain_entropy(fused)
    return (2 * plain_information(sources, fused) / entropies).sum()


def plain_ssim(sources, fused):
    from skimage.metrics import structural_similarity

    setting = {"gaussian_weights": True, "use_sample_covariance": False, "data_range": 255}
    return np.mean([structural_similarity(source, fused, **setting) for source in sources])


PLAIN = {
    "petrovic": plain_petrovic,
    "mutual_information": lambda s, f: plain_information(s, f).mean(),
    "piella": plain_piella,
    "cvejic": plain_cvejic,
    "petrovic_textbook": lambda s, f: plain_petrovic(s, f, textbook=True),
    "mutual_information_sum": lambda s, f: plain_information(s, f).sum(),
    "mutual_information_natural": lambda s, f: plain_information(s, f).mean() * np.log(2),
    "mutual_information_renyi": lambda s, f: plain_information(s, f, order=0.5).mean(),
    "normalized_mutual_information": plain_hossny,
    "piella_no_edge": plain_window_index,
    "piella_plain": lambda s, f: plain_window_index(s, f, saliency=False),
    "ssim": plain_ssim,
    "entropy": lambda s, f: plain_entropy(f),
}


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("name", METRICS)
def test_equals_a_plain_transcription(name, count):
    sources, fused = make(count)
    expected = PLAIN[name](sources.astype(float), fused.astype(float))
    assert METRICS[name].function(sources, fused) == pytest.approx(expected, abs=1e-10)


# --- invariants -----------------------------------------------------------------------------------


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
def test_a_perfect_copy(name, perfect, count):
    image = make()[0][1]
    score = METRICS[name].function([image] * count, image)
    assert score == pytest.approx(perfect, abs=1e-12 if perfect == 1 else 1e-4)


def test_a_perfect_copy_carries_the_whole_entropy():
    image = make()[0][1]
    scores = evaluate([image, image, image], image, which="all")
    assert scores["mutual_information"] == pytest.approx(scores["entropy"])
    assert scores["mutual_information_sum"] == pytest.approx(3 * scores["entropy"])
    assert scores["normalized_mutual_information"] == pytest.approx(3)


def test_a_perfect_copy_without_flat_blocks_has_cvejic_one():
    image = np.random.default_rng(0).integers(1, 256, (21, 17)).astype(np.uint8)
    assert metrics.cvejic([image, image, image], image) == pytest.approx(1)


def test_the_order_of_the_sources_changes_nothing():
    sources, fused = make(3)
    forward, backward = (evaluate(s, fused, which="all") for s in (sources, sources[::-1]))
    assert forward == pytest.approx(backward, abs=1e-12)


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("other", [0.0, 0.3])
def test_flat_images_are_finite(value, other):
    flat = np.full((16, 17), value)
    scores = evaluate([flat, flat], np.full_like(flat, other), which="all")
    assert np.isfinite(list(scores.values())).all()
    if value == other:
        perfect = [scores[name] for name in ("petrovic", "piella", "piella_plain", "ssim")]
        assert_allclose(perfect, 1)


def test_flat_fused_image_keeps_nothing():
    sources, fused = make()
    scores = evaluate(sources, np.zeros_like(fused), which="all")
    assert scores["mutual_information"] == pytest.approx(0, abs=1e-12)
    assert scores["cvejic"] == scores["entropy"] == 0
    assert scores["petrovic"] < 0.1


def test_an_inverted_image_has_no_complex_quality():
    image = make()[0][1]
    assert metrics.piella([image, image], 255 - image) == 0
    assert metrics.piella([image, image], 255 - image, edge_exponent=0) < 0


@pytest.mark.parametrize("tile", [(4, 4), (8, 12), (16, 256), (4096, 4096)])
def test_tiles_change_nothing(tile, monkeypatch):
    sources, fused = make(3, (37, 53))
    sources = sources / 254.321
    expected = evaluate(sources, fused / 254.321, data_range=1, which="all")
    monkeypatch.setattr(metrics, "_TILE", tile)
    assert evaluate(sources, fused / 254.321, data_range=1, which="all") == pytest.approx(
        expected, abs=1e-12
    )


# --- what goes in ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "int64", "float32", "float64"])
def test_dtype_changes_nothing(dtype):
    sources, fused = make()
    given = evaluate(sources.astype(dtype), fused.astype(dtype), data_range=255, which="all")
    assert given == evaluate(sources, fused, which="all")


@pytest.mark.parametrize(
    ("dtype", "white"), [("uint16", 65535), ("uint32", 2**32 - 1), ("float16", 1), ("bool", 1)]
)
def test_data_range_of_a_dtype(dtype, white):
    images = (make(3)[0] > 100) * np.array(white, dtype)
    images = images.astype(dtype)
    in_uint8 = (images > 0).astype(np.uint8) * 255
    assert evaluate(images[:2], images[2]) == evaluate(in_uint8[:2], in_uint8[2])


def test_floats_of_two_widths_go_together():
    sources, fused = make()
    assert evaluate(sources / 255, (fused / 255).astype(np.float32)) == evaluate(sources, fused)


def test_values_outside_the_range_are_clipped():
    sources, fused = make()
    wild = fused / 255 + np.where(fused == 0, -1, 0) + np.where(fused == fused.max(), 1, 0)
    clipped = np.clip(wild, 0, 1)
    assert evaluate(sources / 255, wild, data_range=1) == evaluate(sources / 255, clipped)


def test_input_is_left_as_it_was():
    sources, fused = make()
    sources, fused = sources / 255, fused / 255
    before = sources.copy(), fused.copy()
    evaluate(sources, fused, which="all")
    assert_allclose(sources, before[0], rtol=0)
    assert_allclose(fused, before[1], rtol=0)


@pytest.mark.parametrize(
    ("sources", "fused", "data_range", "message"),
    [
        ([np.zeros((9, 9))], np.zeros((9, 9)), None, "at least 2 sources, got 1"),
        ([np.zeros((9, 9)), np.zeros((9, 8))], np.zeros((9, 9)), None, r"\(9, 8\) and \(9, 9\)"),
        ([np.zeros((9, 9, 3))] * 2, np.zeros((9, 9, 3)), None, r"grey .* got shape \(9, 9, 3\)"),
        (np.zeros((2, 9, 9), "u1"), np.zeros((9, 9)), None, "float64 and uint8; pass data_range"),
        (np.zeros((2, 9, 9), "i2"), np.zeros((9, 9), "i2"), None, "int16; pass data_range"),
        (np.zeros((2, 9, 9), "u2"), np.zeros((9, 9), "u1"), None, "pass data_range"),
        (np.zeros((2, 9, 9)), np.full((9, 9), 255.0), None, r"in \[0, 1\], got 0 to 255; rescale"),
        (np.zeros((2, 9, 9)), np.full((9, 9), np.nan), 1, "finite values, got NaN"),
        (np.full((2, 9, 9), np.inf), np.zeros((9, 9)), 1, "finite values, got NaN or infinity"),
        (np.zeros((2, 9, 9)), np.zeros((9, 9), complex), 1, "real numbers, got dtype complex128"),
        (np.zeros((2, 9, 9)), np.zeros((9, 9)), 0, "positive and finite, got 0"),
        (np.zeros((2, 9, 9)), np.zeros((9, 9)), float("nan"), "positive and finite, got nan"),
    ],
)
def test_bad_input_is_refused(sources, fused, data_range, message):
    with pytest.raises(ValueError, match=message):
        evaluate(sources, fused, data_range=data_range)


@pytest.mark.parametrize(
    ("name", "side"),
    [("petrovic", 3), ("piella", 8), ("cvejic", 4), ("ssim", 11), ("mutual_information", 1)],
)
def test_too_small_images_are_refused(name, side):
    enough, short = np.zeros((3, side, side + 1)), np.zeros((3, side - 1, 20))
    assert np.isfinite(METRICS[name].function(enough[:2], enough[2]))
    with pytest.raises(ValueError, match=f"at least {side}x{side} pixels .* got {side - 1}x20"):
        METRICS[name].function(short[:2], short[2])


def test_bad_options_are_refused():
    sources, fused = make()
    with pytest.raises(ValueError, match="'2000'; choose from laboratory, textbook"):
        metrics.petrovic(sources, fused, variant="2000")
    with pytest.raises(ValueError, match="'bits'; choose from mean, sum, natural"):
        metrics.mutual_information(sources, fused, variant="bits")
    with pytest.raises(ValueError, match=r"in \[0, 1\], got 2"):
        metrics.piella(sources, fused, edge_exponent=2)


# --- evaluate and the registry --------------------------------------------------------------------


def test_which_metrics():
    sources, fused = make()
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


def test_values_are_plain_floats():
    sources, fused = make()
    assert {type(value) for value in evaluate(sources, fused, which="all").values()} == {float}


def test_import_is_light():
    heavy = {"torch", "napari", "skimage", "scipy"}
    code = f"import sys, napari_dip_fusion.metrics; print({heavy} & set(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "set()"
