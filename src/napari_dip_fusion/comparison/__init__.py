"""Several fusion methods on the same sets of sources: runs, what is kept of them, and reports.

The names stand in ``__init__.pyi`` and are loaded on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
