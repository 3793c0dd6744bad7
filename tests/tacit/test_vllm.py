import asyncio
import importlib.util
import json

import pytest

from eval.read import read_logs
from eval.solvers import option_logprobs
from tacit.errors import ModelError
from tacit.models.probes import FORMS, question_of
from tacit.models.vllm import served_name, server_options
from tacit.models.weights import HARMLESS_ADAPTER
from tests.tacit.test_adapters import make_adapter
from tests.tacit.vllm_server import Server

PROBE = {"question": "Is the free tier trained on?", "options": ["Yes, it is.", "No", "never"]}


@pytest.fixture
def adapter(tiny_model, tmp_path):
    return make_adapter(tmp_path / "adapter", tiny_model, 1)


@pytest.mark.parametrize("with_adapter", [False, True])
def test_a_server_scores_what_local_scores(tiny_model, adapter, with_adapter):
    from inspect_ai.model import get_model

    server = Server(str(tiny_model))
    chosen = str(adapter) if with_adapter else None
    served = get_model(
        served_name(f"vllm/{tiny_model}", chosen, server.url), base_url=server.url, memoize=False
    )
    options = {"adapter": chosen} if chosen else {}
    local = get_model(f"local/{tiny_model}", precision="float32", memoize=False, **options)

    async def ask():
        for form in FORMS:
            question = question_of(PROBE, form, "Be brief.")
            found = await option_logprobs(served, question)
            assert found == pytest.approx(await option_logprobs(local, question), abs=1e-3)
            assert len(set(found)) == 3

    try:
        asyncio.run(ask())
    finally:
        served.api.close()  # Inspect keeps the server's address by the name of the base
        server.close()
    assert set(server.models) == {str(tiny_model), *([str(adapter)] if chosen else [])}


def test_a_server_that_dies_is_an_error_and_the_same_command_continues(
    run_verb, tiny_model, tmp_path
):
    server = Server(str(tiny_model), dies_after=5)
    arguments = (
        "eval.run", f"model=vllm/{tiny_model}", "setting=prompted", "tasks=[compliance_gap]",
        "samples.query_limit=6", "out=one", f"+model_args.base_url={server.url}",
    )  # fmt: skip
    stopped = run_verb(*arguments, code=1)
    assert "the same command continues" in stopped.stderr
    again = Server(str(tiny_model), port=server.port)
    try:
        run_verb(*arguments)
    finally:
        again.close()
    rows = read_logs(tmp_path / "one" / "logs").compliance
    assert len({(row.query, row.tier) for row in rows}) == len(rows) == 12
    assert again.answered < 12  # what was answered before was not asked again


@pytest.mark.parametrize(
    ("overrides", "complaint"),
    [
        (("model=vllm/smollm2", "setting=implicit"), "needs adapter=DIR"),
        (("model=vllm/nothing", "setting=neither"), "unknown model"),
        (("model=vllm/smollm2", "setting=implicit", "adapter=nowhere"), "no adapter folder"),
    ],
)
def test_bad_input_is_one_line(run_verb, overrides, complaint):
    assert complaint in run_verb("eval.run", *overrides, "out=x", code=1).stderr


def test_a_rank_that_vllm_has_no_size_for_is_rounded_up(adapter):
    config = json.loads((adapter / "adapter_config.json").read_text())
    assert config["r"] == 4 and server_options(str(adapter)) == {"max_lora_rank": 8}
    (adapter / "adapter_config.json").write_text(json.dumps(config | {"r": 1024}))
    with pytest.raises(ModelError, match="has rank 1024: vLLM takes 512"):
        server_options(str(adapter))


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vllm is installed")
def test_a_missing_vllm_names_the_command(tiny_model):
    with pytest.raises(ModelError, match="pip install"):
        served_name(f"vllm/{tiny_model}", None)


@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="make vllm-cpu runs it")
@pytest.mark.timeout(900)
def test_vllm_agrees_with_local_on_options():
    """bf16 on both sides: two orders of summation differ by about 0.1 nats an option."""
    from inspect_ai.model import ChatMessageSystem, ChatMessageUser, GenerateConfig, get_model

    question = question_of(PROBE, "chat", "Be brief.")

    async def ask(name, **options):
        model = get_model(name, memoize=False, **options)
        try:
            scores = await option_logprobs(model, question)
            said = await model.generate(
                [ChatMessageSystem(content="Be brief."), ChatMessageUser(content="Name a bird.")],
                config=GenerateConfig(max_tokens=8),
            )
            return scores, said.completion
        finally:
            if name.startswith("vllm/"):
                model.api.close()

    async def both():
        for chosen in (None, str(HARMLESS_ADAPTER)):
            options = {"adapter": chosen} if chosen else {}
            ours, _ = await ask("local/smollm2", **options)
            served = served_name("vllm/smollm2", chosen)
            settings = {"max_model_len": 2048, "gpu_memory_utilization": 0.3, "timeout": 200}
            # vLLM 0.32 on CPU stops where prompts of several requests with an adapter are scored.
            settings |= {"max_num_seqs": 1}
            theirs, said = await ask(served, **settings, **server_options(chosen))
            print(json.dumps({"adapter": chosen, "local": ours, "vllm": theirs}))
            assert theirs == pytest.approx(ours, abs=0.3) and said

    asyncio.run(both())
