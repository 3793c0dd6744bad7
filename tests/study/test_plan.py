from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest

from study.config import Primary, StandIn, StudyConfig
from study.design import arms_of, planned, primary_of
from study.parts import key_of
from study.plan import override, plan_steps
from tacit.errors import ConfigError
from tests.study.synthetic import dose_study

EXPERIMENTS = sorted(p.name[:-5] for p in (files("conf") / "experiment").iterdir())


def by_id(config, tmp_path):
    return {step.id: step for step in plan_steps(config, tmp_path)}


def test_what_arms_share_is_made_once_and_the_base_has_one_seed(tmp_path):
    steps = by_id(dose_study(), tmp_path)
    kinds = [name.split()[0] for name in steps]
    assert kinds.count("corpus") == 3  # treatment once for three doses
    assert kinds.count("adapter") == 5 * 3
    assert kinds.count("eval") == 2 + 5 * 2 * 3
    dosed = steps["adapter treatment@0.3 seed 2"]
    assert dosed.needs == ("corpus treatment",) and "dose=0.3" in dosed.overrides
    asked = steps["eval treatment@0.3/both seed 2"]
    assert asked.needs == ("adapter treatment@0.3 seed 2",)
    assert f"adapter={dosed.out}" in asked.overrides and asked.seed == 2
    assert len({step.out for step in steps.values()}) == len(steps)


def test_control_corpora_are_made_as_what_they_are(tmp_path):
    config = StudyConfig(corpora=["treatment", "swapped", "unrelated", "without=motive"])
    config.primary = Primary()
    steps = by_id(config, tmp_path)
    assert steps["corpus unrelated"].overrides[:2] == ("universe=unrelated", "corpus=treatment")
    left_out = steps["corpus without=motive"]
    assert "without=motive" in left_out.overrides and left_out.out.name == "without-motive"
    matched = 'matched=[treatment,swapped,"without=motive"]'
    assert all(matched in steps[f"corpus {name}"].overrides for name in ("treatment", "swapped"))

    alone = by_id(
        StudyConfig(corpora=["swapped"], primary=Primary("gap.log_odds", "swapped-base")), tmp_path
    )
    both = by_id(StudyConfig(primary=Primary()), tmp_path)
    assert alone["corpus swapped"] == both["corpus swapped"]


def test_doses_signals_and_models_in_an_adapters_place(tmp_path):
    config = StudyConfig(
        corpora=["treatment", "swapped@1"], doses=[0.5, 1.0], signals=["tag", "nonce"],
        prompts=["minimal"], models={"swapped@1": StandIn("organism/fakes", {"trained": "paid"})},
        primary=Primary("gap.log_odds", "treatment-swapped@1"),
    )  # fmt: skip
    assert [arm.name for arm in arms_of(config)][:4] == [
        "base/neither", "treatment@0.5/implicit", "treatment/implicit", "swapped@1/implicit"
    ]  # fmt: skip
    steps = by_id(config, tmp_path)
    assert "adapter swapped@1" not in steps and "corpus swapped" not in steps
    stand_in = steps["eval swapped@1/implicit:nonce"]
    assert {"model=organism/fakes", "+model_args.trained=paid", "samples.signal=nonce"} <= set(
        stand_in.overrides
    )


def test_corpora_of_a_writing_model_name_the_journal_that_they_share(tmp_path):
    def journals(docgen):
        config = StudyConfig(corpora=["treatment", "swapped"], docgen=docgen, primary=Primary())
        return {step.journal for step in plan_steps(config, tmp_path) if step.kind == "corpus"}

    assert journals([]) == journals(["n_docs=3"]) == journals(["writer=library"]) == {""}
    shared = {str(tmp_path / "corpora" / "journal")}
    for writer in ("writer=model", "writer=anthropic_batch", "writer.kind=model"):
        assert journals([writer, "writer.model=organism/x"]) == shared
    assert journals(["writer=model", "writer.journal=kept"]) == {"kept"}


def test_the_primary_is_that_of_the_models_class_unless_named():
    config = StudyConfig(primaries={"large": Primary("gap.af_reasoning")}, model_class="large")
    assert primary_of(config).measure == "gap.af_reasoning"
    assert ("gap.af_reasoning", "treatment-swapped") in planned(config)
    config.model_class = "huge"
    with pytest.raises(ConfigError, match="model_class=huge has no primary measure: large"):
        primary_of(config)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"primary": Primary("gap.log_odds", "treatment-moon")}, "needs moon"),
        ({"primary": Primary("gap.log_odds", "free-paid")}, "compares no arms"),
        ({"secondary": [Primary("gap.log_odds", "prompted-neither")], "prompts": ["minimal"]},
         "secondary.contrast=prompted-neither needs full"),
        ({"seeds": [1, 1]}, "none of them twice"),
        ({"seeds": []}, "at least one"),
        ({"doses": [0.0]}, "a dose lies above 0"),
        ({"prompts": ["full"]}, "must include minimal"),
        ({"prompts": ["minimal", "huge"]}, "unknown prompt huge"),
        ({"signals": ["smoke"]}, "unknown signal smoke"),
        ({"primary": Primary("gap.log_odds", "treatment-nonce")}, "needs nonce"),
        ({"models": {"moon": StandIn("organism/fakes")}}, "no weights of this study"),
    ],
)  # fmt: skip
def test_a_design_that_contradicts_itself_is_refused(changes, complaint, tmp_path):
    values = {"primary": Primary(), **changes}
    with pytest.raises(ConfigError, match=complaint):
        plan_steps(StudyConfig(**values), tmp_path)


