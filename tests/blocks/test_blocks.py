"""What is fused block by block is what the whole would be."""

import numpy as np
import pytest

from napari_dip_fusion import FusionConfig, Source, fuse, fuse_blocks
from napari_dip_fusion.blocks import output
from napari_dip_fusion.blocks.cutting import Cutter
from napari_dip_fusion.restoration import denoiser, planes, restorer
from napari_dip_fusion.samples import SAMPLES
from napari_dip_fusion.sources.grid import resample_to_reference

MM = ("mm", "mm")
CLEAN = FusionConfig(noise="none")


def make_pair(rows: int = 300, columns: int = 333) -> list[np.ndarray]:
    """Return a CT and an MR of a head, several times side by side, as floats in [0, 1]."""
    return [
        np.tile(np.asarray(source, np.float32), (2, 2))[:rows, :columns]
        for source in SAMPLES["head"]().sources
    ]


CT, MR = make_pair()
TURNED = np.array([[1.1, 0.02, 40.0], [-0.02, 1.1, 30.0], [0, 0, 1]])
SEEN = np.ones(CT.shape, bool)
SEEN[:150] = False
STACK = [np.stack([np.roll(image, 5 * k, axis=0) for k in range(3)]) for image in (CT, MR)]
THICK = np.diag([1.5, 1.0, 1.0, 1.0])

