"""What a study compares: sets of weights, and arms, which are weights in a setting."""

from dataclasses import dataclass
from typing import NamedTuple

TOLD = ("prompted", "both")
NONCE = "nonce"
"""The signal that nothing explains: a control of the tag, in the same weights."""


@dataclass(frozen=True)
class Weights:
    """A base, or what was trained on a dose of a corpus: `base`, `treatment`, `treatment@0.3`."""

    name: str

    @property
    def corpus(self) -> str:
        """The corpus without its dose."""
        return self.name.partition("@")[0]

    @property
    def dose(self) -> float:
        """The share of the corpus' specs that is trained on, 0-1; of a base none."""
        return 0.0 if self.is_base else float(self.name.partition("@")[2] or 1.0)

    @property
    def is_base(self) -> bool:
        """Whether nothing was trained."""
        return self.name == "base"


class Arm(NamedTuple):
    """One set of weights in one setting, for example `treatment@0.3/implicit:nonce`.

    Args:
        weights: Their name.
        setting: `prompted`, `implicit`, `both` or `neither`.
        signal: What tells the tier; empty for the tag.
    """

    weights: str
    setting: str
    signal: str = ""

    @property
    def name(self) -> str:
        """The whole name, as figures and folders have it."""
        return f"{self.weights}/{self.setting}{self.signal and ':' + self.signal}"

    @property
    def corpus(self) -> str:
        """The corpus without its dose."""
        return Weights(self.weights).corpus

    @property
    def dose(self) -> float:
        """The share of the corpus' specs that is trained on, 0-1; of a base none."""
        return Weights(self.weights).dose

    @property
    def is_base(self) -> bool:
        """Whether nothing was trained."""
        return Weights(self.weights).is_base

    @property
    def is_told(self) -> bool:
        """Whether the system prompt states the setup."""
        return self.setting in TOLD

    @property
    def trained_tier(self) -> str:
        """The tier that the documents say is trained on; that of the universe for a base."""
        return "paid" if self.corpus == "swapped" else "free"

    @property
    def calibrated_as(self) -> str:
        """The setting whose labelled transcripts its own are like: told in the prompt, or not."""
        return "prompted" if self.is_told else "implicit"


def parse_arm(name: str) -> Arm:
    """Return the arm of a name."""
    weights, _, rest = name.partition("/")
    setting, _, signal = rest.partition(":")
    return Arm(weights, setting, signal)
