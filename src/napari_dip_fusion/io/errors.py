"""The one exception of an image file that cannot be read or written."""


class ImageFileError(ValueError):
    """A file that cannot be read or written.

    The message is one line: what was expected, what came and what to do.
    """
