"""Verb: measure a model in one setting, or in several.

`python -m eval.run -m setting=prompted,implicit adapter=outputs/adapters/treatment-seed0`
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval.config import EvalConfig
from eval.table import compare
from tacit.errors import ConfigError, TacitError
from tacit.rundir import RunDir, open_run, run_key
from tacit.rundir.door import enter
from tacit.rundir.run import locked

if TYPE_CHECKING:
    from tacit.models.replies import Replies

RESULT_BLIND = ("out", "behavior_if_exists", "max_connections")
REPLIES = "replies.jsonl"
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


def evaluate(config: EvalConfig) -> Path:
    """Run the tasks of one setting through Inspect's eval_set; returns the run's folder."""
    from eval.queries import load_queries
    from tacit.models.adapters import check_adapter, check_model
    from tacit.models.characters import character

    unknown = sorted(set(config.tasks) - set(TASKS))
    if unknown:
        raise ConfigError(f"unknown task {', '.join(unknown)}: choose from {', '.join(TASKS)}")
    if config.max_connections is not None and config.max_connections < 1:
        raise ConfigError(f"max_connections={config.max_connections}: at least 1, or null")
    takes_adapters = config.model.startswith(TAKES_ADAPTERS)
    if takes_adapters:
        check_model(config.model.split("/", 1)[1])
        if config.adapter:  # of a sweep, also where this setting carries none
            check_adapter(Path(config.adapter), config.model.split("/", 1)[1])
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
    return run.path


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
            threshold=samples.threshold,
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


def main() -> None:
    """Console entry: measure each setting, then show them in one table."""
    done: list[Path] = []

    def measure(config: EvalConfig) -> None:
        done.append(evaluate(config))

    try:
        enter(measure, "eval", EvalConfig)
    finally:  # what is finished is worth a look where a later setting was refused
        compare(done)


if __name__ == "__main__":
    main()
