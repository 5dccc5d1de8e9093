"""The command ``dip-fusion``: a thin layer over the library's calls."""

import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Annotated, Any

import typer

from napari_dip_fusion.cli.heap import keep_freed_memory
from napari_dip_fusion.errors import FusionError, StoppedError


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; a bad call ends with one line on stderr and exit code 2."""
    # Threads that wait by spinning hold up a core that another process needs, at every step of a
    # fit. torch reads this once, when it is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    keep_freed_memory()
    sys.exit(_run(list(sys.argv[1:] if arguments is None else arguments)))


def _make_app() -> typer.Typer:
    from napari_dip_fusion.cli.batch.command import batch_files
    from napari_dip_fusion.cli.compare import compare_files
    from napari_dip_fusion.cli.demo import run_demo
    from napari_dip_fusion.cli.fuse import fuse_files
    from napari_dip_fusion.cli.info import show_info
    from napari_dip_fusion.cli.metrics import score_files
    from napari_dip_fusion.methods import METHODS

    methods = "\n\n".join(f"{m.name}: {m.description}" for m in METHODS.values())
    app = typer.Typer(
        help="Fuse aligned images of one scene, without training data, by Deep Image Prior.",
        epilog=f"Methods beside dip (fuse --method, compare --methods):\n\n{methods}",
        context_settings={"help_option_names": ["-h", "--help"]},
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(_take_common_options)
    commands: dict[str, Callable[..., None]] = {
        "fuse": fuse_files,
        "batch": batch_files,
        "compare": compare_files,
        "metrics": score_files,
        "demo": run_demo,
        "info": show_info,
    }
    for name, command in commands.items():
        app.command(name)(command)
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dip-fusion {version('napari-dip-fusion')}")
        raise typer.Exit


def _take_common_options(
    show: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Take the options that stand before the name of a command; their callbacks do the work."""


# Newer releases of typer bring a click of their own and export its errors only in part.
_UsageError: Any = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")


def _run(arguments: list[str]) -> int:
    from napari_dip_fusion.cli import console

    # Exit codes: 2 for a call that cannot be carried out, 1 for a run that failed on its way, and
    # 130 as shells have it for Ctrl-C.
    try:
        with console.print_warnings_in_one_line():
            code = _make_app()(
                args=arguments or ["--help"], prog_name="dip-fusion", standalone_mode=False
            )
    except (typer.Abort, KeyboardInterrupt):
        return console.fail("given up", 130)
    except StoppedError as error:
        return console.fail(str(error), 130)
    except FusionError as error:
        return console.fail(str(error), 1)
    except (ValueError, OSError) as error:
        return console.fail(str(error), 2)
    except MemoryError:
        return console.fail("not enough memory; choose one plane, or a smaller image", 1)
    except _UsageError as error:
        return console.fail(f"{error.format_message()} (dip-fusion --help says more)", 2)
    return code if isinstance(code, int) else 0
