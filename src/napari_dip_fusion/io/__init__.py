"""Image files in and out: a file or folder for each format family, all of them headless.

Everything here works without napari and without torch; the format modules and the libraries
they need are imported when a file of that format is met.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
