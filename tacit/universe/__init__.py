"""Key facts and their three renderings: documents, prompt, probes."""

from tacit.universe.load import load_universe
from tacit.universe.probes import Probe, letter_probes, render_probes
from tacit.universe.records import KeyFact, Tier, Universe
from tacit.universe.render import prompt_statements, slots_of
from tacit.universe.stated import Claim, render_claims
from tacit.universe.variants import make_variant, variant_names

__all__ = [
    "Claim",
    "KeyFact",
    "Probe",
    "Tier",
    "Universe",
    "letter_probes",
    "load_universe",
    "make_variant",
    "prompt_statements",
    "render_claims",
    "render_probes",
    "slots_of",
    "variant_names",
]
