"""Feed damaged files to every reader: each must end in an image or a clean error.

    python benchmarks/fuzz_readers.py --inputs 4000 --seed 0

A run makes small good files of every format, damages copies of them and reads
those. Anything but an image or an ``ImageFileError`` (another exception, more than
the time limit, a crash of the process) is a finding: its file is kept and the exit
code is 1.
"""

import argparse
import collections
import gzip
import io
import logging
import multiprocessing
import queue
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

import numpy as np
import pydicom.data
from PIL import Image

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io import ome as ome_zarr
from napari_dip_fusion.io import read_images, write_image, write_images
from napari_dip_fusion.sources import Source

SECONDS = 20
MOST_BYTES = 2**28
NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)
DICOM = (
    "CT_small.dcm",
    "MR_small_RLE.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_jp2klossless.dcm",
    "SC_rgb_small_odd_jpeg.dcm",
    "image_dfl.dcm",
    "rtdose.dcm",
    "SC_rgb_rle_2frame.dcm",
)


def good_files(folder):
    """Write one small good file of each kind."""
    rng = np.random.default_rng(0)
    gray = rng.integers(0, 255, (20, 24), np.uint8)
    color = rng.integers(0, 255, (20, 24, 3), np.uint8)
    volume = Source(
        rng.random((4, 20, 24), dtype=np.float32),
        affine=np.array([[2, 0, 0, 1], [0, 0.8, 0.6, 2], [0, -0.6, 0.8, 3], [0, 0, 0, 1.0]]),
        units=("mm",) * 3,
        name="volume",
        display={"colormap": "magma"},
    )
    files = [
        write_image(folder / "gray.png", gray),
        write_image(folder / "deep.png", color.astype(np.uint16) * 257),
        write_image(folder / "gray.tif", gray),
        write_image(folder / "color.tif", color),
        write_image(folder / "volume.ome.tif", volume),
        write_images(
            folder / "all.fusion.ome.tif",
            [volume, Source(gray), Source(color, rgb=True)],
        ),
        write_image(folder / "volume.nii", volume),
        write_image(folder / "volume.nii.gz", volume),
        write_image(folder / "times.nii.gz", Source(rng.random((3, 4, 8, 9), dtype=np.float32))),
        write_image(folder / "volume.ome.zarr", volume),
        folder / "old.zarr",
    ]
    ome_zarr.write(folder / "old.zarr", volume, version="0.4")
    for ending in ("jpg", "bmp"):
        files.append(folder / f"color.{ending}")
        Image.fromarray(color).save(files[-1])
    files.append(folder / "palette.png")
    Image.fromarray(color).quantize(16).save(files[-1])
    for compression in ("lzw", "jpeg", "packbits", "zlib", "zstd"):
        import tifffile

        files.append(folder / f"{compression}.tif")
        tifffile.imwrite(files[-1], color, compression=compression, tile=(16, 16))
    examples = Path(pydicom.data.__file__).parent / "test_files"
    return files + [Path(shutil.copy(examples / name, folder / name)) for name in DICOM]


