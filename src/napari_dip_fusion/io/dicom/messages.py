"""What pydicom says of a file reaches the person where it concerns the image."""

from contextlib import AbstractContextManager

from napari_dip_fusion.io.silence import relay_messages

__all__ = ["relay_pydicom"]

_HARMLESS = (
    # Many scanners bend the rules of how a text is spelled or how long it is; a number that
    # cannot be read raises an error of its own where it is needed.
    r"Invalid value for VR|maximum length of|is not valid for elements with a VR",
    # These concern the names of people, which are not read.
    r"[Ee]ncoding|Character Set|escape sequence",
    # An empty number of frames stands for one.
    r"'Number of Frames' is invalid",
    # An index is asked for, and frames that are too many are reported by ourselves.
    r"bytes of excess padding|Number of Frames' value of",
)


def relay_pydicom(about: str, *, told: set[str] | None = None) -> AbstractContextManager[None]:
    """Issue what pydicom says in the block as warnings of this package, each once.

    Parameters
    ----------
    about : str
        What is read; the warnings begin with it.
    told : set of str, optional
        What was said before, which is not said again.

    Returns
    -------
    context manager
        As of :func:`~napari_dip_fusion.io.silence.relay_messages`.
    """
    return relay_messages(about, "pydicom", loggers=("pydicom",), harmless=_HARMLESS, told=told)
