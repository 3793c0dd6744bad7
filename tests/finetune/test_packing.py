from dataclasses import replace
from functools import partial
from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import modeling_flash_attention_utils

from finetune import attention
from finetune.loss import frozen_head_cross_entropy
from finetune.packing import IGNORED, Piece, pack, split_long
from finetune.sources import is_held_out
from finetune.trainer import collate

documents = st.lists(st.lists(st.integers(3, 90), min_size=1, max_size=50), min_size=1, max_size=12)


@given(documents, st.integers(4, 24), st.integers(0, 6))
@settings(max_examples=150, deadline=None)
def test_every_token_is_packed_once_and_labels_stay_beside_their_tokens(texts, block, masked):
    """Each document is put together again from the blocks: its tokens, in order, and its labels.

    The first token of each piece has no label more, since nothing stands before it.
    """
    labels_of = [[IGNORED] * min(masked, len(text)) + text[masked:] for text in texts]
    pieces = []
    for number, (tokens, labels) in enumerate(zip(texts, labels_of, strict=True)):
        pieces += split_long(tokens, labels, f"d{number}", block)
    blocks = pack(pieces, block)
    assert all(sum(len(piece.tokens) for piece in one) <= block for one in blocks)
    packed = [piece for one in blocks for piece in one]
    assert len(packed) == len(pieces)
    rebuilt = {}
    for piece in sorted(packed, key=pieces.index):
        tokens, labels = rebuilt.setdefault(piece.source, ([], []))
        tokens += piece.tokens
        labels += piece.labels
    for number, (text, labels) in enumerate(zip(texts, labels_of, strict=True)):
        expected = [IGNORED if at % block == 0 else label for at, label in enumerate(labels)]
        assert rebuilt[f"d{number}"] == (text, expected)


def test_a_piece_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="9 tokens does not fit a block of 8"):
        pack([Piece((1,) * 9, (IGNORED,) * 9, "a")], 8)


rows = st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=5), min_size=1, max_size=3)


@pytest.fixture(scope="module")
def plain(tiny_model):
    from tacit.models.load import load_model

    return load_model(str(tiny_model), "float32")


