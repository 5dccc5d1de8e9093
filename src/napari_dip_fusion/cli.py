"""The command ``dip-fusion``: a thin layer over the library's calls."""

import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from napari_dip_fusion.config import PRESETS, FusionConfig, Intensity, Window
from napari_dip_fusion.errors import FusionError

app = typer.Typer(
    name="dip-fusion",
    help="Fuse aligned images of one scene, without training data, by Deep Image Prior.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _help(name: str) -> str:
    return str(FusionConfig.describe(name)["help"])


Sources = Annotated[
    list[Path], typer.Argument(help="Two or more aligned images: PNG, JPEG or TIFF.")
]
Preset = Annotated[str, typer.Option(help=f"Settings to start from: {', '.join(PRESETS)}.")]
Iterations = Annotated[int | None, typer.Option(help=_help("iterations"))]
Seed = Annotated[int | None, typer.Option(help=_help("seed"))]
Device = Annotated[str | None, typer.Option(help=_help("device"))]
IntensityOption = Annotated[
    list[str] | None,
    typer.Option(
        "--intensity",
        help="auto, minmax, dtype, percentiles or LOW:HIGH; once for all sources or once each.",
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="NAME=VALUE", help="Any other setting, for example --set width=64."
    ),
]
Force = Annotated[bool, typer.Option("--force", "-f", help="Overwrite existing files.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]


@app.command()
def fuse(
    sources: Annotated[
        list[Path] | None, typer.Argument(help="Two or more aligned images: PNG, JPEG or TIFF.")
    ] = None,
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Fused image: a .png or .tif file.")
    ],
    preset: Preset = "fast",
    iterations: Iterations = None,
    seed: Seed = None,
    device: Device = None,
    intensity: IntensityOption = None,
    settings: Settings = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            help="Pixel type of the output: uint8, uint16 or float32 (TIFF only). By default "
            "float32 in TIFF, and in PNG uint8 if all sources are, otherwise uint16."
        ),
    ] = None,
    like: Annotated[
        int | None,
        typer.Option(help="Write in the units and type of this source (0 is the first)."),
    ] = None,
    gains_dir: Annotated[
        Path | None, typer.Option(help="Folder for the gain map of each source, as float32 TIFF.")
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option(help="Run record, JSON. By default beside the output, as NAME.record.json."),
    ] = None,
    replay: Annotated[
        Path | None,
        typer.Option(help="Run a record again: its sources and settings; only -o is needed."),
    ] = None,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Fuse two or more aligned images into one, with its metrics and run record."""
    from napari_dip_fusion import console

    changes = {"iterations": iterations, "seed": seed, "device": device}
    if replay is not None:
        if sources or iterations or seed is not None or intensity or settings:
            raise ValueError("--replay takes sources and settings from the record; give only -o")
        paths, config, hashes = _from_record(replay)
        config = config if device is None else config.replace(device=device)
    else:
        paths, hashes = list(sources or []), None
        config = _config(preset, changes, intensity, settings)
    _check_count(paths)
    record = output.with_name(f"{output.stem}.record.json") if record is None else record
    kind = _output_kind(output, dtype, like)
    gain_paths = _gain_paths(gains_dir, paths)
    _refuse_existing([output, record, *gain_paths], force)
    _refuse_sources_as_output([output, record, *gain_paths], paths)
    arrays = _read(paths)
    _warn_of_changes(arrays, paths, hashes)
    write = _Outputs(output, record, gain_paths, kind, like, force)
    try:
        result = _run(arrays, paths, config, quiet=quiet)
    except FusionError as error:
        if error.result is None:
            raise
        write(error.result)
        raise FusionError(f"{error}; the best image so far is in {output}") from error
    write(result)
    if not quiet:
        console.print_metrics({"fused": result.metrics})
        console.out.print(
            f"{output} after {len(result.losses)} iterations ({result.stop_reason}), "
            f"{result.record['seconds']['total']:.1f} s; record in {record}",
            markup=False,
            soft_wrap=True,
        )


@app.command()
def metrics(
    sources: Sources,
    *,
    fused: Annotated[Path, typer.Option(help="Fused image of any origin.")],
    which: Annotated[
        list[str] | None,
        typer.Option(help="Metric to compute (repeatable), or all. By default those of the paper."),
    ] = None,
    intensity: IntensityOption = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON in place of a table.")
    ] = False,
) -> None:
    """Print quality metrics of a fused image against its sources.

    Sources are prepared as for a fusion; integers of the fused image are
    divided by the largest of their type.
    """
    from napari_dip_fusion import console
    from napari_dip_fusion.metrics import evaluate
    from napari_dip_fusion.sources import prepare_sources

    _check_count(sources)
    arrays = _read([*sources, fused])
    windows = FusionConfig(intensity=_intensity(intensity)).intensity
    prepared = prepare_sources(arrays[:-1], intensity=windows)
    image = _prepared_fused(arrays[-1], fused, prepared.shape)
    chosen = "all" if which == ["all"] else which
    values = evaluate(prepared.images, image, data_range=1.0, which=chosen)
    if as_json:
        import json

        typer.echo(json.dumps(values, indent=2))
    else:
        console.print_metrics({fused.name: values})


@app.command()
def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the results; made if needed.")
    ] = Path("dip-fusion-demo"),
    *,
    preset: Preset = "fast",
    iterations: Iterations = None,
    seed: Seed = None,
    device: Device = None,
    settings: Settings = None,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Fuse the synthetic CT-MR sample pair and show what comes out."""
    from napari_dip_fusion import console
    from napari_dip_fusion.figures import fusion_figure
    from napari_dip_fusion.io import replacing
    from napari_dip_fusion.metrics import evaluate
    from napari_dip_fusion.samples import SAMPLES

    changes = {"iterations": iterations, "seed": seed, "device": device}
    config = _config(preset, changes, None, settings)
    sample = SAMPLES["head"]()
    names = list(sample.source_names)
    fused, record = output / "fused.png", output / "fused.record.json"
    figure = output / "figure.png"
    gain_paths = [output / f"gain_{n}.tif" for n in names]
    _refuse_existing([fused, record, figure, *gain_paths], force)
    output.mkdir(parents=True, exist_ok=True)
    result = _run(list(sample.sources), names, config, quiet=quiet)
    _Outputs(fused, record, gain_paths, "uint8", None, force)(result)
    with replacing(figure, overwrite=force) as temporary:
        fusion_figure(result, names).savefig(temporary, format="png", dpi=110)
    if quiet:
        return
    images = result.sources.images
    rules = {"consensus T": result.consensus.clip(0, 1), "average": images.mean(axis=0)}
    rules["maximum"] = images.max(axis=0)
    rows = {n: evaluate(images, image, data_range=1.0) for n, image in rules.items()}
    console.print_metrics({"fused": result.metrics, **rows})
    console.out.print(
        f"{len(result.losses)} iterations ({result.stop_reason}) in "
        f"{result.record['seconds']['total']:.1f} s; look at {figure}",
        markup=False,
        soft_wrap=True,
    )


@app.command()
def info() -> None:
    """Print versions, devices, threads and memory: what to send with a bug report."""
    import torch

    from napari_dip_fusion import console
    from napari_dip_fusion.devices import available_memory, list_devices

    packages = ("napari-dip-fusion", "napari", "npe2", "torch", "numpy", "scikit-image")
    console.print_pairs(
        "versions",
        {"python": platform.python_version(), **{p: version(p) for p in packages}},
    )
    console.print_pairs(
        "devices", {d: f"{available_memory(d) / 1e9:.1f} GB free" for d in list_devices()}
    )
    console.print_pairs(
        "processor",
        {
            "system": platform.platform(),
            "threads": torch.get_num_threads(),
            "instructions": torch.backends.cpu.get_cpu_capability(),
        },
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; a bad call ends with one line on stderr and exit code 2."""
    sys.exit(_exit_code(arguments))


# Newer releases of typer bring a click of their own and export its errors only in part.
_UsageError: Any = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")


def _exit_code(arguments: Sequence[str] | None) -> int:
    from napari_dip_fusion import console

    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = app(args=given or ["--help"], prog_name="dip-fusion", standalone_mode=False)
    except (typer.Abort, KeyboardInterrupt):
        return console.fail("given up", 130)
    except FusionError as error:
        return console.fail(str(error), 1)
    except (ValueError, OSError) as error:
        return console.fail(str(error), 2)
    except _UsageError as error:
        return console.fail(f"{error.format_message()} (dip-fusion --help says more)", 2)
    return code if isinstance(code, int) else 0


class _Outputs:
    """Where the results of a run go; calling it writes them."""

    def __init__(
        self,
        fused: Path,
        record: Path,
        gains: Sequence[Path],
        dtype: str | None,
        like: int | None,
        force: bool,
    ) -> None:
        self.fused, self.record, self.gains = fused, record, gains
        self.dtype, self.like, self.force = dtype, like, force

    def __call__(self, result: Any) -> None:
        import json

        from napari_dip_fusion.io import write_image, write_text

        write_image(self.fused, self._pixels(result), overwrite=self.force)
        for path, gain in zip(self.gains, result.gains, strict=False):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_image(path, gain, overwrite=self.force)
        write_text(self.record, json.dumps(result.record, indent=1) + "\n", overwrite=self.force)

    def _pixels(self, result: Any) -> NDArray[Any]:
        if self.like is not None:
            return np.asarray(result.rescaled(like=self.like, dtype=self.dtype))
        if self.dtype == "float32":
            return np.asarray(result.image)
        all_bytes = all(d == np.uint8 for d in result.sources.dtypes)
        kind = np.dtype(self.dtype or ("uint8" if all_bytes else "uint16"))
        pixels: NDArray[Any] = np.rint(result.image * np.iinfo(kind).max).astype(kind)
        return pixels


def _run(
    arrays: list[NDArray[Any]], paths: Sequence[Path | str], config: FusionConfig, *, quiet: bool
) -> Any:
    from napari_dip_fusion import console
    from napari_dip_fusion.fusion import Control, iter_fuse

    control = Control()
    files = [str(p.resolve()) if isinstance(p, Path) else None for p in paths]
    names = [p.name if isinstance(p, Path) else p for p in paths]
    with console.interrupt_keeps_best(control):
        events = iter_fuse(arrays, config, names=names, paths=files, control=control)
        return console.watch(events, quiet=quiet)


def _config(
    preset: str,
    changes: dict[str, Any],
    intensity: list[str] | None,
    settings: list[str] | None,
) -> FusionConfig:
    given = {k: v for k, v in changes.items() if v is not None}
    if intensity:
        given["intensity"] = _intensity(intensity)
    return FusionConfig.preset(preset, **{**_parsed(settings or []), **given})


def _intensity(entries: list[str] | None) -> Intensity:
    if not entries:
        return "auto"
    parsed = tuple(_window(e) if ":" in e else e for e in entries)
    return parsed[0] if len(parsed) == 1 and isinstance(parsed[0], str) else parsed


def _window(text: str) -> Window:
    low, _, high = text.partition(":")
    try:
        return float(low), float(high)
    except ValueError:
        raise ValueError(
            f"an intensity window must be LOW:HIGH, for example -100:300, got {text!r}"
        ) from None


def _parsed(settings: list[str]) -> dict[str, Any]:
    """Turn NAME=VALUE into values of the kinds of their defaults."""
    defaults = {f.name: f.default for f in fields(FusionConfig)}
    parsed: dict[str, Any] = {}
    for text in settings:
        name, separator, value = text.partition("=")
        if not separator:
            raise ValueError(f"--set takes NAME=VALUE, got {text!r}")
        if name not in defaults:
            raise ValueError(f"unknown setting {name!r}; the settings are {', '.join(defaults)}")
        parsed[name] = _value(name, value, defaults[name])
    return parsed


def _value(name: str, text: str, default: Any) -> Any:
    if name == "percentiles":
        return tuple(_number(name, t, float) for t in text.split(","))
    if isinstance(default, bool):
        if text.lower() not in ("true", "false"):
            raise ValueError(f"{name} must be true or false, got {text!r}")
        return text.lower() == "true"
    if isinstance(default, (int, float)):
        return _number(name, text, type(default))
    return text


def _number(name: str, text: str, kind: Callable[[str], float]) -> float:
    try:
        return kind(text)
    except ValueError:
        raise ValueError(f"{name} must be a number like its default, got {text!r}") from None


def _check_count(paths: Sequence[Path]) -> None:
    if len(paths) < 2:
        raise ValueError(f"a fusion needs two or more source images, got {len(paths)}")


def _read(paths: Sequence[Path]) -> list[NDArray[Any]]:
    from napari_dip_fusion.io import read_image

    return [np.asarray(read_image(p).data) for p in paths]


def _prepared_fused(image: NDArray[Any], path: Path, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Bring a fused image to grey in [0, 1]."""
    from napari_dip_fusion.sources import prepare_sources

    if image.shape[:2] != shape:
        raise ValueError(
            f"the fused image must have the size of the sources, {shape[0]}x{shape[1]}, got "
            f"{image.shape[0]}x{image.shape[1]} in {path}"
        )
    if image.dtype.kind == "f" and not (image.min() >= 0 and image.max() <= 1):
        raise ValueError(
            f"float values of a fused image must lie in [0, 1], got {image.min():g} to "
            f"{image.max():g} in {path}"
        )
    single: NDArray[np.float32] = prepare_sources([image, image], intensity="dtype").images[0]
    return single


def _output_kind(output: Path, dtype: str | None, like: int | None) -> str | None:
    png, tiff = output.suffix.lower() == ".png", output.suffix.lower() in (".tif", ".tiff")
    if not png and not tiff:
        raise ValueError(f"the output must end in .png, .tif or .tiff, got {output.name!r}")
    kinds = ("uint8", "uint16") if png else ("uint8", "uint16", "float32")
    if dtype is not None and dtype not in kinds:
        raise ValueError(f"--dtype must be one of {', '.join(kinds)} for {output}, got {dtype!r}")
    return dtype if dtype or png or like is not None else "float32"


def _gain_paths(folder: Path | None, sources: Sequence[Path]) -> list[Path]:
    if folder is None:
        return []
    return [folder / f"gain_{i}_{p.stem}.tif" for i, p in enumerate(sources)]


def _refuse_existing(paths: Sequence[Path], force: bool) -> None:
    for path in paths:
        if path.exists() and not force:
            raise FileExistsError(f"{path} exists; choose another name or add --force")


def _refuse_sources_as_output(outputs: Sequence[Path], sources: Sequence[Path]) -> None:
    read = {p.resolve() for p in sources}
    for path in outputs:
        if path.resolve() in read:
            raise ValueError(f"{path} is a source; choose another output")


def _from_record(path: Path) -> tuple[list[Path], FusionConfig, list[str]]:
    """Return sources, settings and hashes of a run record."""
    from napari_dip_fusion.record import read_record

    record = read_record(path)
    entries = record["sources"]
    missing = [str(e.get("name")) for e in entries if not e.get("path")]
    if missing:
        raise ValueError(
            f"{path} names no files for {', '.join(missing)}: it was run on arrays, not on files"
        )
    # Exactly the iterations that were run, whatever ended them.
    config = FusionConfig.from_dict(record["config"]).replace(
        iterations=record["iterations"], stop="iterations"
    )
    return [Path(e["path"]) for e in entries], config, [e["sha256"] for e in entries]


def _warn_of_changes(
    arrays: Sequence[NDArray[Any]], paths: Sequence[Path], hashes: Sequence[str] | None
) -> None:
    from napari_dip_fusion import console
    from napari_dip_fusion.record import array_sha256

    for array, path, expected in zip(arrays, paths, hashes or [], strict=False):
        if array_sha256(array) != expected:
            console.warn(f"{path} has changed since the record was written; the result will differ")


if __name__ == "__main__":
    main()
