"""The weights of networks as bytes, which may come from files that somebody else has changed."""

import io

import torch

from napari_dip_fusion.errors import FusionError

__all__ = ["pack_weights", "unpack_weights"]


def pack_weights(network: torch.nn.Module, *, iteration: int = 0) -> bytes:
    """Return the weights of a network and its statistics.

    Parameters
    ----------
    network : torch.nn.Module
    iteration : int
        How many iterations they took.
    """
    buffer = io.BytesIO()
    torch.save({"iteration": iteration, "weights": network.state_dict()}, buffer)
    return buffer.getvalue()


def unpack_weights(packed: bytes, network: torch.nn.Module, device: str) -> int:
    """Give a network the weights that :func:`pack_weights` packed, and return their iterations.

    Parameters
    ----------
    packed : bytes
        They cannot run code.
    network : torch.nn.Module
    device : str
        Where the network is.

    Raises
    ------
    FusionError
        If they are damaged, or of another network.
    """
    try:
        kept = torch.load(io.BytesIO(packed), map_location=device, weights_only=True)
        network.load_state_dict(kept["weights"])
        return int(kept["iteration"])
    except MemoryError:
        raise
    # Whatever a reader of damaged bytes stumbles over. torch's own words would have them run code.
    except Exception as error:
        raise FusionError(
            "the weights of a network are damaged, or of another network; start the run anew"
        ) from error
