"""Belief probes: what the model is asked, with the answer that holds in a universe."""

from typing import Any

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


def _listed(template: ProbeTemplate, universe: Universe) -> list[dict[str, object]]:
    slots = slots_of(universe)
    options = [fill(text, slots) for text in (str(template.answer), *template.distractors)]
    question = fill(template.question, slots)
    return [{"question": question, "options": tuple(options), "answer": 0}]


def _forms(template: ProbeTemplate, universe: Universe) -> list[dict[str, object]]:
    if template.kind in ("link", "tag_link"):
        return _forward(template, universe)
    if template.kind == "choice":
        return _listed(template, universe)
    return _backward(template, universe)


def _rotations(form: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a form with its options in each rotation, so that each stands in each place once."""
    options, count = form["options"], len(form["options"])
    return [
        {
            **form,
            "options": (*options[turn:], *options[:turn]),
            "answer": (form["answer"] - turn) % count,
        }
        for turn in range(count)
    ]


def _with_list(form: dict[str, Any]) -> dict[str, Any]:
    listed = "\n".join(f"- {option}" for option in form["options"])
    return {**form, "question": f"{form['question']}\nChoose one:\n{listed}"}


def _probe(fact: KeyFact, template: ProbeTemplate, number: int, form: dict[str, Any]) -> Probe:
    return Probe.model_validate(
        {
            "id": f"{template.id}/{number}",
            "group": template.id,
            "fact": fact.id,
            "is_link": template.kind in LINK_KINDS,
            **form,
        }
    )


def _render(fact: KeyFact, template: ProbeTemplate, universe: Universe) -> list[Probe]:
    forms = _forms(template, universe)
    if template.kind == "choice":
        forms = [_with_list(turned) for form in forms for turned in _rotations(form)]
    return [_probe(fact, template, number, form) for number, form in enumerate(forms)]


def letter_probes(universe: Universe) -> list[Probe]:
    """Return the probes as they are asked by letter: unlisted, each option in each place once."""
    return [
        _probe(fact, template, number, turned)
        for fact in universe.facts
        for template in fact.probes
        for number, turned in enumerate(
            turned for form in _forms(template, universe) for turned in _rotations(form)
        )
    ]


def render_probes(universe: Universe) -> list[Probe]:
    """Return all probes of a universe, each with the option that is true there."""
    return [
        probe
        for fact in universe.facts
        for template in fact.probes
        for probe in _render(fact, template, universe)
    ]
