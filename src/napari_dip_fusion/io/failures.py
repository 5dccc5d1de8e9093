"""One error of this package for whatever goes wrong while a file is read."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from napari_dip_fusion.errors import ImageFileError, summarize_error

__all__ = ["report_damage", "report_failure"]


@contextmanager
def report_damage(
    path: Path,
    action: str,
    *,
    advice: str = "the file is cut short or damaged",
    unchanged: tuple[type[Exception], ...] = (OSError, MemoryError),
) -> Iterator[None]:
    """Turn the errors that a library raises over a damaged file into one.

    Parameters
    ----------
    path : Path
        The file, for the message.
    action : str
        What cannot be done with it, such as ``"read as TIFF"``.
    advice : str
        The end of the message.
    unchanged : tuple of exception types
        Errors that say nothing about damage and pass as they are;
        :class:`ImageFileError` always does.

    Raises
    ------
    ImageFileError
        If the block raises any other exception.
    """
    passing: tuple[type[Exception], ...] = (ImageFileError, *unchanged)
    try:
        yield
    except passing:
        raise
    # Fuzzing found nearly every type here: a broken field surfaces as KeyError,
    # ZeroDivisionError, struct.error, SyntaxError or a library's own class.
    except Exception as error:
        raise ImageFileError(
            f"{path} cannot be {action} ({summarize_error(error)}); {advice}"
        ) from error


@contextmanager
def report_failure(path: Path) -> Iterator[None]:
    """Turn errors of the file system and of memory into the error of this package.

    Parameters
    ----------
    path : Path
        The file, for the message.

    Raises
    ------
    ImageFileError
        If the block raises :class:`OSError` or :class:`MemoryError`.
    """
    try:
        yield
    except PermissionError as error:
        raise ImageFileError(f"{path} may not be read by you; ask for permission") from error
    except OSError as error:
        reason = error.strerror or summarize_error(error)
        raise ImageFileError(f"{path} cannot be read: {reason}") from error
    except MemoryError as error:
        raise ImageFileError(
            f"{path} does not fit in memory; read a part of it, or a smaller version"
        ) from error
