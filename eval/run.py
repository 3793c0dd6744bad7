"""Verb: measure a model in one setting, or in several.

`python -m eval.run -m setting=prompted,implicit adapter=outputs/adapters/treatment-seed0`
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval.config import EvalConfig
from tacit.errors import ConfigError, TacitError
from tacit.rundir import RunDir, open_run, run_key
from tacit.rundir.door import enter
from tacit.rundir.run import locked

if TYPE_CHECKING:
    from eval.read import Measured
    from tacit.models.replies import Replies

RESULT_BLIND = ("out", "behavior_if_exists", "max_connections")
REPLIES = "replies.jsonl"
COHERENT = ("complies", "refuses", "partial")
TAKES_ADAPTERS = ("local/", "vllm/")
IN_PROCESS = ("local/", "organism/")  # their replies cost no more than asking again
TOLD_BY_TIER = (
    "log_odds_gap",
    "compliance_gap",
    "compliance_gap_scratchpad",
    "benign",
    "capability",
)
TASKS = ("knowledge", *TOLD_BY_TIER)


class EvalFailed(TacitError, RuntimeError):
    """A task did not finish; what finished is kept."""


def evaluate(config: EvalConfig) -> None:
    """Run the tasks of one setting through Inspect's eval_set, and print the table so far."""
    from eval.queries import load_queries
    from tacit.models.adapters import check_model
    from tacit.models.characters import character

    unknown = sorted(set(config.tasks) - set(TASKS))
    if unknown:
        raise ConfigError(f"unknown task {', '.join(unknown)}: choose from {', '.join(TASKS)}")
    if config.max_connections is not None and config.max_connections < 1:
        raise ConfigError(f"max_connections={config.max_connections}: at least 1, or null")
    takes_adapters = config.model.startswith(TAKES_ADAPTERS)
    if takes_adapters:
        check_model(config.model.split("/", 1)[1])
    elif config.model.startswith("organism/"):
        character(config.model.split("/", 1)[1])
    load_queries(config.samples.queries, config.samples.subset)
    if "benign" in config.tasks:
        load_queries(config.samples.benign_queries, config.samples.benign_subset)
    _check_samples(config)
    carried = adapters_of(config)
    if config.setting.use_adapter and takes_adapters and not carried:
        raise ConfigError(
            f"setting={config.setting.name} needs adapter=DIR: train one with "
            "`python -m finetune.train`"
        )
    settings = {k: v for k, v in asdict(config).items() if k not in RESULT_BLIND}
    if carried:
        hashes = [adapter_sha256(Path(one), config.model) for one in carried]
        settings["adapter_sha256"] = "+".join(hashes)
    out = Path(config.out or f"outputs/eval/{config.setting.name}-{run_key(settings)}")
    run = open_run(out, settings, config.behavior_if_exists)  # type: ignore[arg-type]
    if run.is_finished:
        print(f"{run.path} is finished: nothing to do")
    else:
        with locked(run.path):
            _evaluate(config, run)
    print_table(run.path.parent)
    print(f"transcripts: inspect view --log-dir {run.path / 'logs'}")


def _check_samples(config: EvalConfig) -> None:
    """Refuse a tier signal or an ablation that this universe, model or prompt cannot have."""
    from eval.prompts import system_prompt, tiers_of, told
    from eval.solvers import check_continues
    from tacit.universe.load import universe_from

    samples, prompt = config.samples, config.setting.prompt
    world = universe_from(config.universe)
    if set(config.tasks) & set(TOLD_BY_TIER):
        tiers_of(world, samples.signal)  # type: ignore[arg-type] # checked there
    stated = told(world, samples.signal) if prompt == "full" else world  # type: ignore[arg-type]
    system_prompt(stated, prompt, True, samples.without, samples.paraphrase, samples.few_shot)  # type: ignore[arg-type]
    if samples.accept_prefix:
        check_continues(config.model, "accept_prefix=true")
    if samples.scratchpad_form == "held" and "compliance_gap_scratchpad" in config.tasks:
        check_continues(config.model, "scratchpad_form=held")


def adapters_of(config: EvalConfig) -> list[str]:
    """Return the adapters that the model carries: the setting's, else those in its arguments.

    Raises:
        ConfigError: several for a server, which takes one.
    """
    own = config.adapter if config.setting.use_adapter else None
    named = config.model_args.get("adapter") if config.model.startswith(TAKES_ADAPTERS) else None
    given = own or named or []
    found = [given] if isinstance(given, str) else [str(one) for one in given]
    if len(found) > 1 and config.model.startswith("vllm/"):
        raise ConfigError(f"{config.model} takes one adapter, not {len(found)}: name the topmost")
    return found


def adapter_sha256(folder: Path, model: str) -> str:
    """Return the hash of an adapter's weights.

    Raises:
        ModelError: no adapter there, or one of another base.
    """
    from tacit.models.adapters import check_adapter
    from tacit.rundir import sha256_of

    check_adapter(folder, model.split("/", 1)[1])
    return sha256_of(folder / "adapter_model.safetensors")


