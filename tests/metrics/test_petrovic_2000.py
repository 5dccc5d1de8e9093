"""Edge preservation."""

import numpy as np
import pytest

from napari_dip_fusion.metrics import petrovic


def test_bad_options_are_refused(images):
    with pytest.raises(ValueError, match="'2000'; choose from laboratory, textbook"):
        petrovic(*images, variant="2000")


def test_input_is_checked():
    with pytest.raises(ValueError, match="at least 2 sources, got 1"):
        petrovic([np.zeros((9, 9))], np.zeros((9, 9)))


def test_sources_without_edges_are_kept_by_an_image_without_edges_only():
    black = np.zeros((2, 9, 9))
    assert petrovic(black, black[0]) == 1
    assert petrovic(black, np.eye(9)) == 0
