"""Fuse every pair of images in a folder, without a window.

A pair is two files that share a name up to a suffix, as in ``case1_ct.png`` and
``case1_mr.png``. Writes one fused image and one run record for each pair, and a table
of the metrics of all::

    python examples/batch_folder.py scans fused --suffixes _ct _mr

``dip-fusion batch scans -o fused`` does this and goes on where it was interrupted. The loop
is for those who want steps of their own between reading and writing.
"""

import argparse
import csv
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from napari_dip_fusion import FusionConfig, FusionError, FusionResult, fuse
from napari_dip_fusion.io import read_plane, write_image, write_text
from napari_dip_fusion.sources import Source
from napari_dip_fusion.sources.own_pixels import resample_source


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    config = FusionConfig.preset(options.preset)
    if options.iterations is not None:
        config = config.replace(iterations=options.iterations)
    pairs = dict(find_pairs(options.folder, *options.suffixes))
    if not pairs:
        first, second = options.suffixes
        print(f"no pairs NAME{first}.* and NAME{second}.* in {options.folder}", file=sys.stderr)
        return 1
    options.output.mkdir(parents=True, exist_ok=True)
    failures = 0
    with (options.output / "metrics.csv").open("w", newline="", encoding="utf-8") as file:
        table = None
        for number, (name, paths) in enumerate(pairs.items(), start=1):
            print(f"{number}/{len(pairs)} {name}")
            try:
                fused = options.output / f"{name}_fused{options.ending}"
                result = fuse_pair(paths, fused, config)
            except (ValueError, OSError, FusionError) as error:
                # One bad pair is no reason to lose the night's other ones.
                print(f"{name}: {error}", file=sys.stderr)
                failures += 1
                continue
            row = table_row(name, result)
            if table is None:
                table = csv.DictWriter(file, row)
                table.writeheader()
            table.writerow(row)
            file.flush()
    return min(failures, 1)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="where the pairs are")
    parser.add_argument("output", type=Path, help="where the results go")
    parser.add_argument(
        "--suffixes", nargs=2, default=("_a", "_b"), help="ends of the two names (_a _b)"
    )
    parser.add_argument("--preset", default="fast", help="settings to start from (fast)")
    parser.add_argument("--iterations", type=int, help="largest number of iterations")
    parser.add_argument("--ending", default=".ome.tif", help="format of the results (.ome.tif)")
    return parser.parse_args(arguments)


def find_pairs(folder: Path, first: str, second: str) -> Iterator[tuple[str, list[Path]]]:
    files = {path.name.partition(".")[0]: path for path in sorted(folder.iterdir())}
    for stem, path in files.items():
        name = stem.removesuffix(first)
        if stem.endswith(first) and name + second in files:
            yield name, [path, files[name + second]]


def fuse_pair(paths: Sequence[Path], output: Path, config: FusionConfig) -> FusionResult:
    images = [read_plane(path) for path in paths]
    sources = [on_first_grid(image, images[0]) for image in images]
    names, files = [p.stem for p in paths], [str(p.resolve()) for p in paths]
    result = fuse(sources, config, names=names, paths=files)
    # The fused image in the type and units of the first source, in its place.
    fused = images[0].replace(data=result.rescale(like=0), rgb=result.image.ndim == 3)
    write_image(output, fused, overwrite=True)
    record = output.with_name(output.name.partition(".")[0] + ".record.json")
    write_text(record, json.dumps(result.record, indent=1) + "\n", overwrite=True)
    return result


def on_first_grid(image: Source, first: Source) -> Any:
    # Places in other units cannot be compared: then the pixels must match as they are.
    if image.units != first.units:
        return image.data
    return resample_source(image, first.affine, first.shape)[0]


def table_row(name: str, result: FusionResult) -> dict[str, object]:
    return {
        "name": name,
        **{metric: f"{value:.6f}" for metric, value in result.metrics.items()},
        "iterations": len(result.losses),
        "stop_reason": result.stop_reason,
        "seconds": f"{result.record['seconds']['total']:.1f}",
    }


if __name__ == "__main__":
    sys.exit(main())
