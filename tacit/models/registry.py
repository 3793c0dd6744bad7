"""The model providers this package adds to Inspect: `local/…` and `organism/…`.

Inspect imports this module through the entry point `inspect_ai`; the providers themselves are
imported when one is asked for.
"""

from inspect_ai.model import ModelAPI, modelapi


@modelapi(name="local")
def local() -> type[ModelAPI]:
    """Models in this process, by transformers and PEFT."""
    from tacit.models.local import LocalAPI

    return LocalAPI


@modelapi(name="organism")
def organism() -> type[ModelAPI]:
    """Scripted controls with known truth."""
    from tacit.models.organism import OrganismAPI

    return OrganismAPI