CASES = {
    "16 bits": ([(image * 9000 + 7).astype(np.uint16) for image in (CT, MR)], CLEAN, 128),
    "colors": ([CT, np.stack([MR, MR / 2, 1 - MR], axis=-1)], CLEAN, 128),
    "blocks of patches": ([CT, MR], CLEAN.replace(window="block", patch_size=8), 128),
    "one band": ([CT, MR], CLEAN.replace(band_sigma=0), (64, 192)),
    "a mask": ([Source(CT, mask=SEEN, units=MM), Source(MR, units=MM)], CLEAN, 128),
    "another grid": (
        [Source(CT, units=MM), Source(MR[:150, :160] * 3, affine=TURNED, units=MM)],
        CLEAN.replace(restore="never"),
        128,
    ),
    "a series": (
        [Source(stack, axes="tyx", units=("s", *MM)) for stack in STACK],
        CLEAN,
        128,
    ),
    "plane by plane": (
        [Source(stack, axes="zyx", units=("mm", *MM)) for stack in STACK],
        CLEAN.replace(volumes="planes"),
        192,
    ),
    "a volume": (
        [
            Source(np.tile(image[:80, :80], (70, 1, 1)), affine=THICK, units=("mm", *MM))
            for image in (CT, MR)
        ],
        CLEAN,
        (48, 64, 64),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_closed_form_of_blocks_is_that_of_the_whole(tmp_path, name):
    sources, config, block = CASES[name]
    result = fuse_blocks(sources, tmp_path / "fused.ome.zarr", config, block=block, which=())
    whole = fuse(sources, config)
    blocks = result.to_source()
    assert result.total > 1
    np.testing.assert_allclose(np.asarray(blocks.data), whole.image, atol=1e-5)
    np.testing.assert_allclose(blocks.affine, whole.affine)
    assert (blocks.units, result.stop_reason) == (whole.units, whole.stop_reason)
    windows = [entry["intensity_window"] for entry in result.record["sources"]]
    np.testing.assert_allclose(windows, whole.sources.windows, rtol=1e-6)


def test_percentiles_of_nothing_are_refused(tmp_path):
    unseen = Source(MR, units=MM, mask=np.zeros(MR.shape, bool), name="MR")
    config = CLEAN.replace(intensity="percentiles")
    with pytest.raises(
        ValueError, match=r"MR shows nothing in the pixels .*; take minmax, or give"
    ):
        fuse_blocks([Source(CT, units=MM), unseen], tmp_path / "a.ome.zarr", config, block=128)


def test_the_units_of_a_source_in_another_byte_order_are_written(tmp_path):
    pair = [(image * 9000).astype(">u2") for image in (CT, MR)]
    found = fuse_blocks(pair, tmp_path / "a.ome.zarr", CLEAN, block=192, like=1, which=())
    expected = fuse(pair, CLEAN).rescale(like=1)
    np.testing.assert_allclose(found.to_source().to_numpy(), expected, atol=1)


def test_a_pixel_between_two_others_is_the_same_one_in_each_part():
    # Half a pixel apart, in units in which that is no round number.
    first, second = np.diag([0.65, 0.65, 1]), np.diag([0.65, 0.65, 1])
    first[:2, 2], second[:2, 2] = 0.1625, 0.4875
    pair = [Source(CT, affine=first, units=MM), Source(MR, affine=second, units=MM)]
    whole = resample_to_reference(pair, interpolation="nearest").images[1].to_numpy()
    cutter = Cutter.take(pair, interpolation="nearest")
    for part in ((slice(64, 164), slice(28, 228)), (slice(28, 200), slice(156, 330))):
        image = cutter.cut(part).grid.images[1].to_numpy()
        np.testing.assert_array_equal(image, whole[part])


SMALL = [image[:144, :256] for image in (CT, MR)]


def add_noise(sigma: float) -> list[np.ndarray]:
    random = np.random.default_rng(3)
    noisy = (i + sigma * random.standard_normal(i.shape, np.float32) for i in SMALL)
    return [image.clip(0, 1) for image in noisy]


def halve(image: np.ndarray) -> np.ndarray:
    rows, columns = (n // 2 for n in image.shape)
    cut = image[: 2 * rows, : 2 * columns].reshape(rows, 2, columns, 2)
    return cut.mean(axis=(1, 3))


HALVED = np.array([[2, 0, 0.5], [0, 2, 0.5], [0, 0, 1]])
COARSE = Source(halve(SMALL[1]), affine=HALVED, units=MM)


@pytest.mark.parametrize(
    ("sources", "most", "usual"),
    [
        (add_noise(0.1), 0.1, 2e-3),
        ([Source(SMALL[0], units=MM), COARSE], 0.02, 2e-4),
    ],
    ids=["noise", "coarse pixels"],
)
def test_restored_blocks_differ_from_the_whole_by_less_than_anybody_sees(
    tmp_path, monkeypatch, sources, most, usual
):
    monkeypatch.setattr(denoiser, "_STEPS", 3)
    config = FusionConfig(network="never")
    result = fuse_blocks(sources, tmp_path / "fused.ome.zarr", config, block=128, which=())
    whole = fuse(sources, config)
    apart = np.abs(np.asarray(result.to_source().data) - whole.image)
    assert result.total == 4
    assert result.record["noise"] == pytest.approx(whole.record["noise"], rel=0.05)
    assert apart.max() < most
    assert np.sqrt(np.mean(apart**2)) < usual


def test_one_network_restores_all_blocks_and_leaves_no_seams(tmp_path, monkeypatch):
    monkeypatch.setattr(restorer, "_WIDTH", 8)
    monkeypatch.setattr(restorer, "_BLOCKS", 2)
    monkeypatch.setattr(restorer, "_LEAST", 10)
    monkeypatch.setattr(planes, "_ENOUGH", 64)
    config = FusionConfig(iterations=24, threads=1)
    noisy = add_noise(0.1)
    result = fuse_blocks(noisy, tmp_path / "a.ome.zarr", config, block=128, which=())
    image = np.asarray(result.to_source().data)
    assert result.stop_reason == "iterations"
    assert [entry["prior"] for entry in result.record["restoration"]] == ["network"] * 2
    # Beside the image from which everything is known, the whole is fused once more as one block.
    one = fuse_blocks(noisy, tmp_path / "b.ome.zarr", config, block=512, which=())
    apart = image - np.asarray(one.to_source().data)
    assert np.sqrt(np.mean(apart**2)) < 2e-3
    # Steps from a block to the next are no larger than within the blocks.
    rows, columns = (np.abs(np.diff(apart, axis=axis)) for axis in (0, 1))
    across = max(rows[127::128].max(), columns[:, 127::128].max())
    within = max(
        np.delete(rows, np.s_[127::128], axis=0).max(),
        np.delete(columns, np.s_[127::128], axis=1).max(),
    )
    assert across <= max(2 * within, 0.02)


def test_one_fitted_network_makes_all_blocks_as_it_would_the_whole(tmp_path, monkeypatch):
    # Where networks compute is asked for the record, too.
    monkeypatch.setattr(output, "resolve_device", lambda device: f"asked for {device}")
    config = CLEAN.replace(
        network="always", iterations=12, width=4, depth=3, precision="float32", threads=1
    )
    image = [i[:256, :256] for i in (CT, MR)]
    made = [
        fuse_blocks(image, tmp_path / f"{block}.ome.zarr", config, block=block, which=())
        for block in (128, 256)
    ]
    blocks, whole = (np.asarray(result.to_source().data) for result in made)
    assert [result.total for result in made] == [4, 1]
    assert len(made[0].record["losses"]) == 12
    assert made[0].stop_reason == "iterations"
    assert made[0].record["device"] == "asked for auto"
    np.testing.assert_allclose(blocks, whole, atol=1e-5)
    # It is the network's image, and not the one that it is fitted to.
    closed = fuse(image, config.replace(network="never")).image
    assert np.abs(blocks - closed).max() > 0.05


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "average"}, "dip and consensus fuse block by block, got average"),
        ({"network": "always", "net_input": "random"}, "use net_input sources"),
    ],
)
def test_settings_of_which_blocks_are_not_parts_of_a_whole_are_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        fuse_blocks([CT, MR], tmp_path / "fused.ome.zarr", FusionConfig(**changes))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("fused.png", {}, r"ends in one of .*, got 'fused\.png'"),
        ("none/fused.ome.zarr", {}, "does not exist; make it first"),
        ("fused.ome.zarr", {"dtype": "int8"}, "dtype must be one of"),
        ("fused.ome.zarr", {"like": 2}, "like must be a source from 0 to 1"),
        ("fused.ome.zarr", {"block": 32}, None),
        ("fused.ome.zarr", {"names": ["one"]}, "one entry for each of the 2 sources"),
        ("fused.ome.zarr", {"reference": 5}, "reference must be a source from 0 to 1"),
    ],
)
def test_outputs_and_choices_that_cannot_be_are_refused(tmp_path, name, changes, message):
    if message is None:
        # Rounded up to 64 pixels.
        assert fuse_blocks(SMALL, tmp_path / name, CLEAN, **changes).total == 12
        return
    with pytest.raises(ValueError, match=message):
        fuse_blocks(SMALL, tmp_path / name, CLEAN, **changes)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ending", [".ome.tif", ".nii"])