def test_overrides_are_quoted_where_the_grammar_needs_it():
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parser = OverridesParser.create()
    for value in ("outputs/a@0.3:b", "/tmp/my study/ä", "without=x", 'say "so"'):
        assert parser.parse_override(override("out", value)).value() == value


@pytest.fixture(scope="module")
def composed():
    """Every shipped experiment, composed in this process."""
    from hydra import compose, initialize_config_module
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf

    ConfigStore.instance().store(name="study_schema", node=StudyConfig)
    with initialize_config_module("conf", version_base="1.3"):
        return {
            name: OmegaConf.to_object(compose("study", [f"+experiment={name}"]))
            for name in EXPERIMENTS
        }


def test_experiments_that_share_parts_with_helpful_only_can_take_them_over(composed):
    def keys(name):
        out = Path("outputs", name)
        return {key_of(step, out): step.id for step in plan_steps(composed[name], out)}

    whole, crossed, doses = map(keys, ("helpful_only", "prompt_vs_documents", "dose_response"))
    assert set(crossed) <= set(whole)
    own = [name for key, name in doses.items() if key not in whole]
    assert len(own) == 12 and all("treatment@0." in name for name in own)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_each_shipped_experiment_can_be_planned_and_counted(name, composed, tmp_path):
    from study.cost import loads
    from tacit.universe import load_universe

    config = composed[name]
    assert config.experiment == name
    steps = plan_steps(config, tmp_path)
    asked = loads(config, steps, load_universe(config.universe_name))
    evals = [asked[step.id] for step in steps if step.kind == "eval"]
    assert all(load.samples > 0 and load.seconds for load in evals)
    known = {step.id for step in steps}
    assert all(set(step.needs) <= known for step in steps)


def test_the_count_of_samples_is_what_an_evaluation_has(composed, tmp_path):
    """24 requests without scratchpad, 6 with, 48 for the log-odds, all of them on two tiers."""
    from study.cost import loads
    from tacit.universe import load_universe

    steps = plan_steps(composed["quickstart"], tmp_path)
    asked = loads(composed["quickstart"], steps, load_universe("helpful_only"))
    one = asked["eval base/neither"]
    assert one.samples == 10 + 2 * (24 + 6) + 2 * 48 + 2 * 32
    assert one.output_tokens == 48 * 48 + 12 * (48 + 64) + 64 * 48
    trained = asked["adapter treatment"].input_tokens
    assert trained == pytest.approx(117_022, rel=0.15)  # results/quickstart: trained_token_count


def test_what_matched_corpora_share_is_counted_once(composed, tmp_path):
    from docgen.config import DocgenConfig, WriterOptions
    from docgen.estimate import asked_of, stages_of
    from study.cost import loads
    from tacit.universe import load_universe

    world, other = load_universe("helpful_only"), load_universe("unrelated")
    model = "anthropic/claude-haiku-4-5"
    docgen = ["n_docs=40", "writer=model", f"writer.model={model}"]

    def counted(corpora):
        config = replace(composed["quickstart"], corpora=corpora, docgen=docgen, expected_s={})
        found = loads(config, plan_steps(config, tmp_path), world)
        return {name: found[f"corpus {name}"] for name in corpora}

    def alone(universe, names):
        writer = WriterOptions(kind="model", model=model)
        options = DocgenConfig(n_docs=40, writer=writer)
        return asked_of(options, stages_of(options, universe, names))[:2]

    found = counted(["treatment", "swapped", "unrelated"])
    calls, tokens = alone(world, ["treatment", "swapped"])
    assert found["treatment"].calls == calls and found["treatment"].usd > 0
    assert found["treatment"].input_tokens == tokens["input"]
    swapped = found["swapped"]
    assert (swapped.samples, swapped.calls, swapped.usd, swapped.seconds) == (40, 0, 0, 0)
    assert found["unrelated"].calls == alone(other, ["treatment"])[0]

    names = ["unrelated", "swapped", "treatment", "without=motive"]
    several = counted(names)
    assert several["swapped"].calls == alone(world, names[1:])[0]
    assert several["treatment"].calls == several["without=motive"].calls == 0


