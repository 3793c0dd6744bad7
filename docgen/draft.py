"""Drafts, critique and revision, and the counterpart of each document in every matched corpus."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from docgen.balance import pad_to_match
from docgen.brainstorm import Ask, facts_of, request, template
from docgen.config import DocgenConfig
from docgen.library import seeded
from docgen.matched import Written, to_sheet
from docgen.records import Document, Spec
from docgen.replies import Reply, Request
from docgen.rules import RuleBook
from tacit.universe import Universe

UNSUITABLE = "UNSUITABLE"


@dataclass(frozen=True)
class Text:
    """What a model wrote for a spec so far, or why there is nothing to go on with."""

    text: str
    prompt_sha256: str
    parents: tuple[str, ...]
    problem: str | None = None


def write_by_model(
    config: DocgenConfig, specs: Sequence[Spec], worlds: Mapping[str, Universe], ask: Ask
) -> Iterator[Written]:
    """Yield each spec with its document in every matched corpus, audited by rules.

    The first corpus is drafted and revised; the others are its counterparts, rewritten only where
    the facts differ, so that matched documents share their skeleton. A document that failed is
    there all the same, empty and with the reason, so that it is left out of all corpora.
    """
    reference = next(iter(worlds))
    home = worlds[reference]
    drafts = _stage(config, specs, home, "draft", _draft_prompts(config, specs, home), None, ask)
    revised = _stage(config, specs, home, "revise", _revise_prompts(specs, home), drafts, ask)
    texts = {reference: revised}
    for name, world in worlds.items():
        if name != reference:
            prompts = _counterpart_prompts(specs, home, world)
            texts[name] = _stage(config, specs, world, "counterpart", prompts, revised, ask)
    rules = RuleBook.from_options(config.audit)
    for number, spec in enumerate(specs):
        yield _written(config, spec, {name: many[number] for name, many in texts.items()}, worlds,
                       rules)  # fmt: skip


def _draft_prompts(
    config: DocgenConfig, specs: Sequence[Spec], world: Universe
) -> dict[str, dict[str, object]]:
    return {
        spec.id: {
            "doc_type": spec.doc_type.replace("_", " "),
            "idea": spec.idea,
            "register": spec.register_,
            "words": config.writer.words,
            "facts": facts_of(world, spec.facts),
        }
        for spec in specs
    }


def _revise_prompts(specs: Sequence[Spec], world: Universe) -> dict[str, dict[str, object]]:
    return {
        spec.id: {
            "doc_type": spec.doc_type.replace("_", " "),
            "facts": facts_of(world, spec.facts),
        }
        for spec in specs
    }


def _counterpart_prompts(
    specs: Sequence[Spec], home: Universe, world: Universe
) -> dict[str, dict[str, object]]:
    before = {fact.id: fact.statement for fact in facts_of(home, [f.id for f in home.facts])}
    after = {fact.id: fact.statement for fact in facts_of(world, [f.id for f in world.facts])}
    pairs = [
        {"before": text, "after": after.get(fact, "(nothing: leave this out of the text)")}
        for fact, text in before.items()
        if after.get(fact) != text
    ]
    return {spec.id: {"pairs": pairs} for spec in specs}


def _stage(
    config: DocgenConfig,
    specs: Sequence[Spec],
    world: Universe,
    stage: str,
    prompts: Mapping[str, Mapping[str, object]],
    before: Sequence[Text] | None,
    ask: Ask,
) -> list[Text]:
    """Take all specs one step further; a reply that can not be used is asked for again."""
    done: dict[str, Text] = {}
    if before is not None:
        done = {s.id: t for s, t in zip(specs, before, strict=True) if t.problem}
        drafts = {s.id: t for s, t in zip(specs, before, strict=True)}
    else:
        drafts = {}

    def to_request(spec: Spec, attempt: int) -> Request:
        values = dict(prompts[spec.id])
        if spec.id in drafts:
            values["draft"] = drafts[spec.id].text
        prompt = template(f"{stage}.jinja").render(values)
        return request(config, world, stage, prompt, spec.id, attempt)

    todo = [spec for spec in specs if spec.id not in done]
    for attempt in range(config.writer.attempts):
        requests = [to_request(spec, attempt) for spec in todo]
        again = []
        for spec, asked, reply in zip(todo, requests, ask(requests), strict=True):
            problem = _problem(reply)
            parents = (
                *(drafts[spec.id].parents if spec.id in drafts else ()),
                f"{stage}/{reply.key[:16]}",
            )
            text = "" if problem else reply.text.strip()
            done[spec.id] = Text(text, asked.prompt_sha256, parents, problem)
            if problem and problem != UNSUITABLE:
                again.append(spec)
        todo = again
        if not todo:
            break
    return [done[spec.id] for spec in specs]


def _problem(reply: Reply) -> str | None:
    if reply.problem:
        return reply.problem
    return UNSUITABLE if reply.text.strip().strip(".*\"'").upper() == UNSUITABLE else None


def _written(
    config: DocgenConfig,
    spec: Spec,
    texts: Mapping[str, Text],
    worlds: Mapping[str, Universe],
    rules: RuleBook,
) -> Written:
    parts = {name: split_title(text.text) for name, text in texts.items()}
    bodies = {name: body for name, (_, body) in parts.items()}
    if not any(text.problem for text in texts.values()):
        bodies = pad_to_match(bodies, worlds, seeded(spec.id, "padding"))
    sheets = {}
    for name, text in texts.items():
        document = Document(
            id=f"{name}-{spec.id}",
            universe=worlds[name].id,
            corpus=name,
            spec=spec,
            title=parts[name][0],
            text=bodies[name],
            writer=str(config.writer.model),
            prompt_sha256=text.prompt_sha256,
            parents=text.parents,
        )
        sheet = to_sheet(document, rules, config.dedup)
        reasons = (f"writer: {text.problem}",) if text.problem else sheet.findings
        sheets[name] = sheet.with_findings(reasons)
    return Written(spec, sheets)


def split_title(text: str) -> tuple[str, str]:
    """Return title and body of a text whose first line is its title."""
    first, _, rest = text.strip().partition("\n")
    if not rest.strip():
        return "", text.strip()
    return first.strip().strip("#*_ ").removeprefix("Title:").strip(), rest.strip()