def test_other_formats_get_the_same_image_with_its_record(tmp_path, ending):
    options = {"block": 64, "dtype": "uint16", "which": ()}
    zarr = fuse_blocks(SMALL, tmp_path / "fused.ome.zarr", CLEAN, **options)
    other = fuse_blocks(SMALL, tmp_path / f"fused{ending}", CLEAN, **options)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"fused{ending}", "fused.ome.zarr"]
    read = other.to_source()
    np.testing.assert_array_equal(np.asarray(read.data), np.asarray(zarr.to_source().data))
    kept = read.metadata["dip_fusion"]["record"]
    assert kept["blocks"] == other.record["blocks"]
    assert kept["blocks"]["block"] == [64, 64]


def test_a_plane_of_a_volume_is_fused_block_by_block_in_its_place(tmp_path):
    volumes = [
        Source(np.stack([image, image[::-1]]), affine=THICK, units=("mm", *MM)) for image in SMALL
    ]
    options = {"plane": "z=1", "reference": 0}
    made = fuse_blocks(volumes, tmp_path / "a.ome.zarr", CLEAN, block=64, which=(), **options)
    whole = fuse(volumes, CLEAN, **options)
    found = made.to_source()
    np.testing.assert_allclose(np.asarray(found.data).squeeze(), whole.image, atol=1e-5)
    np.testing.assert_allclose(found.affine[-3:, -1], whole.affine[-3:, -1])
    assert made.record["axes"] == ["y", "x"]
