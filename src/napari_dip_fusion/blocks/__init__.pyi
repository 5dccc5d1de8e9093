from .events import BlockDone as BlockDone
from .events import BlocksBegun as BlocksBegun
from .events import BlocksDone as BlocksDone
from .events import BlocksResult as BlocksResult
from .run import fuse_blocks as fuse_blocks
from .run import iter_fuse_blocks as iter_fuse_blocks
from .whole import fuse as fuse
