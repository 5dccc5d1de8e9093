"""Weights of networks, from files that are not trusted."""

import os
import pickle
from collections.abc import Mapping
from pathlib import Path

import torch

State = dict[str, torch.Tensor]


def load_weights(path: str | os.PathLike[str], shapes: Mapping[str, torch.Size]) -> State:
    """Read the tensors that a network needs out of a ``state_dict`` file.

    Only tensors are unpickled (``weights_only``): a file cannot run code.

    Parameters
    ----------
    path : path-like
        A file that ``torch.save(network.state_dict(), path)`` wrote.
    shapes : mapping of str to torch.Size
        Shape of each tensor by its key; what else is in the file is left out.

    Returns
    -------
    dict of str to torch.Tensor
        float32, on the CPU.

    Raises
    ------
    ValueError
        If the file is missing, is no such file, or has other tensors.
    """
    file = Path(path)
    if not file.is_file():
        raise ValueError(f"there is no file of weights {file}")
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"{file} holds no weights that can be read safely; expected a state_dict written by "
            "torch.save"
        ) from error
    return _selected(state, shapes, file)


def _selected(state: object, shapes: Mapping[str, torch.Size], file: Path) -> State:
    if not isinstance(state, Mapping):
        raise ValueError(f"{file} must hold a state_dict, got {type(state).__name__}")
    selected = {}
    for key, shape in shapes.items():
        tensor = state.get(key)
        if not isinstance(tensor, torch.Tensor) or tensor.shape != shape:
            got = tuple(tensor.shape) if isinstance(tensor, torch.Tensor) else "nothing"
            raise ValueError(
                f"{file} does not fit the network: expected {key!r} of shape {tuple(shape)}, "
                f"got {got}"
            )
        if not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{file} has NaN or infinite values in {key!r}")
        selected[key] = tensor.float()
    return selected
