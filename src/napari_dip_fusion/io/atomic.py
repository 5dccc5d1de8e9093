"""Files are written so that they appear under their name whole, or not at all."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from napari_dip_fusion.errors import ImageFileError, summarize_error

__all__ = ["move_into_place", "write_atomically", "write_text"]


@contextmanager
def write_atomically(path: str | os.PathLike[str], *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary path to write to, and move what was written to `path` at the end.

    The temporary file or folder lies beside `path`, so that the move is one
    step of the file system. After any failure, a keyboard interrupt included,
    it is removed and what lay under `path` is as it was.

    Parameters
    ----------
    path : path-like
        The final file or folder. A symbolic link is followed, not replaced.
    overwrite : bool
        Whether something that exists may be replaced.

    Yields
    ------
    Path
        Where to write; it has the ending of `path` and does not exist yet.

    Raises
    ------
    FileExistsError
        If `path` exists and `overwrite` is false.
    ImageFileError
        If the folder is missing or cannot be written to, or the disk is full.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with write_atomically(Path(folder, "note.txt")) as temporary:
    ...         _ = temporary.write_text("fused")
    ...     Path(folder, "note.txt").read_text()
    'fused'
    """
    final = Path(os.path.realpath(path))
    _refuse_existing(final, overwrite)
    if not final.parent.is_dir():
        raise ImageFileError(f"folder {final.parent} does not exist; make it first")
    # Libraries choose the format by the ending, so the temporary name has it too.
    temporary = final.parent / f".{secrets.token_hex(6)}-partial{''.join(final.suffixes[-3:])}"
    try:
        yield temporary
        _flush(temporary)
        # Another program may have written there in the meantime.
        _refuse_existing(final, overwrite)
        _move(temporary, final)
    except FileExistsError:
        raise
    except OSError as error:
        reason = error.strerror or summarize_error(error)
        raise ImageFileError(
            f"could not write {final}: {reason}; nothing was changed, choose another place"
        ) from error
    finally:
        _remove(temporary)


def move_into_place(path: Path, final: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Give a file or folder that is written its final name, on the same disk.

    Parameters
    ----------
    path : Path
        What was written. After any failure it is still there.
    final, overwrite
        As the path of :func:`write_atomically`, whose errors are raised.
    """
    target = Path(os.path.realpath(final))
    _refuse_existing(target, overwrite)
    try:
        _move(path, target)
    except OSError as error:
        reason = error.strerror or summarize_error(error)
        raise ImageFileError(f"could not move {path} to {target}: {reason}") from error


def write_text(path: str | os.PathLike[str], text: str, *, overwrite: bool = False) -> None:
    """Write a text file (UTF-8) whole or not at all.

    Parameters
    ----------
    path : path-like
        The file.
    text : str
        All of its content.
    overwrite : bool
        Whether a file that exists may be replaced.

    Raises
    ------
    FileExistsError
        If `path` exists and `overwrite` is false.
    ImageFileError
        If the file cannot be written.
    """
    with write_atomically(path, overwrite=overwrite) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _refuse_existing(final: Path, overwrite: bool) -> None:
    if final.exists() and not overwrite:
        raise FileExistsError(f"{final} exists; choose another name or allow overwriting")


def _flush(path: Path) -> None:
    """Wait until the bytes are on the disk.

    A name that is moved earlier may, after a power failure, point at an empty file.
    """
    files = (p for p in path.rglob("*") if p.is_file()) if path.is_dir() else (path,)
    for file in files:
        # Windows flushes only files that are open for writing.
        with file.open("rb+") as handle:
            os.fsync(handle.fileno())


def _move(temporary: Path, final: Path) -> None:
    """Give the temporary file or folder its final name, in place of what had that name."""
    if temporary.is_dir() != final.is_dir() and final.exists():
        kind = "folder" if final.is_dir() else "file"
        raise OSError(f"a {kind} of that name exists")
    if not final.is_dir():
        os.replace(temporary, final)
        return
    # No file system call replaces a folder that has content.
    old = final.parent / f".{secrets.token_hex(6)}-replaced{final.suffix}"
    final.rename(old)
    try:
        temporary.rename(final)
    except BaseException:  # a keyboard interrupt included
        old.rename(final)
        raise
    _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
