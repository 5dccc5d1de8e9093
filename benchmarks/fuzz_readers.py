"""Feed damaged files to every reader: each must end in an image or a clean error.

    python benchmarks/fuzz_readers.py --inputs 4000 --seed 0

A run writes small good files of every format, damages copies of them and reads
those. Anything but an image or an ``ImageFileError`` of one line (another exception,
more than the time limit, a crash of the process) is a finding: its file is kept and
the exit code is 1.
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
from fuzz_files import write_good_files

from napari_dip_fusion.errors import ImageFileError
from napari_dip_fusion.io import read_images

SECONDS = 20
# Images that declare more pixels than this are not read as a whole.
MOST_BYTES = 2**28
# Sizes at the borders of signed and unsigned types.
NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)


def damage(content, rng):
    """Return a copy with one to three random damages, more of them near the start."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 3))):
        if not data:
            break
        # Headers lie at the start, and a byte there does more than one of the pixels.
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


def write_damaged_copy(good, folder, rng):
    """Write a damaged copy of a file, or of a folder or set of files with one damaged file."""
    copy = folder / good.name
    in_set = good.parent.suffix == ".set"
    if good.is_dir() or in_set:
        shutil.copytree(
            good.parent if in_set else good, folder if in_set else copy, dirs_exist_ok=True
        )
        parts = [p for p in sorted(folder.rglob("*")) if p.is_file()]
        part = parts[rng.integers(len(parts))]
        part.write_bytes(damage(part.read_bytes(), rng))
    # A damaged gzip file ends in its checksum; what lies within is damaged more often.
    elif good.suffix == ".gz" and rng.random() < 0.7:
        inner = damage(gzip.decompress(good.read_bytes()), rng)
        with io.BytesIO() as packed:
            with gzip.open(packed, "wb", 1) as file:
                file.write(inner)
            copy.write_bytes(packed.getvalue())
    else:
        copy.write_bytes(damage(good.read_bytes(), rng))
    return copy


class Slow(BaseException):
    """Raised by the alarm; no reader catches it."""


def read_outcome(path):
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


def read_damaged_copies(files, folder, seeds, results):
    """Read a damaged file for each seed, in a process of its own, so that a crash is seen."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    for seed in seeds:
        rng = np.random.default_rng(seed)
        good = files[seed % len(files)]
        place = folder / str(seed)
        place.mkdir()
        path = write_damaged_copy(good, place, rng)
        results.put((seed, good.name, "started", "", 0.0, 0))
        start = time.perf_counter()
        result, details = read_outcome(path)
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        results.put((seed, good.name, result, details, seconds, peak))
        if result in ("image", "error"):
            shutil.rmtree(place)


def watch_readers(files, folder, seeds):
    """Yield the outcome of every seed, starting a new process after a crash."""
    seeds = list(seeds)
    while seeds:
        results = multiprocessing.Queue()
        process = multiprocessing.Process(
            target=read_damaged_copies, args=(files, folder, seeds, results)
        )
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
    """Run the command, and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=2500)
    parser.add_argument("--seed", type=int, default=0, help="first seed")
    parser.add_argument("--keep", type=Path, default=None, help="folder for what is found")
    options = parser.parse_args()
    folder = options.keep or Path(tempfile.mkdtemp(prefix="fuzz-"))
    (folder / "good").mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        files = write_good_files(folder / "good")
    # The good files have to be readable, or nothing is tested.
    for path in files:
        read_images(path)
    start = time.perf_counter()
    counts = collections.defaultdict(collections.Counter)
    found = 0
    slowest, most = (0.0, -1, ""), 0
    seeds = range(options.seed, options.seed + options.inputs)
    for name, seed, result, details, seconds, peak in watch_readers(files, folder, seeds):
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
