"""Whether torch was imported: its import takes seconds, for which no window should wait."""

import sys


def torch_is_imported() -> bool:
    """Tell whether torch can be used at once.

    A module that another thread is importing stands in ``sys.modules`` too:
    to import it again waits for that thread, and it may still be half empty.
    """
    torch = sys.modules.get("torch")
    spec = getattr(torch, "__spec__", None)
    return torch is not None and not getattr(spec, "_initializing", False)
