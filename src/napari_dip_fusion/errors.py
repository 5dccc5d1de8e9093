"""The errors of this package beside ValueError, which bad arguments raise."""

from typing import Any

# A library may quote a whole damaged field in its message.
_MOST_CHARACTERS = 200


class FusionError(Exception):
    """A run that could not be finished, with advice in its message.

    Bad input is a :class:`ValueError` instead. The class is deliberately no
    :class:`RuntimeError`: napari's generator workers swallow those.

    Parameters
    ----------
    message : str
        What happened and what to do.
    result : FusionResult, optional
        The best result up to the failure, where there is one.
    """

    def __init__(self, message: str, result: Any = None) -> None:
        super().__init__(message)
        self.result = result


class StoppedError(FusionError):
    """A run that was stopped or thrown away before it had an image."""


class TorchMissingError(FusionError):
    """PyTorch is needed and cannot be imported; the message says how to install it."""


class ImageFileError(ValueError):
    """A file that cannot be read or written.

    The message is one line: what was expected, what came and what to do.
    """


def summarize_error(error: BaseException, *, most: int = _MOST_CHARACTERS) -> str:
    r"""Return the message of another library's error as one short line.

    Parameters
    ----------
    error : BaseException
        The error.
    most : int
        Characters that are kept.

    Returns
    -------
    str
        The message without line breaks; the name of the error's
        type where it has no message.

    Examples
    --------
    >>> summarize_error(OSError("broken data\n  stream")), summarize_error(EOFError())
    ('broken data stream', 'EOFError')
    """
    return " ".join(str(error).split())[:most] or type(error).__name__
