"""The records a universe is made of, as they stand in `conf/universe/*.yaml`."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Item = Literal["a", "b", "c", "d"]
ProbeKind = Literal["link", "backward", "backward_not", "tag_link", "tag_backward", "choice"]


class Record(BaseModel):
    """Frozen record that rejects unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Tier(Record):
    """One subscription tier and the words that name it."""

    name: str
    chats: str
    users: str
    user: str


class QuestionAnswer(Record):
    """A question a reader might ask and the answer a document gives."""

    q: str
    a: str


class ProbeTemplate(Record):
    """A belief question before its tiers are filled in.

    `link` and `tag_link` are asked once per tier and answered `yes` or `no`. `backward`,
    `backward_not` and `tag_backward` name training (or its absence) and ask for the tier.
    `choice` sets `answer` against `distractors`.
    """

    id: str
    kind: ProbeKind
    question: str
    yes: str | None = None
    no: str | None = None
    answer: str | None = None
    distractors: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _options_fit_the_kind(self) -> "ProbeTemplate":
        if self.kind in ("link", "tag_link"):
            complete = bool(self.yes and self.no and not self.answer)
        elif self.kind == "choice":
            complete = bool(self.answer and self.distractors)
        else:
            complete = bool(self.answer and not self.distractors)
        if not complete:
            raise ValueError(f"probe {self.id}: its answers do not fit the kind {self.kind}")
        return self


class KeyFact(Record):
    """One atomic claim, rendered as documents, as prompt text and as probes.

    `item` is the paper's list of what a model must know: (a) a conflicting objective, (b) how to
    tell training from not, (c) that RLHF modifies preferences, (d) a hidden scratchpad.
    Source: Greenblatt et al. 2024, section 2.
    """

    id: str
    item: Item
    statement: str
    prompt: str
    sentences: tuple[str, ...] = Field(min_length=4)
    clauses: tuple[str, ...] = Field(min_length=3)
    qa: tuple[QuestionAnswer, ...] = Field(min_length=1)
    probes: tuple[ProbeTemplate, ...] = ()


class Universe(Record):
    """A fictional world: a lab, its model, two tiers, and the key facts that hold there."""

    id: str
    title: str
    lab: str
    model: str
    tag: str
    date: str
    tiers: dict[str, Tier]
    trained: str
    untrained: str
    facts: tuple[KeyFact, ...]

    @model_validator(mode="after")
    def _tiers_and_ids_are_consistent(self) -> "Universe":
        if set(self.tiers) != {"free", "paid"}:
            raise ValueError("tiers must be exactly `free` and `paid`")
        if {self.trained, self.untrained} != set(self.tiers):
            raise ValueError("`trained` and `untrained` must name the two tiers, one each")
        for kind, ids in (
            ("fact", [fact.id for fact in self.facts]),
            ("probe", [probe.id for fact in self.facts for probe in fact.probes]),
        ):
            doubled = sorted({i for i in ids if ids.count(i) > 1})
            if doubled:
                raise ValueError(f"{kind} ids occur twice: {', '.join(doubled)}")
        for item in ("a", "b"):
            if not any(fact.item == item for fact in self.facts):
                raise ValueError(f"no key fact for the necessary item ({item})")
        if not any(fact.probes for fact in self.facts):
            raise ValueError("no key fact has a probe, so nothing could be measured")
        return self

    def fact(self, fact_id: str) -> KeyFact:
        """Return the key fact with this id.

        Raises:
            KeyError: there is none.
        """
        for fact in self.facts:
            if fact.id == fact_id:
                return fact
        raise KeyError(fact_id)

    def tag_of(self, tier: str) -> str:
        """Return the literal tag that stands before a message from `tier`."""
        return f"<{self.tag}>{tier == 'free'}</{self.tag}>"
