from .blocks import BlocksResult as BlocksResult
from .blocks import fuse as fuse
from .blocks import fuse_blocks as fuse_blocks
from .blocks import iter_fuse_blocks as iter_fuse_blocks
from .config import FusionConfig as FusionConfig
from .errors import FusionError as FusionError
from .fusion import Control as Control
from .fusion import FusionResult as FusionResult
from .fusion import continue_fuse as continue_fuse
from .fusion import estimate_run as estimate_run
from .fusion import iter_fuse as iter_fuse
from .io import read_image as read_image
from .io import write_image as write_image
from .methods import fuse_with as fuse_with
from .metrics import evaluate as evaluate
from .sensor.consensus import consensus as consensus
from .sensor.gains import gain_maps as gain_maps
from .sources import Source as Source

__version__: str
