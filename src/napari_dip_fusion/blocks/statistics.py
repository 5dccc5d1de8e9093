"""What is known of whole sources before any block is fused, so that no block is scaled on its own.

Intensity windows, noise and clipping, and with them what is restored and by which networks, are
found once, from samples that are spread over all of the image, and hold for every block.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from napari_dip_fusion.config import Window
from napari_dip_fusion.fusion.decision import Decision
from napari_dip_fusion.fusion.sensed import Learned
from napari_dip_fusion.restoration.noise import RestorationNoise
from napari_dip_fusion.sensor.analysis import SourceNoise
from napari_dip_fusion.sensor.noise import Clipping

__all__ = ["Statistics"]


@dataclass(frozen=True)
class Statistics:
    """What holds for all blocks of a run.

    Attributes
    ----------
    windows : tuple of (low, high)
        Of each source the values that become 0 and 1.
    noise : tuple of SourceNoise
        Of each source, with what is known of its clipping.
    decision : Decision
        What is restored, and by which networks.
    learned : dict of int to Learned
        What was learned of restored sources from samples, by the index of the source.
    hashes : tuple of tuple of str
        SHA-256 of what was read of each source for each sample.
    restoration : tuple of dict
        What a run record says of each restored source.
    losses : tuple of float
        Of the iterations of all networks.
    fit : bytes or None
        Weights of the network that is fitted to the fused image; None where there is none.
    floor : float
        Smallest value of its loss.
    """

    windows: tuple[Window, ...]
    noise: tuple[SourceNoise, ...] = ()
    decision: Decision = field(default_factory=Decision)
    learned: dict[int, Learned] = field(default_factory=dict)
    hashes: tuple[tuple[str, ...], ...] = ()
    restoration: tuple[dict[str, Any], ...] = ()
    losses: tuple[float, ...] = ()
    fit: bytes | None = field(default=None, repr=False)
    floor: float = 0.0

    @property
    def gives_back(self) -> bool:
        """Whether structure that the fitted network misses is told from noise, and given back."""
        return any(self.noise) and not self.decision.restored

    @property
    def networks(self) -> dict[int, bytes]:
        """The weights of the networks, by the index of their source."""
        return {n: known.weights for n, known in self.learned.items() if known.weights is not None}

    def list_deviations(self) -> list[float]:
        """Return the standard deviation of the noise of each source, as it was found."""
        return [
            self.learned[number].deviation
            if number in self.learned
            else noise.white or noise.speckle
            for number, noise in enumerate(self.noise)
        ]

    def with_networks(self, networks: dict[int, bytes]) -> "Statistics":
        """Return the same with weights of networks, by the index of their source."""
        learned = {n: replace(known, weights=networks.get(n)) for n, known in self.learned.items()}
        return replace(self, learned=learned)

    def with_fit(self, weights: bytes, losses: Sequence[float], floor: float) -> "Statistics":
        """Return the same with the weights of a fitted network, and its losses."""
        return replace(self, fit=weights, losses=tuple(losses), floor=floor)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the weights, of values that JSON can hold."""
        learned = {
            str(n): asdict(replace(known, weights=None)) for n, known in self.learned.items()
        }
        return {**asdict(replace(self, learned={}, fit=None)), "learned": learned}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Statistics":
        """Return what :meth:`to_dict` described.

        Raises
        ------
        KeyError, TypeError, ValueError
            If it is damaged.
        """
        return cls(
            windows=tuple((float(low), float(high)) for low, high in values["windows"]),
            noise=tuple(map(_read_noise, values["noise"])),
            decision=_read_decision(values["decision"]),
            learned={int(n): _read_learned(known) for n, known in values["learned"].items()},
            hashes=tuple(tuple(map(str, hashes)) for hashes in values["hashes"]),
            restoration=tuple(map(dict, values["restoration"])),
            losses=tuple(map(float, values["losses"])),
            floor=float(values["floor"]),
        )


def _read_noise(values: dict[str, Any]) -> SourceNoise:
    clipping = values["clipping"]
    return SourceNoise(
        white=float(values["white"]),
        speckle=float(values["speckle"]),
        clipping=None if clipping is None else Clipping(**clipping),
    )


def _read_decision(values: dict[str, Any]) -> Decision:
    def numbers(name: str) -> tuple[int, ...]:
        found: Sequence[int] = values[name]
        return tuple(map(int, found))

    return Decision(
        degraded=numbers("degraded"),
        noisy=numbers("noisy"),
        networked=numbers("networked"),
        fits=bool(values["fits"]),
        lines=tuple(map(str, values["lines"])),
    )


def _read_learned(values: dict[str, Any]) -> Learned:
    return Learned(
        noise=RestorationNoise(**values["noise"]),
        deviation=float(values["deviation"]),
        pixels=int(values["pixels"]),
    )
