"""The metrics beside one window or pixel at a time, as the papers write them."""

import numpy as np
import pytest

from napari_dip_fusion.metrics import METRICS

EPSILON = np.finfo(float).eps


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


def plain_fidelity(source, fused):
    kept = held = 0.0
    for side in (17, 9, 5, 3):
        r = np.arange(side) - side // 2
        window = np.exp(-(r[:, None] ** 2 + r**2) / (2 * (side / 5) ** 2))
        window /= window.sum()
        if side < 17:
            source, fused = (plain_half(image, window) for image in (source, fused))
        for i, j in np.ndindex(*np.subtract(source.shape, side - 1)):
            a, b = (image[i : i + side, j : j + side] for image in (source, fused))
            a, b = a - (window * a).sum(), b - (window * b).sum()
            power = (window * a * a).sum()
            gain = max((window * a * b).sum() / power, 0.0) if power > 1e-9 else 0.0
            rest = (window * (b - gain * a) ** 2).sum()
            kept += np.log2(1 + gain**2 * power / (rest + 2))
            held += np.log2(1 + power / 2)
    return kept / held


def plain_half(image, window):
    side = len(window)
    rows, columns = np.subtract(image.shape, side - 1)
    return np.array(
        [
            [(window * image[i : i + side, j : j + side]).sum() for j in range(0, columns, 2)]
            for i in range(0, rows, 2)
        ]
    )


def plain_average_gradient(fused):
    steps = [
        np.sqrt(((fused[i + 1, j] - fused[i, j]) ** 2 + (fused[i, j + 1] - fused[i, j]) ** 2) / 2)
        for i, j in np.ndindex(fused.shape[0] - 1, fused.shape[1] - 1)
    ]
    return np.mean(steps)


def plain_spatial_frequency(fused):
    rows, columns = fused.shape
    row = sum((fused[i, j] - fused[i, j - 1]) ** 2 for i in range(rows) for j in range(1, columns))
    column = sum(
        (fused[i, j] - fused[i - 1, j]) ** 2 for i in range(1, rows) for j in range(columns)
    )
    return np.sqrt(row / fused.size + column / fused.size)


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
    "vif": lambda s, f: np.mean([plain_fidelity(source, f) for source in s]),
    "entropy": lambda s, f: plain_entropy(f),
    "standard_deviation": lambda s, f: np.sqrt(((f - f.mean()) ** 2).mean()),
    "average_gradient": lambda s, f: plain_average_gradient(f),
    "spatial_frequency": lambda s, f: plain_spatial_frequency(f),
}


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("name", METRICS)
def test_equals_a_plain_transcription(name, count, make, functions):
    sources, fused = make(count)
    expected = PLAIN[name](sources.astype(float), fused.astype(float))
    assert functions[name](sources, fused) == pytest.approx(expected, abs=1e-10)
