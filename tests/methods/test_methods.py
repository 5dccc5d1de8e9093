"""The registry, and what every method has to do."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from napari_dip_fusion import fuse, interruption
from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.methods import METHODS, fuse_stack, fuse_with
from napari_dip_fusion.sensor.analysis import analyze, find_noise
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.color import LUMA
from napari_dip_fusion.sources.grid import resample_to_reference
from napari_dip_fusion.sources.prepare import prepare_sources

PLANAR = [m.name for m in METHODS.values() if m.planar and not m.needs_weights]
CLASSICAL = [m.name for m in METHODS.values() if not m.needs_torch]
RNG = np.random.default_rng(11)


def images(count: int = 2, shape: tuple[int, ...] = (33, 47), dtype: Any = np.uint8) -> list[Any]:
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return list(RNG.normal(2, 30, (count, *shape)).astype(kind))
    return list(RNG.integers(0, np.iinfo(kind).max, (count, *shape), dtype=kind))


@pytest.mark.parametrize("name", CLASSICAL)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64"])
def test_any_real_type_gives_floats_in_the_unit_range(name: str, dtype: str) -> None:
    sources = images(dtype=dtype)
    before = [s.copy() for s in sources]
    fused = fuse_with(name, sources)
    assert fused.shape == (33, 47)
    assert fused.dtype == np.float32
    assert 0 <= fused.min() <= fused.max() <= 1
    np.testing.assert_array_equal(sources, before)


@pytest.mark.parametrize("name", CLASSICAL)
@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (1, 40), (16, 16), (17, 64), (129, 31)])
def test_any_size(name: str, shape: tuple[int, int]) -> None:
    fused = fuse_with(name, images(shape=shape))
    assert fused.shape == shape
    assert np.isfinite(fused).all()


@pytest.mark.parametrize("name", CLASSICAL)
@pytest.mark.parametrize("count", [3, 4])
def test_more_than_two_sources_in_any_order(name: str, count: int) -> None:
    sources = images(count)
    fused = fuse_with(name, sources)
    np.testing.assert_allclose(fused, fuse_with(name, sources[::-1]), atol=1e-5)


@pytest.mark.parametrize("name", CLASSICAL)
def test_color_is_fused_by_luma(name: str) -> None:
    gray, colored = images(1)[0], images(1, (33, 47, 3))[0]
    prepared = prepare_sources([gray, colored])
    fused = fuse_with(name, [gray, colored])
    assert fused.shape == (33, 47, 3)
    luma = fuse_stack(name, prepared.images)
    np.testing.assert_allclose(fused @ LUMA, luma, atol=1e-5)
    np.testing.assert_array_equal(fused, prepared.add_color(luma))


@pytest.mark.parametrize("stack", [(1,), (3,), (2, 2)])
@pytest.mark.parametrize("name", PLANAR)
def test_a_volume_is_fused_plane_by_plane(name: str, stack: tuple[int, ...]) -> None:
    volume = RNG.random((2, *stack, 17, 21), dtype=np.float32)
    options = {"iterations": 3} if name in ("gmc", "l1") else {}
    fused = fuse_stack(name, volume, **options)
    assert fused.shape == (*stack, 17, 21)
    assert fused.dtype == np.float32
    for index in np.ndindex(stack):
        plane = fuse_stack(name, np.ascontiguousarray(volume[:, *index]), **options)
        np.testing.assert_array_equal(fused[index], plane)


def test_the_consensus_of_a_volume_is_fused_in_three_dimensions() -> None:
    volume = RNG.random((2, 3, 17, 21), dtype=np.float32)
    config = FusionConfig(method="consensus")
    for steps in ((), (1.0, 1.0, 1.0), (0.5, 1.0, 1.0)):
        expected = analyze(volume, config, steps=steps).consensus.clip(0, 1)
        np.testing.assert_array_equal(fuse_stack("consensus", volume, steps), expected)
    whole = fuse_stack("consensus", volume)
    assert np.abs(whole[1] - fuse_stack("consensus", volume[:, 1])).max() > 1e-3


@pytest.mark.parametrize("shape", [(3, 17, 21), (2, 3, 17, 21), (2, 3, 2, 4)])
def test_the_consensus_of_a_series_is_fused_frame_by_frame(shape: tuple[int, ...]) -> None:
    series = RNG.random((2, *shape), dtype=np.float32)
    frame = (1.0,) * (len(shape) - 1)
    fused = fuse_stack("consensus", series, (np.inf, *frame), noise="none")
    for index in range(len(series[0])):
        expected = fuse_stack("consensus", series[:, index], frame, noise="none")
        np.testing.assert_array_equal(fused[index], expected)


def test_frames_of_a_series_share_one_estimate_of_the_noise() -> None:
    slope = np.linspace(0.2, 0.8, 40, dtype=np.float32)
    noise = RNG.normal(0, 1, (2, 3, 40, 40)).astype(np.float32)
    series = slope + noise * np.float32([0.02, 0.06, 0.1])[:, None, None]
    config = FusionConfig(method="consensus")
    shared = find_noise(series, config)
    assert all(shared)
    fused = fuse_stack("consensus", series, (np.inf, 1.0, 1.0))
    for index, frame in enumerate(fused):
        expected = analyze(series[:, index], config, shared).consensus.clip(0, 1)
        np.testing.assert_array_equal(frame, expected)
    assert np.any(fused[2] != fuse_stack("consensus", series[:, 2]))


def test_volumes_and_series_are_taken_as_sources_of_any_type() -> None:
    volume = RNG.integers(0, 256, (2, 3, 17, 21), dtype=np.uint8)
    planes = np.stack([fuse_with("wavelet", volume[:, z]) for z in range(3)])
    np.testing.assert_array_equal(fuse_with("wavelet", list(volume)), planes)
    series = [Source(image, axes=("t", "y", "x")) for image in volume]
    np.testing.assert_array_equal(fuse_with("wavelet", series), planes)
    frames = [fuse_with("consensus", volume[:, t], noise="none") for t in range(3)]
    np.testing.assert_array_equal(fuse_with("consensus", series, noise="none"), frames)
    assert np.any(fuse_with("consensus", list(volume), noise="none") != frames)
    color = RNG.integers(0, 256, (2, 3, 17, 21, 3), dtype=np.uint8)
    colored = [Source(image, axes=("z", "y", "x"), rgb=True) for image in color]
    fused = fuse_with("maximum", colored)
    assert fused.shape == (3, 17, 21, 3)
    np.testing.assert_allclose(fused[1], fuse_with("maximum", color[:, 1]), atol=1e-6)


def test_sources_on_other_grids_are_brought_to_the_finest_as_in_a_fusion() -> None:
    fine = Source(RNG.random((4, 18, 20)), axes="zyx", units=("mm",) * 3)
    coarse = Source(
        RNG.random((4, 9, 10)), axes="zyx", affine=np.diag([1, 2, 2, 1]), units=fine.units
    )
    fused = fuse_with("maximum", [coarse, fine])
    assert fused.shape == fine.shape
    expected = fuse([coarse, fine], FusionConfig(method="maximum")).image
    np.testing.assert_array_equal(fused, expected)
    grid = resample_to_reference([coarse, fine], reference=0)
    assert fuse_with("maximum", grid).shape == coarse.shape


def test_each_plane_is_told_and_may_end_the_fusion() -> None:
    volume = RNG.random((2, 3, 17, 21), dtype=np.float32)
    told: list[tuple[str, float, float]] = []
    with (
        interruption.make_observable(lambda *event: told.append(event)),
        interruption.stage("fusion", 3),
    ):
        fuse_stack("maximum", volume)
    assert told == [("fusion", n, 3) for n in range(4)]

    def stop() -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(1)

    asked: list[int] = []
    with interruption.make_interruptible(stop), pytest.raises(KeyboardInterrupt):
        fuse_stack("maximum", volume)


def test_memory_of_a_volume_is_that_of_a_plane_and_of_what_lies_there_whole() -> None:
    for method in METHODS.values():
        plane, volume = (method.estimate_memory(s, 2) for s in ((64, 80), (9, 64, 80)))
        if method.planar:
            assert volume - plane == 4 * 9 * 64 * 80 * 3
        else:
            assert volume == method.estimate_memory((9 * 64, 80), 2)


@pytest.mark.parametrize("name", [n for n in CLASSICAL if n not in ("gmc", "l1")])
def test_equal_sources_give_themselves(name: str) -> None:
    image = images(1)[0]
    # The images of these tests are noise, which the consensus would take off.
    options = {"noise": "none"} if name == "consensus" else {}
    fused = fuse_with(name, [image, image], **options)
    np.testing.assert_allclose(fused, image / 255, atol=1e-5)


def test_simple_rules() -> None:
    sources = images(3)
    stack = np.stack(sources) / 255
    np.testing.assert_allclose(fuse_with("average", sources), stack.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(fuse_with("maximum", sources), stack.max(axis=0), atol=1e-6)


def test_consensus_takes_the_options_of_the_gains() -> None:
    sources = images()
    options = {"patch_size": 2, "window": "block", "scale": "unit-norm"}
    assert np.any(fuse_with("consensus", sources) != fuse_with("consensus", sources, **options))


@pytest.mark.parametrize("name", ["wavelet", "laplacian"])
def test_details_come_from_the_source_that_has_them(name: str) -> None:
    sharp = RNG.random((32, 32))
    flat = np.full((32, 32), 0.5)
    fused = fuse_with(name, [sharp, flat], intensity="dtype", levels=1)
    assert fused.std() > 0.8 * sharp.std()  # the average keeps half of it
    assert np.corrcoef(fused.ravel(), sharp.ravel())[0, 1] > 0.95


def test_unknown_names_and_options_are_refused() -> None:
    sources = images()
    with pytest.raises(ValueError, match="unknown method 'magic'; the methods are average, max"):
        fuse_with("magic", sources)
    with pytest.raises(ValueError, match="unknown option 'gama' of method 'gmc'; its options are"):
        fuse_with("gmc", sources, gama=1)
    with pytest.raises(ValueError, match="'average'; it has no options"):
        fuse_with("average", sources, levels=1)
    with pytest.raises(ValueError, match="two or more sources, got 1"):
        fuse_with("average", sources[:1])


@pytest.mark.parametrize(
    ("name", "option", "message"),
    [
        ("wavelet", {"levels": 0}, "levels must be 1 or more, got 0"),
        ("wavelet", {"basis": "mexh"}, "basis must be a discrete wavelet"),
        ("laplacian", {"levels": 0}, "levels must be 1 or more, got 0"),
        ("gmc", {"gamma": 1}, "gamma must be at least 0 and below 1, got 1"),
        ("gmc", {"penalty": -1}, "penalty must be 0 or more, got -1"),
        ("l1", {"iterations": 0}, "iterations must be 1 or more, got 0"),
        ("consensus", {"patch_size": 4}, "patch_size must be odd"),
    ],
)
def test_values_out_of_range_are_refused(name: str, option: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fuse_with(name, images(), **option)


def test_methods_are_described() -> None:
    for name, method in METHODS.items():
        assert method.name == name
        assert method.description.endswith(".")
        documentation = method.load().__doc__ or ""
        for section in ("Parameters", "Returns", "Notes", ".. math::"):
            assert section in documentation, (name, section)
        identifier = method.citation.rpartition(":")[2]
        assert identifier in documentation


def test_classical_methods_do_not_load_torch() -> None:
    code = (
        "import numpy as np, sys\n"
        "from napari_dip_fusion.methods import METHODS, fuse_with\n"
        "a = np.eye(20)\n"
        "for m in METHODS.values():\n"
        "    m.needs_torch or fuse_with(m.name, [a, a])\n"
        "print('torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert run.stdout.strip() == "False"


def test_the_consensus_has_the_gains_of_the_default_preset() -> None:
    options = METHODS["consensus"].options()
    assert options == {name: FusionConfig().leaves()[name] for name in options}
