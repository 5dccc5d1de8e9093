"""The optimizer: equal to torch's, and without the import that ends napari's process."""

import json
import subprocess
import sys

import pytest
import torch

from napari_dip_fusion.prior.optimizer import Adam

# In a process of its own: torch.optim.Adam imports what ends one that has opened a window.
EQUAL = """
import numpy as np
import torch
from napari_dip_fusion.config import FusionConfig
from napari_dip_fusion.prior.fit import Fit

sources = np.random.default_rng(2).random((2, 33, 47), dtype=np.float32)
target, weight = sources.mean(axis=0), np.ones((33, 47), np.float32)
for precision in ("float32", "bfloat16"):
    small = dict(width=6, depth=2, threads=1, device="cpu", precision=precision)
    config = FusionConfig.preset("fast", **small)
    ours, reference = (Fit(target, weight, sources, config) for _ in range(2))
    parameters = reference._network.parameters()
    reference._optimizer = torch.optim.Adam(parameters, lr=config.fit.learning_rate, fused=True)
    losses = [[step.excess for step in fit.run(8)] for fit in (ours, reference)]
    assert losses[0] == losses[1], losses
    np.testing.assert_array_equal(ours.image, reference.image)

from napari_dip_fusion.prior.optimizer import Adam

rates = dict(decay_rates=(0.8, 0.99), weight_decay=0.3)
for fused in (True, False):
    pairs = [torch.linspace(-1, 1, 35).reshape(5, 7).requires_grad_() for _ in range(4)]
    optimizers = (
        Adam([pairs[0]], 0.02, fused=fused),
        torch.optim.Adam([pairs[1]], 0.02, fused=fused),
        Adam([pairs[2]], 0.02, fused=fused, **rates),
        torch.optim.AdamW([pairs[3]], 0.02, (0.8, 0.99), weight_decay=0.3, fused=fused),
    )
    for i in range(8):
        if i == 5:
            optimizers[2].learning_rate = optimizers[3].param_groups[0]["lr"] = 0.01
        for optimizer, parameter in zip(optimizers, pairs):
            optimizer.zero_grad()
            (parameter - i).pow(4).mean().backward()
            optimizer.step()
        for ours, reference in (pairs[:2], pairs[2:]):
            torch.testing.assert_close(ours, reference, rtol=0, atol=0)
"""

# An import is noted as well as refused, since torch may catch the exception and go on without.
# One process makes all calls: most of its time goes into the import of torch.
REFUSED = """
import json
import sys

import torch

class Refusal:
    def find_spec(self, name, path=None, target=None):
        if name == "torch._dynamo" or name.partition(".")[0] == "triton":
            wrong[call].append(name)
            raise ImportError(name)

assert "torch._dynamo" not in sys.modules
sys.meta_path.insert(0, Refusal())

import numpy as np
from napari_dip_fusion.config import FusionConfig
sources = np.random.default_rng(2).random((2, 32, 32), dtype=np.float32)
small = dict(width=4, depth=2, threads=1, device="cpu")

wrong = {}
for call, code in json.loads(sys.argv[1]).items():
    wrong[call] = []
    try:
        exec(code)
    except Exception as error:
        wrong[call].append(repr(error))
print(json.dumps(wrong))
"""

CALLS = {
    "fit": """
from napari_dip_fusion.prior.fit import Fit
for precision in ("float32", "bfloat16"):
    config = FusionConfig(precision=precision, **small)
    fit = Fit(sources[0], np.ones_like(sources[0]), sources, config)
    assert len(list(fit.run(2))) == 2
""",
    "fuse": """
from napari_dip_fusion import fuse
for preset in ("fast", "paper"):
    fuse(sources, FusionConfig.preset(preset, iterations=2, **small))
""",
    "estimate": """
from napari_dip_fusion.fusion.timing import estimate_run
estimate_run(FusionConfig(**small), (32, 32), 2)
""",
    "densefuse": """
from napari_dip_fusion import fuse_with
fuse_with("densefuse", sources)
""",
}


def run(code: str, *arguments: str) -> str:
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wrong_imports() -> dict[str, list[str]]:
    """Return what each call imported that it must not."""
    return json.loads(run(REFUSED, json.dumps(CALLS)).splitlines()[-1])


def test_numbers_are_those_of_torch_bit_for_bit() -> None:
    run(EQUAL)


@pytest.mark.parametrize("call", CALLS)
def test_neither_dynamo_nor_triton_is_imported(wrong_imports, call: str) -> None:
    assert wrong_imports[call] == []


@pytest.mark.parametrize("fused", [True, False])
def test_a_step_goes_against_the_gradient_and_zero_grad_drops_it(fused: bool) -> None:
    parameter = torch.tensor([1.0, -1.0], requires_grad=True)
    optimizer = Adam([parameter], 0.1, fused=fused)
    parameter.square().sum().backward()
    optimizer.step()
    # The first step of Adam is the learning rate, whatever the size of the gradient.
    torch.testing.assert_close(parameter.detach(), torch.tensor([0.9, -0.9]))
    optimizer.zero_grad()
    assert parameter.grad is None
