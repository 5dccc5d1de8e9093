"""The groups of settings: each field with its default, unit, range and meaning."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

# A small network on crops, for 1200 iterations, takes as long as 240 of the other one.
RESTORING_ITERATIONS, FITTING_ITERATIONS = 1200, 120
"""Iterations of the networks where the settings name no number."""


class Settings(BaseModel):
    """A frozen group of settings that takes values of exactly the types it declares."""

    # Strict: an iteration count of 8.0, or a switch of 1, is a mistake that is better told.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class GainSettings(Settings):
    """How the gain of each source at each pixel is estimated."""

    model_config = ConfigDict(title="Gains")

    patch_size: int = Field(
        default=9,
        ge=1,
        le=255,
        description="Side of the patch for the local principal component analysis, in pixels "
        "(odd for sliding windows).",
        json_schema_extra={"unit": "pixels"},
    )
    # One band of gains on intensities is weak on focus series and on details; in two bands the
    # consensus image alone beats the trained networks in most metrics (benchmarks/quality.py).
    band_sigma: float = Field(
        default=4.5,
        ge=0,
        le=64,
        title="Detail scale",
        description="Size in pixels below which structure counts as detail, with gains of its own "
        "(the standard deviation of the blur that splits each source into its base and its "
        "details); 0 for gains of the whole source, as published.",
        json_schema_extra={"unit": "pixels"},
    )
    window: Literal["box", "gaussian", "block"] = Field(
        default="gaussian",
        description="Patch weighting: box (sliding), gaussian (sliding, standard deviation patch "
        "size / 4.5) or block (non-overlapping).",
    )
    # Of two equal sources, unit-norm gains make an image that is sqrt(2) times as bright, which
    # the network's sigmoid cannot reach; unit-max gains make their mean.
    scale: Literal["unit-max", "unit-norm"] = Field(
        default="unit-max",
        description="Scale of the gains at each pixel: unit-max (the largest is 1) or unit-norm "
        "(their squares sum to 1, as published).",
    )
    sharpness: float = Field(
        default=12.0,
        ge=0.1,
        le=64,
        description="Power applied to the gains (in two bands, of the details, times those of the "
        "base) before scaling; above 1 the stronger source weighs more.",
    )

    volumes: Literal["whole", "planes"] = Field(
        default="whole",
        description="What is fused at once of a volume or a series: whole (windows, noise removal "
        "and network reach into neighboring slices, as far as these are near) or planes (each "
        "plane by itself, with a network of its own where one runs, as published).",
    )

    def model_post_init(self, context: Any, /) -> None:
        """Refuse a sliding window without a middle pixel."""
        if self.window != "block" and self.patch_size % 2 == 0:
            raise ValueError(
                f"patch_size must be odd for the sliding window {self.window!r}, got "
                f"{self.patch_size}; choose {self.patch_size + 1} or window='block'"
            )


class DenoisingSettings(Settings):
    """What is done about the noise in the sources."""

    model_config = ConfigDict(title="Noise")

    noise: Literal["auto", "none"] = Field(
        default="auto",
        description="Noise in the sources: auto (estimated for each; the gains are taken from "
        "denoised sources, and the run stops at the noise) or none (sources are taken as they "
        "are).",
    )
    give_back: bool = Field(
        default=True,
        title="Keep structure",
        description="Keep the structure of the consensus image that noise cannot explain and the "
        "network's image lacks.",
    )
    # The mean of many outputs has less of the noise that single ones begin to fit.
    averaging: float = Field(
        default=0.97,
        ge=0,
        le=0.999,
        description="Decay of the running mean of the network's outputs, of which the result is "
        "made; 0 keeps the output with the smallest loss, as published.",
    )


class RestorationSettings(Settings):
    """What is done about what a source's own sensor lost of it: resolution, and sharpness."""

    model_config = ConfigDict(title="Restoration")

    # A source of larger pixels is restored from 1.3 of them on: below it, interpolation loses
    # next to nothing (benchmarks/restoration.py).
    restore: Literal["auto", "always", "never"] = Field(
        default="auto",
        description="Whether sources are restored before they are fused: auto (those with noise, "
        "with pixels at least 1.3 times as large as the reference's, or with a blur of a known "
        "width), always (all with any larger pixels or blur) or never (they are interpolated, as "
        "published).",
    )


