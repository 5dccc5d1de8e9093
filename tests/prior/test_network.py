"""The network: size, shapes, determinism."""

import pytest
import torch

from napari_dip_fusion.prior.memory import pad_size
from napari_dip_fusion.prior.network import SkipNetwork, draw_input, fix_normalization


def make(seed: int = 0, **options: object) -> SkipNetwork:
    small: dict[str, object] = {"width": 6, "depth": 3, "skip_channels": 2, **options}
    return SkipNetwork(2, 3, generator=torch.Generator().manual_seed(seed), **small)


def test_the_published_network_has_its_parameters() -> None:
    network = SkipNetwork(10, 10, generator=torch.Generator())
    assert sum(p.numel() for p in network.parameters()) == 2_193_302


@pytest.mark.parametrize("upsampling", ["nearest", "bilinear"])
@pytest.mark.parametrize("size", [(16, 16), (24, 40)])
def test_shapes_and_range(upsampling: str, size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    output = make(upsampling=upsampling)(draw_input((2, *size), generator))
    assert output.shape == (1, 3, *size)
    assert 0 < float(output.detach().min()) < float(output.detach().max()) < 1


def test_weights_come_from_the_generator_alone() -> None:
    state = torch.random.get_rng_state()
    one, same, other = make(0), make(0), make(1)
    assert torch.equal(torch.random.get_rng_state(), state)
    for a, b in zip(one.parameters(), same.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(one.head.weight, other.head.weight)
    bound = 1 / (6 * 9) ** 0.5
    weight = one.scales[1].down[1][0].weight
    assert 0.9 * bound < float(weight.detach().abs().max()) <= bound


@pytest.mark.parametrize("depth", [1, 3, 5])
@pytest.mark.parametrize("size", [1, 7, 33, 64, 270])
def test_padded_sizes_pass_through_the_network(depth: int, size: int) -> None:
    padded = pad_size(size, depth)
    assert padded >= size
    assert padded % 2**depth == 0
    net_input = torch.zeros(1, 2, padded, pad_size(1, depth))
    assert make(depth=depth)(net_input).shape[2] == padded


def test_fixed_normalization_is_the_mean_over_inputs_and_the_same_for_all() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand((3, 2, 2, 16, 16), generator=generator)
    network = make()
    with torch.no_grad():
        with fix_normalization(network):
            for batch in inputs:
                network(batch)
        layer = network.scales[0].skip[1]
        features = torch.stack([network.scales[0].skip[0](batch) for batch in inputs])
        means = features.mean(dim=(0, 1, 3, 4))
        torch.testing.assert_close(layer.running_mean, means)
        variances = features.transpose(1, 2).flatten(2).var(dim=2).mean(dim=0)
        torch.testing.assert_close(layer.running_var, variances)
        # Alone or beside others, an input has one output, until the network is trained again.
        alone, together = network(inputs[0][:1]), network(inputs[0])
        torch.testing.assert_close(alone, together[:1])
        own = network.train()(inputs[0][:1])
        assert not torch.allclose(own, alone, atol=1e-4)
