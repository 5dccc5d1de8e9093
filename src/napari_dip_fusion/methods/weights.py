"""Read the weights of networks from files that are not trusted."""

import os
import pickle
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import torch

StateDict = dict[str, torch.Tensor]


def load_weights(path: str | os.PathLike[str], shapes: Mapping[str, torch.Size]) -> StateDict:
    """Read the tensors that a network needs out of a ``state_dict`` file.

    Only tensors are unpickled (``weights_only``): a file cannot run code. A file that has not
    changed since it was read last is not read again.

    Parameters
    ----------
    path : path-like
        A file that ``torch.save(network.state_dict(), path)`` wrote.
    shapes : mapping of str to torch.Size
        Shape of each tensor by its key; other tensors of the file are left out.

    Returns
    -------
    dict of str to torch.Tensor
        Tensors of float32 on the CPU, which others may share: they must not be changed.

    Raises
    ------
    ValueError
        If the file is missing, cannot be read, or lacks a tensor of its shape.
    """
    file = Path(path)
    if not file.is_file():
        raise ValueError(f"there is no file of weights {file}")
    status = file.stat()
    stamp = (status.st_mtime_ns, status.st_size)
    return dict(_read_tensors(file.absolute(), stamp, tuple(shapes.items())))


# A volume is fused plane by plane, and the file of VGG-19 (548 MB) takes a second to read, as long
# as a plane. What is kept of it is 14 MB.
@lru_cache(maxsize=2)
def _read_tensors(
    file: Path, stamp: tuple[int, int], shapes: tuple[tuple[str, torch.Size], ...]
) -> StateDict:
    """Return the tensors of a file with this time and size."""
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    # All of these come out of torch.load, depending on where a file that is no archive of tensors
    # stops making sense.
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"{file} holds no weights that can be read safely; expected a state_dict written by "
            "torch.save"
        ) from error
    return _select_tensors(state, dict(shapes), file)


def _select_tensors(state: object, shapes: Mapping[str, torch.Size], file: Path) -> StateDict:
    """Return the tensors of these shapes, or raise ValueError if one is missing or not finite."""
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
