"""Metrics of real pictures, as the code published for them computes them."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from skimage import data

from napari_dip_fusion.metrics import evaluate

# Made with the MATLAB metric code published by the laboratory behind the reference paper, run in
# GNU Octave 7.3 on uint8 images held as double (0..255); mutual_information is the mean over the
# sources of scikit-learn's mutual_info_score / ln 2, one bin per gray level; vif is the mean over
# the sources of sewar.vifp(source, fused) of sewar 0.4.10, of the same doubles. The pictures ship
# inside the scikit-image wheel.
NAMES = [
    "petrovic",
    "piella",
    "piella_no_edge",
    "cvejic",
    "mutual_information",
    "mutual_information_renyi",
    "vif",
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
        0.3744297750565,
    ],
    ("camera_moon", "maximum"): [
        0.603497054625,
        0.709185677649,
        0.716187155908,
        0.796750104245,
        3.501873234743,
        3.00426325547,
        0.3328628267227,
    ],
    ("camera_moon", "first"): [
        0.789080977921,
        0.928548215353,
        0.927321366765,
        0.854418357046,
        3.851356948886,
        4.28941967018,
        0.5072414318346,
    ],
    ("coins_page", "average"): [
        0.343745213019,
        0.703769232017,
        0.726546069697,
        0.681677687009,
        1.246451011431,
        1.27952168143,
        0.3164816288571,
    ],
    ("coins_page", "maximum"): [
        0.494075277789,
        0.606447112904,
        0.611122834201,
        0.657022412111,
        3.717120853767,
        2.5786158685,
        0.2555821560622,
    ],
    ("coins_page", "first"): [
        0.417540904796,
        0.343686713399,
        0.352751656449,
        0.728667460903,
        4.148934022657,
        4.26461864591,
        0.5046208482987,
    ],
    ("brick_grass", "average"): [
        0.418395823956,
        0.678770270354,
        0.711249366283,
        0.734341508576,
        2.263684867438,
        2.6877913055,
        0.2145774486962,
    ],
    ("brick_grass", "maximum"): [
        0.54417474026,
        0.635578664384,
        0.665179349118,
        0.723408822396,
        3.607691138084,
        3.51563070969,
        0.1521833386924,
    ],
    ("brick_grass", "first"): [
        0.446284181825,
        0.295345206241,
        0.280375269558,
        0.460869508053,
        3.284541865561,
        4.20320555466,
        0.5037921150414,
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
