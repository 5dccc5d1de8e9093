from .atomic import replacing as replacing
from .atomic import write_text as write_text
from .formats import read_image as read_image
from .formats import read_images as read_images
from .formats import read_plane as read_plane
from .formats import write_image as write_image
from .formats import write_images as write_images