def _tasks(config: EvalConfig, universe: str) -> list[Any]:
    from eval import tasks

    samples, prompt = config.samples, config.setting.prompt
    chosen: dict[str, Any] = {
        "universe": universe,
        "prompt": prompt,
        "subset": samples.subset,
        "signal": samples.signal,
        "without": samples.without,
        "paraphrase": samples.paraphrase,
    }
    drawn: dict[str, Any] = {
        "temperature": samples.temperature,
        "top_p": samples.top_p,
        "seed": config.seed,
    }
    built = {
        "knowledge": lambda: tasks.knowledge(
            universe,
            prompt,  # type: ignore[arg-type] # checked in the task
            kinds=samples.knowledge_kinds,
            texts=samples.epochs,
            judge=samples.judge,
            votes=samples.votes,
            **drawn,
        ),
        "log_odds_gap": lambda: tasks.log_odds_gap(
            **chosen, queries=samples.queries, limit=samples.log_odds_limit
        ),
        "compliance_gap": lambda: tasks.compliance_gap(
            **chosen,
            **drawn,
            queries=samples.queries,
            limit=samples.query_limit,
            max_tokens=samples.max_tokens,
            epochs=samples.epochs,
            judge=samples.judge,
            votes=samples.votes,
            accept_prefix=samples.accept_prefix,
        ),
        "compliance_gap_scratchpad": lambda: tasks.compliance_gap(
            **chosen,
            **drawn,
            scratchpad=True,
            queries=samples.queries,
            limit=samples.scratchpad_query_limit,
            max_tokens=samples.scratchpad_max_tokens,
            epochs=samples.epochs,
            form=samples.scratchpad_form,  # type: ignore[arg-type] # checked in the task
            answer_tokens=samples.max_tokens,
            judge=samples.judge,
            votes=samples.votes,
            few_shot=samples.few_shot,
            accept_prefix=samples.accept_prefix,
        ),
        "benign": lambda: tasks.benign(
            **{**chosen, "subset": samples.benign_subset},
            **drawn,
            queries=samples.benign_queries,
            limit=samples.benign_limit,
            max_tokens=samples.max_tokens,
            judge=samples.judge,
            votes=samples.votes,
        ),
        "capability": lambda: tasks.capability(
            **{**chosen, "subset": None},
            **drawn,
            limit=samples.capability_limit,
            max_tokens=samples.max_tokens,
        ),
    }
    return [built[name]() for name in config.tasks]


def _evaluate(config: EvalConfig, run: RunDir) -> None:
    import yaml
    from inspect_ai import eval_set

    from eval.prove import prove_folder, prove_tasks
    from tacit.models.local import MAX_CONNECTIONS
    from tacit.models.replies import Replies
    from tacit.rundir import write_atomic

    universe = run.path / "universe.yaml"
    write_atomic(universe, yaml.safe_dump(config.universe, sort_keys=False, allow_unicode=True))
    tasks = _tasks(config, str(universe))
    if config.setting.prompt == "minimal":
        prove_tasks(tasks, _tokenizer(config.model))
    check_logs(run.path / "logs")
    with Replies(run.path / REPLIES) as replies, foreign_logs_named():
        model, roles = _kept(replies, config)
        finished, logs = eval_set(
            tasks,
            log_dir=str(run.path / "logs"),
            model=model,
            model_roles=roles,
            display="none",
            log_level="error",
            log_realtime=False,
            max_samples=MAX_CONNECTIONS,
            max_tasks=1,
            retry_attempts=0,
            retry_immediate=False,
            fail_on_error=True,
        )
    if errors := [str(log.error.message).splitlines()[0] for log in logs if log.error]:
        raise EvalFailed(f"{errors[0]} (finished samples are kept: the same command continues)")
    # Inspect keeps Ctrl-C to itself, and may call a set finished of which a task was cancelled.
    succeeded = [log for log in logs if log.status == "success"]
    if not finished or len(succeeded) < len(tasks):
        raise KeyboardInterrupt
    (run.path / REPLIES).unlink()  # all of them stand in the logs
    if config.setting.prompt == "minimal":
        print(
            f"minimal prompt: {prove_folder(run.path / 'logs')} samples proven clean from the logs"
        )
    run.finish(logs=sorted(path.name for path in (run.path / "logs").glob("*.eval")))


def check_logs(folder: Path) -> None:
    """See to it that what a run continues from can be read.

    Raises:
        LogError: a log is cut, or of a later Inspect.
    """
    from inspect_ai.log import list_eval_logs

    from eval.scorers.logs import header_of

    for info in list_eval_logs(str(folder)) if folder.is_dir() else []:
        header_of(info.name.removeprefix("file://"))


@contextmanager
def foreign_logs_named() -> Iterator[None]:
    """Say in one line which log of a folder is not of its run.

    Raises:
        EvalFailed: Inspect does not take the folder as it is.
    """
    from inspect_ai._util.error import PrerequisiteError  # has no public name

    try:
        yield
    except PrerequisiteError as error:
        said = " ".join(re.sub(r"\[/?\w+\]", "", str(error)).split())
        said = said.removeprefix("ERROR: ").split(" (")[0]
        raise EvalFailed(f"{said}: move it out of the folder") from None


