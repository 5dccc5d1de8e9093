"""Fuse a pair of images in a napari viewer from a script, and keep what it made.

Opens two image files (or the synthetic CT-MR pair when none are given), fuses them
and saves a screenshot of the viewer and the fused image::

    python examples/scripted_session.py ct.tif mr.tif --output fused.tif
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import napari

from napari_dip_fusion.io import read_plane, write_image
from napari_dip_fusion.plugin import fuse_layers
from napari_dip_fusion.samples import SAMPLES
from napari_dip_fusion.sources import Source


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    pair = [read_plane(path) for path in options.images] or sample_pair()
    viewer = napari.Viewer(title="napari-dip-fusion")
    layers = [show(viewer, image) for image in pair]

    # Other settings of FusionConfig are given in the same way as iterations.
    changes = {} if options.iterations is None else {"iterations": options.iterations}
    result = fuse_layers(viewer, layers, options.preset, **changes)
    for name, value in result.metrics.items():
        print(f"{name:20} {value:.4f}")

    # The fused image in the type and units of the first source, in its place.
    fused = pair[0].replace(data=result.rescale(like=0), rgb=result.image.ndim == 3)
    print("wrote", write_image(options.output, fused, overwrite=True))
    viewer.screenshot(str(options.screenshot), canvas_only=False)
    print("wrote", options.screenshot)
    if options.close:
        viewer.close()
    else:
        napari.run()


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", nargs="*", type=Path, help="two image files; none: a sample")
    parser.add_argument("--preset", default="fast", help="settings to start from (fast)")
    parser.add_argument("--iterations", type=int, help="largest number of iterations")
    parser.add_argument("--output", type=Path, default=Path("fused.tif"), help="fused image")
    parser.add_argument("--screenshot", type=Path, default=Path("session.png"), help="the window")
    parser.add_argument("--close", action="store_true", help="close the viewer at the end")
    options = parser.parse_args(arguments)
    if len(options.images) not in (0, 2):
        parser.error(f"give two images or none, got {len(options.images)}")
    return options


def sample_pair() -> list[Source]:
    sample = SAMPLES["head"]()
    return [
        Source(source, name=name)
        for source, name in zip(sample.sources, sample.source_names, strict=True)
    ]


def show(viewer: napari.Viewer, image: Source) -> napari.layers.Image:
    return viewer.add_image(
        image.data,
        name=image.name or image.path.stem,
        rgb=image.rgb,
        affine=image.affine,
        units=image.units,
        axis_labels=image.axes,
    )


if __name__ == "__main__":
    main()