class NetworkSettings(Settings):
    """The encoder-decoder that serves as the image prior."""

    model_config = ConfigDict(title="Network")

    channels: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Output channels of the network; their mean is the fused image.",
    )
    # Time and memory grow with the square of the width.
    width: int = Field(
        default=32, ge=4, le=512, description="Feature channels of the network at each scale."
    )
    depth: int = Field(
        default=5, ge=1, le=7, description="Scales of the network: each halves the image once."
    )
    skip_channels: int = Field(
        default=4, ge=1, le=128, description="Channels of each skip connection."
    )
    upsampling: Literal["nearest", "bilinear"] = Field(
        default="nearest",
        description="Interpolation in the decoder: nearest (fits faster) or bilinear (as "
        "published).",
    )
    # Given the sources, a narrow network is as near to T in 100 iterations as the published one in
    # 300 of eight times the time each; on noisy sources random input regularizes more.
    net_input: Literal["sources", "random"] = Field(
        default="sources",
        description="Input of the network: sources (the sources and their consensus image; fits "
        "fastest) or random (fixed uniform noise, as published; regularizes most).",
    )
    input_noise: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Standard deviation of Gaussian noise added to the network input at every "
        "iteration.",
    )


class FitSettings(Settings):
    """Whether a network is fitted, how long and from where."""

    model_config = ConfigDict(title="Fit")

    # On sources without noise the consensus image is the result, whatever a network would make.
    network: Literal["auto", "always", "never"] = Field(
        default="auto",
        description="Whether a network runs: auto (only where it can change the image: in sources "
        "that are restored; where none are, if noise was found or structure is not kept), always "
        "(beside that, the one of the paper is fitted to the fused image, and the result is its "
        "own image where no noise is left) or never (sources are restored without a network, and "
        "the result is their consensus image).",
    )
    iterations: int = Field(
        default=0,
        ge=0,
        le=100_000,
        description="Largest number of iterations; 0 for as many as the network at work is worth: "
        f"{RESTORING_ITERATIONS} of the one that restores a source, "
        f"{RESTORING_ITERATIONS // 2} more for each further source, which share them, and "
        f"{FITTING_ITERATIONS} of the one that is fitted to the fused image.",
    )
    learning_rate: float = Field(default=0.01, ge=1e-6, le=1, description="Learning rate of Adam.")
    time_budget: float = Field(
        default=0.0,
        ge=0,
        le=1e6,
        description="Stop before a run takes longer than this many seconds; 0 for no limit.",
        json_schema_extra={"unit": "seconds"},
    )
    # Stopping is a statement about noise: the network fits structure first (Jahn and Jin, 2024).
    stop: Literal["noise", "plateau", "iterations"] = Field(
        default="noise",
        description="When to stop: noise (the excess loss is down to what the estimated noise "
        "explains, or no longer falls), plateau (it no longer falls) or iterations (run them all).",
    )
    patience: int = Field(
        default=40,
        ge=2,
        le=10_000,
        description="Iterations over which the plateau rule compares the excess loss.",
        json_schema_extra={"unit": "iterations"},
    )
    min_improvement: float = Field(
        default=0.1,
        ge=0,
        le=0.99,
        description="The plateau rule stops when the excess falls by less than this fraction "
        "within the patience.",
    )
    seed: int = Field(
        default=0,
        ge=0,
        le=2**31 - 1,
        description="Seed of the network's weights, its random input and its input noise.",
    )

    def count_restoring(self, sources: int) -> int:
        """Return the largest number of iterations, all together, of the networks of some sources.

        Two thirds of the iterations of a network are worth most of what all are.
        """
        return self.iterations or RESTORING_ITERATIONS * (sources + 1) // 2

    @property
    def fitting_iterations(self) -> int:
        """Largest number of iterations of the network that is fitted to the fused image."""
        return self.iterations or FITTING_ITERATIONS


class ComputeSettings(Settings):
    """Where and how the network is computed."""

    model_config = ConfigDict(title="Computing")

    device: str = Field(
        default="auto",
        description="Where the network runs: auto (a GPU if there is one), cpu, cuda, cuda:0, "
        "... or mps.",
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto",
        description="Arithmetic of the convolutions: auto (bfloat16 where the device computes "
        "with it), float32 or bfloat16.",
    )
    threads: int = Field(
        default=0,
        ge=0,
        le=1024,
        description="Processor threads for the network on the CPU; 0 leaves torch's own choice.",
    )
