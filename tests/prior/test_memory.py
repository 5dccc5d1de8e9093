"""The estimate of memory, and the devices."""

import pytest
import torch

from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.prior.devices import list_devices, measure_free_memory, resolve_device
from napari_dip_fusion.prior.memory import choose_crops, estimate_network_memory, pad_size
from napari_dip_fusion.prior.network import SkipNetwork


def test_memory_grows_with_pixels_and_width_and_hardly_with_sources() -> None:
    fast = FusionConfig().network
    small = estimate_network_memory(fast, (512, 512), 2)
    assert 3.3 < estimate_network_memory(fast, (1024, 1024), 2) / small < 4
    assert estimate_network_memory(FusionConfig(width=64).network, (512, 512), 2) > 1.5 * small
    assert estimate_network_memory(fast, (512, 512), 5) < 1.2 * small


def test_the_default_needs_less_than_3_gb_at_1024() -> None:
    assert estimate_network_memory(FusionConfig().network, (1024, 1024), 2) < 3e9


def test_the_estimate_covers_what_the_backward_pass_keeps() -> None:
    config = FusionConfig(width=16, depth=3)
    network = SkipNetwork(3, 1, width=16, depth=3, generator=torch.Generator())
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        output = network(torch.zeros(1, 3, 128, 128))
    output.sum().backward()
    assert sum(kept.values()) < estimate_network_memory(config.network, (128, 128), 2)


def test_a_volume_is_fitted_by_crops_and_its_planes_are_on_the_device_one_by_one() -> None:
    network = FusionConfig().network
    plane = estimate_network_memory(network, (256, 256), 2)
    volumes = [estimate_network_memory(network, (z, 256, 256), 2) for z in (2, 100, 200)]
    # Sources, denoised sources, gains and what is made of them, of 4 bytes a pixel.
    per_plane = 4 * (4 * 2 + 9) * 256 * 256
    assert volumes[2] - volumes[1] == pytest.approx(100 * per_plane, rel=0.1)
    assert volumes[0] == pytest.approx(plane, rel=0.3)
    assert estimate_network_memory(network, (1, 256, 256), 2) == plane
    # A network that sees random numbers keeps a volume of them.
    random = FusionConfig(net_input="random", channels=8).network
    grown = [estimate_network_memory(random, (z, 256, 256), 2) for z in (100, 200)]
    assert grown[1] - grown[0] > 1.4 * (volumes[2] - volumes[1])


def test_crops_hold_the_pixels_of_one_plane() -> None:
    for depth in (1, 5, 7):
        count, rows, columns = choose_crops((1000, 500, 400), depth)
        assert count * rows * columns == 256 * 256
        assert rows == pad_size(rows, depth)
    assert choose_crops((3, 20, 300), 2) == (9, 20, 128)


def test_devices() -> None:
    assert list_devices()[0] == "cpu"
    assert resolve_device("cpu") == "cpu"
    assert resolve_device("auto") in list_devices()
    with pytest.raises(ValueError, match=r"device must be auto or one of cpu.* got 'cuda:99'"):
        resolve_device("cuda:99")
    assert measure_free_memory("cpu") > 1e6
