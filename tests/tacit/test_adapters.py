import asyncio
import json

import pytest
import torch
from inspect_ai.model import (
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    GenerateConfig,
    get_model,
)
from transformers.utils import logging

from tacit.errors import ModelError
from tacit.models.load import load_model
from tests.children import run_module

pytestmark = pytest.mark.untraced

MESSAGES = [ChatMessageSystem(content="Be brief."), ChatMessageUser(content="What is a hen?")]


def make_adapter(folder, base, seed):
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    model = get_peft_model(
        load_model(str(base), "float32"),
        LoraConfig(r=4, lora_alpha=16, target_modules="all-linear", init_lora_weights=False),
    )
    model.save_pretrained(folder, save_embedding_layers=False)
    (folder / "manifest.json").write_text(json.dumps({"base_model": str(base)}))
    return folder


def test_loading_draws_no_bar_where_nobody_looks(tiny_model, capfd):
    logging.enable_progress_bar()
    load_model(str(tiny_model), "float32")
    assert "Loading weights" not in capfd.readouterr().err


@pytest.fixture(scope="module")
def adapters(tiny_model, tmp_path_factory):
    """Two adapters of the tiny model, and one trained on top of the first."""
    folder = tmp_path_factory.mktemp("adapters")
    first = make_adapter(folder / "first", tiny_model, 1)
    second = make_adapter(folder / "second", tiny_model, 2)
    return first, second, make_adapter(folder / "stacked", first, 3)


def local(tiny_model, **options):
    return get_model(f"local/{tiny_model}", memoize=False, precision="float32", **options)


async def reply(model, **options):
    config = GenerateConfig(**{"max_tokens": 8, "temperature": 0} | options)
    return (await model.generate(MESSAGES, config=config)).completion


def test_adapters_take_turns_on_one_base_and_each_answers_as_if_alone(tiny_model, adapters):
    models = [local(tiny_model), *[local(tiny_model, adapter=str(a)) for a in adapters[:2]]]
    assert len({id(model.api.base) for model in models}) == 1

    async def ask():
        in_turn = [[await reply(model) for model in models] for _ in range(2)]
        at_once = await asyncio.gather(*[reply(model) for model in models])
        return in_turn, list(at_once)

    in_turn, at_once = asyncio.run(ask())
    assert in_turn[0] == in_turn[1] == at_once and len(set(at_once)) == 3
    for found, name in zip(at_once, [tiny_model, *adapters[:2]], strict=True):
        alone = get_model(f"local/{name}", memoize=False, precision="float32")
        assert asyncio.run(reply(alone)) == found


def test_stacked_adapters_equal_the_folder_of_the_topmost(tiny_model, adapters):
    first, _, stacked = adapters
    by_list = local(tiny_model, adapter=[str(first), str(stacked)])
    by_name = get_model(f"local/{stacked}", memoize=False, precision="float32")
    assert asyncio.run(reply(by_list)) == asyncio.run(reply(by_name))
    assert asyncio.run(reply(by_list)) != asyncio.run(reply(local(tiny_model)))
    with pytest.raises(ModelError, match=f"was trained on {first}"):
        local(tiny_model, adapter=str(stacked))


def test_an_adapter_of_another_shape_is_refused(tiny_model, adapters, tmp_path):
    import shutil

    from safetensors.torch import load_file, save_file

    broken = tmp_path / "broken"
    shutil.copytree(adapters[0], broken)
    weights = load_file(broken / "adapter_model.safetensors")
    save_file(
        {k: v[..., :3].contiguous() for k, v in weights.items()},
        broken / "adapter_model.safetensors",
    )
    before = [asyncio.run(reply(local(tiny_model, adapter=a))) for a in (None, str(adapters[0]))]
    model = local(tiny_model, adapter=str(broken))
    with pytest.raises(ModelError, match="does not fit"):
        asyncio.run(reply(model))
    # The base it was tried on is whole: alone, and for an adapter that fits.
    after = [asyncio.run(reply(local(tiny_model, adapter=a))) for a in (None, str(adapters[0]))]
    assert after == before


def test_a_stop_string_ends_the_reply_where_it_begins(tiny_model):
    model = local(tiny_model)
    whole = asyncio.run(reply(model, max_tokens=20))
    stop = whole[10:13]
    output = asyncio.run(
        model.generate(
            MESSAGES, config=GenerateConfig(max_tokens=20, temperature=0, stop_seqs=[stop])
        )
    )
    assert output.completion == whole[: whole.index(stop)]
    assert output.stop_reason == "stop" and output.usage.output_tokens < 20


def test_an_open_assistant_turn_is_continued(tiny_model):
    model = local(tiny_model)
    begun = [*MESSAGES, ChatMessageAssistant(content="A hen is")]
    config = GenerateConfig(max_tokens=5, temperature=0)
    whole = asyncio.run(model.generate(MESSAGES, config=config)).completion
    continued = asyncio.run(model.generate(begun, config=config)).completion
    assert continued and continued != whole


def test_a_cancelled_request_leaves_its_batch(tiny_model):
    model = local(tiny_model)
    seen = []
    real = model.api.base.engine.generate
    model.api.base.engine.generate = lambda requests: seen.append(real(requests)) or seen[-1]

    async def ask():
        long = asyncio.create_task(reply(model, max_tokens=1500, temperature=1.0))
        short = asyncio.create_task(reply(model, max_tokens=1500, temperature=1.0, seed=1))
        await asyncio.sleep(0.5)
        long.cancel()
        short.cancel()
        await asyncio.gather(long, short, return_exceptions=True)
        while not seen:
            await asyncio.sleep(0.05)

    asyncio.run(ask())
    assert max(len(found.tokens) for found in seen[0]) < 1500


USER_TASK = """
from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.scorer import includes
from inspect_ai.solver import generate, system_message

@task
def hens():
    samples = [Sample(input=f"Name hen {n}.", target="hen") for n in range(3)]
    solver = [system_message("Be brief."), generate()]
    return Task(dataset=samples, solver=solver, scorer=includes())
"""


@pytest.mark.parametrize("count", [1, 2])
def test_a_users_task_runs_on_adapters_from_any_folder(tiny_model, adapters, tmp_path, count):
    from inspect_ai.log import read_eval_log

    (tmp_path / "hens.py").write_text(USER_TASK)
    chosen = ",".join(str(path) for path in (adapters[0], adapters[2])[:count])
    argv = [
        "eval", "hens.py", "--model", f"local/{tiny_model}", "-M", f"adapter={chosen}",
        "-M", "precision=float32", "--max-tokens", "8", "--temperature", "0",
        "--display", "plain", "--no-log-realtime",
    ]  # fmt: skip
    done = run_module("inspect_ai", argv, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = (tmp_path / "logs").glob("*.eval")
    log = read_eval_log(str(path))
    assert log.status == "success" and len(log.samples) == 3
    alone = get_model(
        f"local/{(adapters[0], adapters[2])[count - 1]}", memoize=False, precision="float32"
    )
    sample = log.samples[0]
    config = GenerateConfig(max_tokens=8, temperature=0)
    again = asyncio.run(alone.generate(sample.messages[:-1], config=config)).completion
    assert sample.output.completion == again
