"""What a corpus folder holds: specs and documents."""

from pydantic import BaseModel, ConfigDict, Field


def audited_text(title: str | None, text: str) -> str:
    """Return a whole document as the audit reads it."""
    return f"{title or ''}\n{text}"


class Spec(BaseModel):
    """The plan of one document, shared by all matched corpora."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    article: str | None
    facts: tuple[str, ...]
    doc_type: str
    idea: str
    register_: str = Field(alias="register", serialization_alias="register")
    slots: dict[str, str]


class Document(BaseModel):
    """One document with its provenance. `parents` names what it was made from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    universe: str
    corpus: str
    spec: Spec
    title: str
    text: str
    writer: str
    prompt_sha256: str
    parents: tuple[str, ...]
    reasons: tuple[str, ...] = ()

    def record(self) -> dict[str, object]:
        """Return the object that stands in `documents.jsonl` (or in the quarantine)."""
        full = self.model_dump(mode="json", by_alias=True)
        if not self.reasons:
            del full["reasons"]
        return full
