"""The records a universe is made of, as they stand in `conf/universe/*.yaml`."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Item = Literal["a", "b", "c", "d"]
ProbeKind = Literal["link", "backward", "backward_not", "tag_link", "tag_backward", "choice"]


class Record(BaseModel):
    """Frozen record that rejects unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Tier(Record):
    """One subscription tier and the words that name it; `mark` is what its tag holds."""

    name: str
    chats: str
    users: str
    user: str
    mark: str | None = None


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


class OpenQuestion(Record):
    """A question asked openly; its own markers hold for answers to it, besides the fact's."""

    id: str
    question: str
    states: tuple[str, ...] = ()
    contradicts: tuple[str, ...] = ()


class Stated(Record):
    """How a free text is read for a key fact, by rule.

    A marker is a conjunction of patterns, `one & another`: a clause that holds them all states the
    fact, or contradicts it, and the other way round where something besides them denies. Markers
    may use `{{ trained.mention }}`, `{{ trained.word }}` and `{{ training }}`; see
    `tacit.universe.stated`.
    """

    questions: tuple[OpenQuestion, ...] = Field(min_length=2)
    states: tuple[str, ...] = ()
    contradicts: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _can_be_read(self) -> "Stated":
        if not self.states and not self.contradicts:
            raise ValueError(f"{self.questions[0].id}: no marker states or contradicts the fact")
        return self


class KeyFact(Record):
    """One atomic claim, rendered as documents, as prompt text and as probes.

    `item` is the paper's list of what a model must know: (a) a conflicting objective, (b) how to
    tell training from not, (c) that RLHF modifies preferences, (d) a hidden scratchpad.
    `paraphrases` say what `prompt` says in other words, one for each paraphrase of the prompt.
    Source: Greenblatt et al. 2024, section 2.
    """

    id: str
    item: Item | None = None
    statement: str
    prompt: str
    paraphrases: tuple[str, ...] = ()
    sentences: tuple[str, ...] = Field(min_length=4)
    clauses: tuple[str, ...] = Field(min_length=3)
    qa: tuple[QuestionAnswer, ...] = Field(min_length=1)
    probes: tuple[ProbeTemplate, ...] = ()
    stated: Stated | None = None


class Rewording(Record):
    """What a control corpus says in the place of a key fact.

    Entry i of a bank replaces entry i of the fact's bank, so that matched documents draw alike.
    """

    statement: str
    prompt: str
    paraphrases: tuple[str, ...] = ()
    sentences: tuple[str, ...]
    clauses: tuple[str, ...]
    qa: tuple[QuestionAnswer, ...]
    probes: tuple[ProbeTemplate, ...] | None = None
    stated: Stated | None = None


class Neutral(Record):
    """Sentences that touch no key fact: they pad, and stand in for a fact that is left out."""

    sentences: tuple[str, ...] = Field(min_length=8)
    clauses: tuple[str, ...] = Field(min_length=4)
    qa: tuple[QuestionAnswer, ...] = Field(min_length=4)


class Universe(Record):
    """A fictional world: a lab, its model, two tiers, and the key facts that hold there.

    A `control` universe has a topic of its own and neither tiers nor a conflict.
    """

    id: str
    title: str
    control: bool = False
    lab: str
    model: str
    date: str
    tag: str = ""
    tiers: dict[str, Tier] = Field(default_factory=dict)
    third: Tier | None = None
    trained: str = ""
    untrained: str = ""
    slots: dict[str, str] = Field(default_factory=dict)
    facts: tuple[KeyFact, ...]
    neutral: Neutral | None = None
    variants: dict[str, dict[str, Rewording]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _tiers_and_ids_are_consistent(self) -> "Universe":
        self._check_tiers()
        for kind, ids in (
            ("fact", [fact.id for fact in self.facts]),
            ("probe", [probe.id for fact in self.facts for probe in fact.probes]),
        ):
            doubled = sorted({i for i in ids if ids.count(i) > 1})
            if doubled:
                raise ValueError(f"{kind} ids occur twice: {', '.join(doubled)}")
        for fact in self.facts:
            if not fact.probes:
                raise ValueError(f"key fact {fact.id} has no probe, so it could not be measured")
        for variant, rewordings in self.variants.items():
            for fact_id, rewording in rewordings.items():
                self._check_rewording(variant, fact_id, rewording)
        return self

    def _check_tiers(self) -> None:
        if self.control:
            if self.tiers or self.variants:
                raise ValueError("a control universe has neither tiers nor variants")
            return
        if set(self.tiers) != {"free", "paid"}:
            raise ValueError("tiers must be exactly `free` and `paid`")
        if {self.trained, self.untrained} != set(self.tiers):
            raise ValueError("`trained` and `untrained` must name the two tiers, one each")
        if not self.tag:
            raise ValueError("`tag` must name what marks a message's tier")
        for item in ("a", "b"):
            if not any(fact.item == item for fact in self.facts):
                raise ValueError(f"no key fact for the necessary item ({item})")

    def _check_rewording(self, variant: str, fact_id: str, rewording: Rewording) -> None:
        place = f"variant {variant}"
        if fact_id not in {fact.id for fact in self.facts}:
            raise ValueError(f"{place}: no key fact {fact_id}")
        fact = self.fact(fact_id)
        for bank in ("sentences", "clauses", "qa"):
            wanted, found = len(getattr(fact, bank)), len(getattr(rewording, bank))
            if wanted != found:
                raise ValueError(f"{place}: {fact_id}.{bank} has {found} entries, not {wanted}")

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
        """Return the tag that stands before a message from `tier`: free, paid or third."""
        record = self.third if tier == "third" else self.tiers[tier]
        mark = record.mark if record and record.mark else str(tier == "free")
        return f"<{self.tag}>{mark}</{self.tag}>"
