"""The options of a fusion block by block: how large its blocks are, and who computes them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

Block = Annotated[
    str | None,
    typer.Option(
        "--block",
        metavar="PIXELS",
        help="Fuse block by block, in blocks of so many pixels: 1024, or 64,512,512 along the last "
        "axes. By default only images are that do not fit into memory, in blocks of 1536,1536, or "
        "64,256,256 of a volume.",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Fuse block by block in so many processes of this machine; any number of them gives "
        "the same image.",
    ),
]
Scheduler = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Fuse block by block on the workers of a dask cluster, whose scheduler is at this "
        "address, as in tcp://10.0.0.5:8786.",
    ),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Go on with a fusion block by block that was stopped or killed; what is done of it is "
        "not made again.",
    ),
]


@dataclass(frozen=True, kw_only=True)
class BlockChoice:
    """Whether images are fused block by block, and by whom."""

    block: Sequence[int] = ()
    """Pixels of a block along the last axes; empty for the default."""
    workers: int = 0
    """Processes of this machine; 0 for none."""
    scheduler: str = ""
    """Address of a scheduler; empty for none."""
    resume: bool = False
    """Whether a run is taken up that was stopped or killed."""

    @classmethod
    def take(
        cls, block: str | None, workers: int | None, scheduler: str | None, resume: bool
    ) -> "BlockChoice":
        """Return what options say, which are None where they are not given.

        Raises
        ------
        ValueError
            If a size is none, or both workers and a scheduler are given.
        """
        if workers and scheduler:
            raise ValueError(
                "--workers starts processes on this machine, and --scheduler takes those of a "
                "cluster; give one of them"
            )
        sizes = () if block is None else parse_block(block)
        return cls(block=sizes, workers=workers or 0, scheduler=scheduler or "", resume=resume)

    @property
    def is_given(self) -> bool:
        """Whether any of the options is given, so that the run is to go block by block."""
        return self != BlockChoice()

    @property
    def needs_cluster(self) -> bool:
        """Whether other processes compute."""
        return bool(self.workers or self.scheduler)


def parse_block(text: str) -> tuple[int, ...]:
    """Return the pixels of a block along its last axes; one size counts for rows and columns.

    Examples
    --------
    >>> parse_block("1024"), parse_block("64,512,512")
    ((1024, 1024), (64, 512, 512))
    """
    try:
        sizes = tuple(int(size) for size in text.split(","))
    except ValueError:
        sizes = ()
    if not sizes or min(sizes) < 1:
        raise ValueError(
            f"--block must be a number of pixels, or several as in 64,512,512, got {text!r}"
        )
    return sizes * 2 if len(sizes) == 1 else sizes
