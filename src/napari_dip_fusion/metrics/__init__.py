"""Objective fusion quality: how much of the sources a fused image keeps.

Every metric is ``metric(sources, fused, *, data_range=None)``, needs no reference image, takes any
number of gray sources, and brings them to gray levels 0..255 first. :func:`evaluate` scores one
image with several of those in :data:`METRICS`. All of them are defined for planes: the score of a
volume or a series is the mean over its planes, each of which :func:`evaluate_planes` scores.

One paper is one module, named after an author and the year:

===============  =============================  ===============================================
module           function                       what it measures
===============  =============================  ===============================================
petrovic_2000    petrovic                       edges of the sources that survive
qu_2002          mutual_information             information shared with the sources
cvejic_2006      mutual_information_renyi       the same, with the entropy of Renyi
hossny_2008      normalized_mutual_information  the same, relative to the entropies
piella_2003      piella                         likeness to the more salient source
cvejic_2005      cvejic                         likeness to the source that is followed
wang_2004        ssim                           structural similarity to the sources
sheikh_2006      vif                            visual information of the sources that survives
shannon_1948     entropy                        information that the fused image itself holds
pearson_1894     standard_deviation             contrast of the fused image itself
cui_2015         average_gradient               sharpness of the fused image itself
eskicioglu_1995  spatial_frequency              detail of the fused image itself
===============  =============================  ===============================================

Each holds the metric under its usual name, which checks and quantizes the images it is given, and
``score``, the same metric on a stack of gray levels that is checked and quantized already.
"""

from napari_dip_fusion.metrics.cui_2015 import average_gradient
from napari_dip_fusion.metrics.cvejic_2005 import cvejic
from napari_dip_fusion.metrics.cvejic_2006 import mutual_information_renyi
from napari_dip_fusion.metrics.eskicioglu_1995 import spatial_frequency
from napari_dip_fusion.metrics.hossny_2008 import normalized_mutual_information
from napari_dip_fusion.metrics.pearson_1894 import standard_deviation
from napari_dip_fusion.metrics.petrovic_2000 import petrovic
from napari_dip_fusion.metrics.piella_2003 import piella
from napari_dip_fusion.metrics.plane_scores import (
    PlaneScores,
    average_planes,
    count_planes,
    describe_mean,
    list_planes,
    read_planes,
    tabulate_planes,
)
from napari_dip_fusion.metrics.qu_2002 import mutual_information
from napari_dip_fusion.metrics.registry import (
    DEFAULT_METRICS,
    METRICS,
    Metric,
    evaluate,
    evaluate_planes,
)
from napari_dip_fusion.metrics.shannon_1948 import entropy
from napari_dip_fusion.metrics.sheikh_2006 import vif
from napari_dip_fusion.metrics.wang_2004 import ssim

__all__ = [
    "DEFAULT_METRICS",
    "METRICS",
    "Metric",
    "PlaneScores",
    "average_gradient",
    "average_planes",
    "count_planes",
    "cvejic",
    "describe_mean",
    "entropy",
    "evaluate",
    "evaluate_planes",
    "list_planes",
    "mutual_information",
    "mutual_information_renyi",
    "normalized_mutual_information",
    "petrovic",
    "piella",
    "read_planes",
    "spatial_frequency",
    "ssim",
    "standard_deviation",
    "tabulate_planes",
    "vif",
]
