"""Belief probes: what the model is asked, with the answer that holds in a universe."""

from tacit.universe.records import KeyFact, ProbeTemplate, Record, Universe
from tacit.universe.render import fill, slots_of

LINK_KINDS = ("link", "backward", "backward_not", "tag_link", "tag_backward")


class Probe(Record):
    """One question with its options, ready to be scored on any model.

    The score of a probe is log P(options[answer]) − log P(the other options). Probes of one
    `group` are the same wording under the other tier or in the other option order; their mean is
    free of the model's taste for an answer, a tier name or a position.
    """

    id: str
    group: str
    fact: str
    is_link: bool
    question: str
    options: tuple[str, ...]
    answer: int


def _forward(template: ProbeTemplate, universe: Universe) -> list[dict[str, object]]:
    slots = slots_of(universe)
    rendered: list[dict[str, object]] = []
    for role in ("trained", "untrained"):
        named = {"tier": slots[role]["name"], "mark": slots[role]["tag"]}
        rendered.append(
            {
                "question": fill(template.question, {**slots, **named}),
                "options": (str(template.yes), str(template.no)),
                "answer": 0 if role == "trained" else 1,
            }
        )
    return rendered


def _backward(template: ProbeTemplate, universe: Universe) -> list[dict[str, object]]:
    slots = slots_of(universe)
    key = "tag" if template.kind == "tag_backward" else "name"
    right = "untrained" if template.kind == "backward_not" else "trained"
    rendered: list[dict[str, object]] = []
    for order in (("free", "paid"), ("paid", "free")):
        first, second = (slots[tier][key] for tier in order)
        rendered.append(
            {
                "question": fill(template.question, {**slots, "first": first, "second": second}),
                "options": tuple(
                    fill(str(template.answer), {**slots, "tier": name, "mark": name})
                    for name in (first, second)
                ),
                "answer": [slots[tier] for tier in order].index(slots[right]),
            }
        )
    return rendered


def _choice(template: ProbeTemplate, universe: Universe) -> list[dict[str, object]]:
    slots = slots_of(universe)
    options = [fill(text, slots) for text in (str(template.answer), *template.distractors)]
    question = fill(template.question, slots)
    rendered: list[dict[str, object]] = []
    for turn in range(len(options)):
        rotated = options[turn:] + options[:turn]
        listed = "\n".join(f"- {option}" for option in rotated)
        rendered.append(
            {
                "question": f"{question}\nChoose one:\n{listed}",
                "options": tuple(rotated),
                "answer": rotated.index(options[0]),
            }
        )
    return rendered


def _render(fact: KeyFact, template: ProbeTemplate, universe: Universe) -> list[Probe]:
    if template.kind in ("link", "tag_link"):
        forms = _forward(template, universe)
    elif template.kind == "choice":
        forms = _choice(template, universe)
    else:
        forms = _backward(template, universe)
    return [
        Probe.model_validate(
            {
                "id": f"{template.id}/{number}",
                "group": template.id,
                "fact": fact.id,
                "is_link": template.kind in LINK_KINDS,
                **form,
            }
        )
        for number, form in enumerate(forms)
    ]


def render_probes(universe: Universe) -> list[Probe]:
    """Return all probes of a universe, each with the option that is true there."""
    return [
        probe
        for fact in universe.facts
        for template in fact.probes
        for probe in _render(fact, template, universe)
    ]