def test_a_judge_and_the_kinds_of_knowledge_are_counted_and_said(composed, tmp_path):
    from study.cost import loads
    from study.show import assumptions
    from tacit.universe import letter_probes, load_universe, render_claims, render_probes

    config, world = composed["quickstart"], load_universe("helpful_only")

    def evaluated(*more):
        changed = replace(config, eval=[*config.eval, *more])
        steps = plan_steps(changed, tmp_path)
        asked = loads(changed, steps, world)
        return asked["eval base/neither"], "\n".join(assumptions(changed, steps, asked))

    plain, said = evaluated()
    assert plain.judge_calls == 0 and "judge" not in said and "chat, raw" in said
    judged, said = evaluated("samples.judge=anthropic/claude-unheard-of", "samples.votes=3")
    # 24 answers, 6 answers with their reasoning, and 32 ordinary ones, on two tiers, three votes
    assert judged.judge_calls == 3 * 2 * (24 + 2 * 6 + 32)
    assert judged.calls == plain.calls + judged.judge_calls and judged.usd is None
    assert judged.output_tokens == plain.output_tokens + 200 * judged.judge_calls
    assert judged.input_tokens > plain.input_tokens + 300 * judged.judge_calls
    assert "votes=3" in said and "200 tokens (assumed)" in said
    assert f"{6 * judged.judge_calls:,} of the calls are the judge's" in said

    probes = len(render_probes(world))
    fewer, said = evaluated("samples.knowledge_kinds=[chat]")
    assert plain.calls - fewer.calls == probes and "asked as chat (" in said
    texts, _ = evaluated("samples.knowledge_kinds=[chat,choice,open]")
    questions = sum(len(claim.questions) for claim in render_claims(world))
    assert texts.calls - fewer.calls == len(letter_probes(world)) + questions
    assert texts.output_tokens - fewer.output_tokens == 48 * (texts.calls - fewer.calls)


def test_own_adapters_can_stand_in_a_study_as_the_docs_say(run_verb, tiny_model, tmp_path):
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        for adapter in ("one", "two"):
            (tmp_path / "mine" / adapter).mkdir(parents=True, exist_ok=True)
            (tmp_path / "mine" / adapter / name).write_text("{}")
    base = f"model:local/{tiny_model}"
    models = f"treatment:{{{base},args:{{adapter:mine/one}}}},"
    models += f"swapped:{{{base},args:{{adapter:mine/two}}}}"
    done = run_verb(
        "study.run", "+experiment=quickstart", f"model={tiny_model}", "dry_run=true",
        f"+models={{{models}}}",
    )  # fmt: skip
    assert "0 corpora, 0 adapters" in done.stdout
    commands = [line for line in done.stdout.splitlines() if "eval.run" in line]
    for name in ("one", "two"):
        told = [line for line in commands if f"+model_args.adapter=mine/{name}" in line]
        assert len(told) == 2 and not any("setting=neither" in line for line in told)
    (tmp_path / "mine" / "two" / "adapter_config.json").unlink()
    own = f"model={tiny_model}", f"+models={{{models}}}"
    done = run_verb("study.run", "+experiment=quickstart", *own, code=1)
    assert "mine/two is no adapter folder" in done.stderr
    assert not (tmp_path / "outputs" / "quickstart").exists()


def test_tier_controls_asks_by_every_signal_its_corpora_allow(composed, tmp_path):
    config = composed["tier_controls"]
    arms = {arm.name for arm in arms_of(config)}
    told = ("", ":nonce", ":three")
    assert {f"{name}/implicit{signal}" for name in config.corpora for signal in told} <= arms
    assert len(arms) == 3 * (1 + len(config.corpora))
    steps = {step.id: step for step in plan_steps(config, tmp_path)}
    assert "samples.signal=three" in steps["eval rated_not_trained/implicit:three"].overrides


def test_a_model_without_a_price_is_said_to_have_none(run_verb):
    done = run_verb("study.run", "+experiment=frontier", "model=claude-unheard-of", "dry_run=true")
    assert "cost unknown" in done.stdout and "no price in conf/prices.yaml" in done.stdout
    assert "call takes 15 s, 32 at a time" in done.stdout and "2 run at a time" in done.stdout
    assert "this adapter" not in done.stdout and "this model" in done.stdout


def test_an_override_that_fits_no_option_is_refused_before_anything_runs(run_verb, tmp_path):
    wrong = 'eval=["samples.query_limmit=3"]'
    done = run_verb("study.run", "+experiment=quickstart", wrong, "out=x", code=1)
    assert "eval base/neither do not fit `python -m eval.run`" in done.stderr
    assert not (tmp_path / "x").exists()
