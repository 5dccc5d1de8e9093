from itertools import product

import numpy as np
import pytest

from napari_dip_fusion.io.halving import halve, plan_factors
from napari_dip_fusion.sources import Source


def list_means(pixels, axes):
    """Return each mean by itself, in numbers without limits."""
    steps = [2 if n in axes else 1 for n in range(pixels.ndim)]
    corners = product(*(range(0, n, step) for n, step in zip(pixels.shape, steps, strict=True)))
    parts = [
        pixels[tuple(slice(n, n + step) for n, step in zip(corner, steps, strict=True))]
        for corner in corners
    ]
    if pixels.dtype.kind == "f":
        return [part.mean(dtype=np.float64) for part in parts]
    return [(2 * sum(map(int, p.flat)) + p.size) // (2 * p.size) for p in parts]


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i8", "u8", "f2", "f4", "f8", "?"])
@pytest.mark.parametrize("axes", [(1, 2), (0, 1, 2)])
def test_pixels_are_means(dtype, axes):
    random = np.random.default_rng(0).bytes(5 * 7 * 8 * 8)
    pixels = np.frombuffer(random, "i8").reshape(5, 7, 8)
    if dtype == "?":
        pixels = pixels > 0
    elif dtype[0] == "f":
        pixels = (pixels / 2**63).astype(dtype)
    else:
        # Where all are as large as can be, their sum is too large for their type.
        pixels = np.where(pixels % 3 == 0, np.iinfo(dtype).max, pixels.astype(dtype)).astype(dtype)
    found = halve(pixels, axes)
    assert found.dtype == pixels.dtype
    assert found.shape == tuple(-(-n // 2) if a in axes else n for a, n in enumerate((5, 7, 8)))
    tolerance = {"f2": 1e-3, "f4": 1e-6}.get(dtype, 1e-15)
    expected = list_means(pixels, axes)
    np.testing.assert_allclose(found.ravel(), expected, rtol=0, atol=tolerance * (dtype[0] == "f"))


@pytest.mark.parametrize(
    ("shape", "spacing", "units", "factors"),
    [
        ((512, 300), (1, 1), ("um", "um"), [(1, 1)]),
        ((1025, 3), (1, 1), ("um", "um"), [(1, 1), (2, 2), (4, 4)]),
        ((4096, 1), (1, 1), ("um", "um"), [(1, 1), (2, 1), (4, 1), (8, 1)]),
        ((9, 2000, 999), (4, 1, 1), ("um",) * 3, [(1, 1, 1), (1, 2, 2), (1, 4, 4)]),
        ((9, 4000, 999), (2, 1, 1), ("um",) * 3, [(1,) * 3, (1, 2, 2), (2, 4, 4), (4, 8, 8)]),
        ((9, 2000, 999), (1.5, 1, 1), ("um",) * 3, [(1,) * 3, (2,) * 3, (4,) * 3]),
        # A thousandth of a millimeter.
        ((9, 2000, 999), (0.001, 1, 1), ("mm", "um", "um"), [(1,) * 3, (2,) * 3, (4,) * 3]),
        ((999, 600, 600), (1, 1, 1), ("s", "um", "um"), [(1,) * 3, (1, 2, 2)]),
    ],
)
def test_planned_resolutions(shape, spacing, units, factors):
    axes = ("t" if "s" in units else "z", "y", "x")[-len(shape) :]
    data = np.broadcast_to(np.uint8(0), shape)
    image = Source(data, axes, affine=np.diag([*spacing, 1.0]), units=units)
    assert plan_factors(image) == factors
    assert all(f[0] == 1 for f in plan_factors(image, depth=False) if len(shape) == 3)
