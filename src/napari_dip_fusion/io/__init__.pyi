from .atomic import write_atomically as write_atomically
from .atomic import write_text as write_text
from .files import check_image as check_image
from .files import read_image as read_image
from .files import read_images as read_images
from .files import read_plane as read_plane
from .files import write_image as write_image
from .files import write_images as write_images
