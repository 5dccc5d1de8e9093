"""Image files in and out, without napari and without torch.

Reading gives sources and writing takes them; every format family has a file or a folder
here, which is imported, with the libraries that it needs, when such a file is met.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
