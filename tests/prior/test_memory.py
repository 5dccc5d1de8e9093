"""The estimate of memory, and the devices."""

import pytest
import torch

from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.prior.devices import list_devices, measure_free_memory, resolve_device
from napari_dip_fusion.prior.memory import estimate_network_memory
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


def test_devices() -> None:
    assert list_devices()[0] == "cpu"
    assert resolve_device("cpu") == "cpu"
    assert resolve_device("auto") in list_devices()
    with pytest.raises(ValueError, match=r"device must be auto or one of cpu.* got 'cuda:99'"):
        resolve_device("cuda:99")
    assert measure_free_memory("cpu") > 1e6