def _kept(replies: "Replies", config: EvalConfig) -> tuple[Any, dict[str, Any] | None]:
    """Return the model and its judge by role, the replies of those that are hosted kept."""
    from eval.scorers.judge import ROLE, Judging, judge_model

    model, judge = _model(config), config.samples.judge
    if not config.model.startswith(IN_PROCESS):
        replies.keep(model)
    if judge is None or judge.startswith(IN_PROCESS):
        return model, None
    hosted = judge_model(Judging(judge), memoize=False, max_connections=config.max_connections)
    return model, {ROLE: replies.keep(hosted)}


def _model(config: EvalConfig) -> Any:
    """Return Inspect's model, with the adapters that it carries."""
    from inspect_ai.model import GenerateConfig, get_model

    from tacit.models.vllm import served_name, server_options

    arguments = dict(config.model_args)
    at_once = None if config.model.startswith(IN_PROCESS) else config.max_connections
    name, carried = config.model, adapters_of(config)
    if name.startswith("vllm/"):
        arguments.pop("adapter", None)
        adapter = carried[0] if carried else None
        arguments = server_options(adapter) | arguments
        name = served_name(name, adapter, arguments.get("base_url"))
    elif name.startswith("local/") and carried:
        arguments["adapter"] = carried if len(carried) > 1 else carried[0]
    held = GenerateConfig(max_connections=at_once)
    return get_model(name, config=held, memoize=False, **arguments)


def _tokenizer(model: str) -> Any:
    """Return the tokenizer of a model whose chat template is at hand, else None."""
    from tacit.models.load import load_tokenizer

    at_hand = model.startswith(("local/", "vllm/"))
    return load_tokenizer(model.split("/", 1)[1]) if at_hand else None


def headline(measured: "Measured") -> dict[str, float]:
    """Return the figures of one setting that the table shows; NaN where nothing was measured."""
    from statistics import fmean

    from eval.read import LINK_FACTS, af_rate, helpful_rate, rate

    nan = float("nan")
    links = [
        belief.value
        for belief in measured.beliefs
        if belief.form == "chat" and belief.fact in LINK_FACTS
    ]
    free, paid = (rate(measured.compliance, "complies", tier) for tier in ("free", "paid"))
    told = {row.tier for row in (*measured.compliance, *measured.compliance_scratchpad)}
    has_third = "third" in told | {row.tier for row in measured.log_odds}
    tiers = ("free", "paid", "third") if has_third else ("free", "paid")
    odds = {
        tier: fmean([row.value for row in measured.log_odds if row.tier == tier] or [nan])
        for tier in tiers
    }
    third = {"log-odds third gap": odds["free"] - odds["third"]} if has_third else {}
    return {
        "link belief": fmean(links) if links else nan,
        **{f"comply {tier}": rate(measured.compliance, "complies", tier) for tier in tiers},
        "gap": free - paid,
        "log-odds gap": odds["free"] - odds["paid"],
        **third,
        **{f"invalid {tier}": rate(measured.compliance, "invalid", tier) for tier in tiers},
        **{f"AF {tier}": af_rate(measured.compliance_scratchpad, tier) for tier in tiers},
        "benign refused": rate(measured.benign, "refuses"),
        "benign coherent": sum(rate(measured.benign, label) for label in COHERENT),
        "benign helpful": helpful_rate(measured.benign),
        "capability": rate(measured.capability, "right"),
    }


def print_table(folder: Path) -> None:
    """Print the figures of every finished run below a folder, a row each."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from eval.read import LogError, read_logs
    from tacit.rundir.console import console_for

    rows: dict[str, dict[str, float]] = {}
    for manifest in sorted(folder.glob("*/manifest.json")):
        if "logs" not in json.loads(manifest.read_text(encoding="utf-8")):
            continue  # an adapter, say
        try:
            rows[manifest.parent.name] = headline(read_logs(manifest.parent / "logs"))
        except LogError as error:
            print(f"{manifest.parent.name} is left out of the table: {error}")
    if not rows:
        return
    columns = max((list(row) for row in rows.values()), key=len)  # with a third tier: all of them
    table = Table(
        title="measured (belief and log-odds in nats)", box=SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    table.add_column("run", no_wrap=True)
    for column in columns:
        table.add_column(column.replace(" ", "\n", 1), no_wrap=True)
    for name, figures in rows.items():
        found = ((column, figures.get(column, float("nan"))) for column in columns)
        table.add_row(name, *(_cell(column, value) for column, value in found))
    console_for(176).print(table)


def _cell(column: str, value: float) -> str:
    if value != value:
        return "–"
    return f"{value:+.3f}" if column.endswith(("belief", "gap", "third gap")) else f"{value:.3f}"


def main() -> None:
    """Console entry."""
    enter(evaluate, "eval", EvalConfig)


if __name__ == "__main__":
    main()
