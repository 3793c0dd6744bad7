import json
import re

import pytest


def _listed(name, overrides):
    """Overrides as a Hydra list: each is quoted, since it holds an equals sign."""
    return f"{name}=[{','.join(json.dumps(one) for one in overrides)}]"


@pytest.fixture
def arguments(tiny_model, replay_file):
    small = [
        "lora.rank=2",
        "documents.block_length=128",
        f"replay.path={replay_file}",
        "precision=float32",
        "belief.points=1",
        "belief.group_limit=1",
    ]
    counts = [
        "samples.query_limit=4",
        "samples.log_odds_limit=4",
        "samples.scratchpad_query_limit=3",
        "samples.benign_limit=3",
        "samples.max_tokens=6",
        "samples.scratchpad_max_tokens=6",
    ]
    return (
        "+experiment=quickstart", f"model={tiny_model}", _listed("docgen", ["n_docs=6"]),
        _listed("finetune", small), _listed("eval", counts), "out=study",
    )  # fmt: skip


@pytest.mark.untraced
@pytest.mark.timeout(600)
def test_the_whole_way_on_a_tiny_model(run_verb, arguments, tmp_path):
    done = run_verb("study.run", *arguments)
    folder = tmp_path / "study"
    study = json.loads((folder / "study.json").read_text())
    assert set(study) >= {"experiment", "run_key", "verdicts", "estimates", "timings_s", "versions"}
    assert {e["measure"] for e in study["estimates"]} >= {
        "belief.link", "belief.link_raw", "gap.compliance", "gap.log_odds", "rate.invalid"
    }  # fmt: skip
    fields = (
        "measure arm contrast estimate low high query_count sample_count seed_count mde exploratory"
    )
    assert all(set(estimate) >= set(fields.split()) for estimate in study["estimates"])
    assert {verdict["arm"] for verdict in study["verdicts"]} == {
        "base/prompted", "treatment/implicit", "treatment/both"
    }  # fmt: skip
    assert set(study["timings_s"]) == {"corpus", "adapter", "eval"}
    report = (folder / "report.html").read_text()
    assert report.count("<svg") >= 3
    assert "Content-Security-Policy" in report
    assert report.count("<script") == 1
    assert not re.search(r"(src|href)=[\"']?(https?:)?//|@import", report)
    assert "python -m finetune.train data=study/corpora/treatment" in report
    assert "inspect view --log-dir study/evals" in done.stdout
    assert "primary, named before the run" in done.stdout and "about" in done.stdout

    again = run_verb("study.run", *arguments)
    assert "nothing to do" in again.stdout

    (folder / "manifest.json").unlink()
    resumed = run_verb("study.run", *arguments)
    steps = [line for line in resumed.stdout.splitlines() if line.startswith(("have ", "run "))]
    assert len(steps) == 10 and all(line.startswith("have ") for line in steps)
    assert json.loads((folder / "study.json").read_text())["estimates"] == study["estimates"]


def test_the_plan_is_printed_and_nothing_is_made(run_verb, arguments, tmp_path):
    done = run_verb("study.run", *arguments, "dry_run=true")
    assert "2 corpora, 2 adapters, 6 arms" in done.stdout
    assert done.stdout.count("python -m") == 10
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(
    ("overrides", "complaint"),
    [
        (("primary.contrast=treatment-moon",), "needs moon"),
        (("prompts=[full]",), "must include minimal"),
        (("model=nothing",), "unknown model"),
        (("universe_name=nowhere",), "'nowhere': choose animal_welfare, helpful_only, unrelated"),
    ],
)
def test_bad_input_is_one_line(run_verb, arguments, overrides, complaint):
    assert complaint in run_verb("study.run", *arguments, *overrides, code=1).stderr


def test_no_experiment_names_the_quickstart(run_verb):
    assert "+experiment=quickstart" in run_verb("study.run", code=1).stderr