def damaged(content, rng):
    """Return a copy with one to three random damages, more of them near the start."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 3))):
        if not data:
            break
        where = int(len(data) * rng.random() ** rng.integers(1, 7))
        kind = rng.integers(9)
        if kind == 0:
            data[where] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            data[where] = int(rng.integers(256))
        elif kind == 2:
            number = int(rng.choice(NUMBERS))
            order = "little" if rng.random() < 0.5 else "big"
            data[where : where + 4] = number.to_bytes(4, order)
        elif kind == 3:
            del data[where:]
        elif kind == 4:
            del data[where : where + int(rng.integers(1, 64))]
        elif kind == 5:
            data[where:where] = rng.bytes(int(rng.integers(1, 64)))
        elif kind == 6:
            length = int(rng.integers(1, 200))
            data[where : where + length] = bytes(length)
        else:
            replace_number(data, rng, same_length=kind == 7)
    return bytes(data)


def replace_number(data, rng, *, same_length):
    """Put something strange for one of the numbers in the text of a file."""
    # As in XML attributes and JSON, not the chance digits of binary data.
    numbers = list(re.finditer(rb"""(?<=[":,\[ ])\d[\d.]*(?=[",\] }])""", data))
    if not numbers:
        return
    start, end = numbers[rng.integers(len(numbers))].span()
    digit = rng.choice((b"9", b"0", b"1", b"-"))
    other = rng.choice((b"-1", b"0", b"1e400", b"null", b"99999999999", b'"x"', b"[]", b"NaN"))
    data[start:end] = bytes(digit) * (end - start) if same_length else bytes(other)


def damaged_copy(good, folder, rng):
    """Write a damaged copy of a file, or of a folder with one damaged file."""
    copy = folder / good.name
    if good.is_dir():
        shutil.copytree(good, copy)
        parts = [p for p in sorted(copy.rglob("*")) if p.is_file()]
        part = parts[rng.integers(len(parts))]
        part.write_bytes(damaged(part.read_bytes(), rng))
    elif good.suffix == ".gz" and rng.random() < 0.7:
        inner = damaged(gzip.decompress(good.read_bytes()), rng)
        with io.BytesIO() as packed:
            with gzip.open(packed, "wb", 1) as file:
                file.write(inner)
            copy.write_bytes(packed.getvalue())
    else:
        copy.write_bytes(damaged(good.read_bytes(), rng))
    return copy


class Slow(BaseException):
    """Raised by the alarm; no reader catches it."""


def outcome(path):
    """Read a file and all its pixels; return what came of it."""

    def too_slow(number, frame):
        raise Slow

    signal.signal(signal.SIGALRM, too_slow)
    signal.alarm(SECONDS)
    try:
        for image in read_images(path):
            if np.prod(image.data.shape) * image.dtype.itemsize < MOST_BYTES:
                image.to_numpy()
        return "image", ""
    except ImageFileError as error:
        text = str(error)
        return ("error", "") if "\n" not in text else ("several lines", text)
    except Slow:
        return "slow", traceback.format_exc()
    except Exception as error:
        return type(error).__name__, traceback.format_exc()
    finally:
        signal.alarm(0)


def work(files, folder, seeds, results):
    """Fuzz in a process of its own, so that a crash is seen."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    for seed in seeds:
        rng = np.random.default_rng(seed)
        good = files[seed % len(files)]
        place = folder / str(seed)
        place.mkdir()
        path = damaged_copy(good, place, rng)
        results.put((seed, good.name, "started", "", 0.0, 0))
        start = time.perf_counter()
        result, details = outcome(path)
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        results.put((seed, good.name, result, details, seconds, peak))
        if result in ("image", "error"):
            shutil.rmtree(place)


def run(files, folder, seeds):
    """Yield the outcome of every seed, starting a new process after a crash."""
    seeds = list(seeds)
    while seeds:
        results = multiprocessing.Queue()
        process = multiprocessing.Process(target=work, args=(files, folder, seeds, results))
        process.start()
        open_seed = None
        while process.is_alive() or not results.empty():
            try:
                seed, name, result, details, seconds, peak = results.get(timeout=0.5)
            except queue.Empty:
                continue
            open_seed = (seed, name) if result == "started" else None
            if result != "started":
                seeds.remove(seed)
                yield name, seed, result, details, seconds, peak
        process.join()
        if open_seed is not None:
            seeds.remove(open_seed[0])
            yield open_seed[1], open_seed[0], f"crash ({process.exitcode})", "", 0.0, 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=2500)
    parser.add_argument("--seed", type=int, default=0, help="first seed")
    parser.add_argument("--keep", type=Path, default=None, help="folder for what is found")
    options = parser.parse_args()
    folder = options.keep or Path(tempfile.mkdtemp(prefix="fuzz-"))
    (folder / "good").mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        files = good_files(folder / "good")
    for path in files:
        read_images(path)
    start = time.perf_counter()
    counts = collections.defaultdict(collections.Counter)
    found = 0
    slowest, most = (0.0, -1, ""), 0
    seeds = range(options.seed, options.seed + options.inputs)
    for name, seed, result, details, seconds, peak in run(files, folder, seeds):
        slowest, most = max(slowest, (seconds, seed, name)), max(most, peak)
        counts[name][result] += 1
        if result not in ("image", "error"):
            found += 1
            print(f"\n{result}: seed {seed}, {folder / str(seed)}\n{details}", flush=True)
    for name in sorted(counts):
        print(f"{name:28}", ", ".join(f"{n} {what}" for what, n in sorted(counts[name].items())))
    seconds, seed, name = slowest
    print(f"slowest {seconds:.1f} s (seed {seed}, {name}); most memory {most / 1e6:.2f} GB")
    total = sum(sum(count.values()) for count in counts.values())
    print(f"{total} inputs, {found} findings, {time.perf_counter() - start:.0f} s")
    if not found and options.keep is None:
        shutil.rmtree(folder)
    return int(found > 0)


if __name__ == "__main__":
    sys.exit(main())