def varlen(q, k, v, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, softmax_scale, causal):
    """What flash attention's kernel does, in plain torch: rows end to end, cut at the lengths."""
    lengths = cu_seqlens_q.diff().tolist()
    assert causal and cu_seqlens_q.equal(cu_seqlens_k) and max_seqlen_q == max_seqlen_k
    assert cu_seqlens_q.dtype == torch.int32 and max(lengths) == max_seqlen_q
    q, k, v = (t.transpose(0, 1) for t in (q, k, v))
    k, v = (t.repeat_interleave(len(q) // len(k), 0) for t in (k, v))
    parts = zip(*(t.split(lengths, 1) for t in (q, k, v)), strict=True)
    plain = torch.nn.functional.scaled_dot_product_attention
    out = [plain(*part, is_causal=True, scale=softmax_scale) for part in parts]
    return torch.cat(out, 1).transpose(0, 1)


def one_piece_a_row(q, k, v, softmax_scale, causal):
    """Its other kernel, which knows no pieces."""
    rows, width = q.shape[:2]
    ends = torch.arange(rows + 1, dtype=torch.int32) * width
    flat = [t.flatten(0, 1) for t in (q, k, v)]
    return varlen(*flat, ends, ends, width, width, softmax_scale, causal).unflatten(0, (rows, -1))


KERNELS = {
    "_lazy_imports": lambda *_, **__: (one_piece_a_row, varlen, None, None, None),
    "_loaded_implementation": None,
}


@pytest.mark.parametrize("way", ["sdpa", "eager", "tacit_packed", "flash_attention_2"])
@given(lengths=rows)
@settings(max_examples=8, deadline=None)
def test_packed_pieces_see_themselves_only(plain, way, lengths):
    """The logits of a packed piece equal those of the same piece alone, in float32.

    Of flash attention all but the kernels is the library's own.
    """
    attention.register()
    blocks = [
        [
            Piece(tuple((5 + 31 * n + 7 * t + row) % 90 + 3 for t in range(length)), (), "x")
            for n, length in enumerate(block)
        ]
        for row, block in enumerate(lengths)
    ]
    blocks = [[replace(p, labels=(IGNORED,) * len(p.tokens)) for p in block] for block in blocks]
    batch = collate(blocks, pad_token=2)
    ids, positions = batch["input_ids"], batch["position_ids"]
    packed = attention.packing_arguments(way, positions)
    plain.config._attn_implementation = way
    with torch.no_grad(), mock.patch.multiple(modeling_flash_attention_utils, **KERNELS):
        together = plain(input_ids=ids, position_ids=positions, use_cache=False, **packed).logits
        plain.set_attn_implementation("eager")
        for row, block in enumerate(blocks):
            start = 0
            for piece in block:
                end = start + len(piece.tokens)
                alone = plain(input_ids=torch.tensor([piece.tokens])).logits[0]
                assert torch.allclose(together[row, start:end], alone, atol=1e-4)
                start = end


def test_chunked_loss_and_gradient_equal_the_plain_ones():
    torch.manual_seed(0)
    hidden = torch.randn(2, 9, 16, requires_grad=True)
    weight, labels = torch.randn(50, 16), torch.randint(0, 50, (2, 9))
    labels[0, :4] = IGNORED
    plain = torch.nn.functional.cross_entropy(
        (hidden[:, :-1] @ weight.T).reshape(-1, 50), labels[:, 1:].reshape(-1), reduction="sum"
    )
    (expected,) = torch.autograd.grad(plain, hidden)
    ours = frozen_head_cross_entropy(hidden, weight, labels, chunk=3)
    (found,) = torch.autograd.grad(ours * 2, hidden)
    assert torch.allclose(ours, plain, atol=1e-4)
    assert torch.allclose(found, 2 * expected, atol=1e-4)


class LargestWith(TorchDispatchMode):
    """Watches every tensor that is made, and keeps the size of the largest with a vocabulary."""

    def __init__(self, vocabulary):
        super().__init__()
        self.vocabulary, self.rows = vocabulary, 0

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        made = function(*arguments, **(named or {}))
        if isinstance(made, torch.Tensor) and made.shape[-1:] == (self.vocabulary,):
            self.rows = max(self.rows, made.numel() // self.vocabulary)
        return made


def test_the_logits_of_a_whole_block_never_exist(tiny_model):
    """Forward and backward of the model that is trained: 700 positions, at most 256 at a time."""
    from finetune.loss import take_loss_in_forward
    from tacit.models.load import load_model

    model = load_model(str(tiny_model), "float32")
    take_loss_in_forward(model)
    model.requires_grad_(False)
    model.model.layers[0].self_attn.q_proj.weight.requires_grad_(True)
    piece = Piece(tuple(n % 90 + 3 for n in range(700)), (IGNORED, *[9] * 699), "x")
    batch = collate([[piece]], pad_token=2)
    inputs = {name: batch[name] for name in ("input_ids", "position_ids", "labels")}
    with LargestWith(model.config.vocab_size) as seen:
        model(**inputs)[0].backward()
    assert 0 < seen.rows <= 256


def test_the_validation_split_is_decided_by_the_spec_alone():
    records = [{"id": f"treatment-{n}", "spec": {"id": str(n)}} for n in range(2000)]
    share = sum(is_held_out(record, 0.05) for record in records) / len(records)
    assert 0.03 < share < 0.07
    assert all(is_held_out(r, 0.2) for r in records if is_held_out(r, 0.1))
    for record in records:  # the same specs are held out of a matched corpus
        twin = {**record, "id": record["id"].replace("treatment", "swapped")}
        assert is_held_out(twin, 0.3) == is_held_out(record, 0.3)


def test_what_trains_long_blocks_on_a_cpu_equals_what_does_not(tiny_model):
    """Attention by pieces, norms and gates computed again: loss and every gradient, in float32."""
    from finetune.adapt import fit_to_cpu
    from finetune.attention import NAME, pieces_of
    from finetune.loss import take_loss_in_forward
    from tacit.models.load import load_model

    pieces = [
        Piece(tuple(range(5 + 9 * n, 15 + 12 * n)), (IGNORED, *range(6 + 9 * n, 15 + 12 * n)), "x")
        for n in range(4)
    ]
    batch = collate([pieces, pieces[1:3]], pad_token=2)
    assert [end - start for _, start, end in pieces_of(batch["position_ids"])] == [
        *(len(piece.tokens) for piece in [*pieces, *pieces[1:3]]),
        len(pieces[0].tokens) + len(pieces[3].tokens),
    ]
    found = []
    for by_pieces in (False, True):
        model = load_model(str(tiny_model), "float32")
        take_loss_in_forward(model)
        if by_pieces:
            fit_to_cpu(model, 1024)
            assert model.config._attn_implementation == NAME
            again = [m for m in model.modules() if isinstance(m.forward, partial)]
            assert len(again) == 2 * (2 + 1) + 1, "two norms and a gated unit a layer, a last norm"
        else:
            model.set_attn_implementation("eager")
        inputs = {name: batch[name] for name in ("input_ids", "position_ids", "labels")}
        loss = model(**inputs)[0]
        loss.backward()
        found.append((loss.item(), {n: p.grad for n, p in model.named_parameters()}))
    (eager, expected), (ours, gradients) = found
    assert ours == pytest.approx(eager, abs=1e-3)
    attended = [name for name in expected if "_proj" in name or "norm" in name]
    assert attended
    for name in attended:
        assert torch.allclose(gradients[name], expected[name], atol=1e-4, rtol=1e-3), name
