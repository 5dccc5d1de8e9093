"""The network of a restoration: cells there and back, what it starts as, and how far it reaches."""

import pytest
import torch

from napari_dip_fusion.restoration.network import RestorationNetwork

CELLS = [(2, 2), (4, 4), (6, 2), (1, 3)]


def make_network(cell: tuple[int, int] = (2, 2), *, seed: int = 0, blocks: int = 2):
    generator = torch.Generator().manual_seed(seed)
    return RestorationNetwork(cell, width=8, blocks=blocks, generator=generator)


def draw_planes(rows: int, columns: int) -> torch.Tensor:
    return torch.rand(2, 1, rows, columns, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("cell", CELLS)
def test_cells_join_to_the_planes_that_they_were_split_from(cell) -> None:
    network, planes = make_network(cell), draw_planes(12, 24)
    cells = network._split(planes)
    assert cells.shape == (2, cell[0] * cell[1], 12 // cell[0], 24 // cell[1])
    torch.testing.assert_close(cells[1, :, 0, 0], planes[1, 0, : cell[0], : cell[1]].flatten())
    torch.testing.assert_close(network._join(cells), planes, rtol=0, atol=0)


@pytest.mark.parametrize("cell", CELLS)
def test_at_the_start_the_estimate_comes_out(cell) -> None:
    measured, estimate = draw_planes(12, 24), draw_planes(12, 24).flip(3)
    with torch.no_grad():
        output = make_network(cell)(measured, estimate)
    torch.testing.assert_close(output, estimate, rtol=0, atol=0)


def test_what_was_measured_and_the_estimate_both_change_the_output() -> None:
    network, planes = make_network(), draw_planes(8, 8)
    for parameter in network.parameters():
        torch.nn.init.constant_(parameter, 0.1)
    with torch.no_grad():
        output = network(planes, planes)
        assert not torch.equal(network(planes + 0.1, planes), output)
        assert not torch.equal(network(planes, planes * 0.9) - planes * 0.9, output - planes)


def test_the_output_depends_on_the_input_within_reach_alone() -> None:
    network = make_network((2, 3), blocks=1)
    for parameter in network.parameters():
        torch.nn.init.constant_(parameter, 0.1)
    planes = draw_planes(40, 60)
    changed = planes.clone()
    changed[..., :20, :] += 1
    with torch.no_grad():
        difference = (network(changed, changed) - network(planes, planes)).abs().amax((0, 1, 3))
    reach = network.reach[0]
    assert difference[20 + reach :].max() == 0
    assert difference[20 + reach - 2 * network.cell[0]] > 0


def test_weights_come_from_the_generator_and_no_global_state_changes() -> None:
    before = torch.get_rng_state()
    one, same, other = (make_network(seed=seed) for seed in (0, 0, 1))
    torch.testing.assert_close(one.state_dict(), same.state_dict(), rtol=0, atol=0)
    assert not torch.equal(one.head.weight, other.head.weight)
    assert torch.equal(torch.get_rng_state(), before)
