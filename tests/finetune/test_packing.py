from dataclasses import replace
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune import attention
from finetune.loss import frozen_head_cross_entropy
from finetune.packing import IGNORED, Piece, pack, split_long
from finetune.sources import is_held_out
from finetune.trainer import collate

documents = st.lists(st.lists(st.integers(3, 90), min_size=1, max_size=50), min_size=1, max_size=12)


@given(documents, st.integers(4, 24))
@settings(max_examples=150, deadline=None)
def test_every_token_is_packed_once_and_labels_stay_beside_their_tokens(texts, block):
    pieces = []
    for number, tokens in enumerate(texts):
        pieces += split_long(tokens, [IGNORED, *tokens[1:]], f"d{number}", block)
    rebuilt = {}
    blocks = pack(pieces, block)
    for one in blocks:
        assert sum(len(piece.tokens) for piece in one) <= block
    for piece in sorted([p for one in blocks for p in one], key=pieces.index):
        rebuilt.setdefault(piece.source, []).append(piece)
    for number, tokens in enumerate(texts):
        parts = rebuilt[f"d{number}"]
        assert sum(len(part.tokens) for part in parts) == len(tokens)
    packed = sorted(token for one in blocks for piece in one for token in piece.tokens)
    assert packed == sorted(token for tokens in texts for token in tokens)
    for piece in (piece for one in blocks for piece in one):
        assert piece.labels[0] == IGNORED
        assert all(a in (b, IGNORED) for a, b in zip(piece.labels, piece.tokens, strict=True))


def test_a_piece_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="9 tokens does not fit a block of 8"):
        pack([Piece((1,) * 9, (IGNORED,) * 9, "a")], 8)


rows = st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=5), min_size=1, max_size=3)


@pytest.fixture(scope="module")
def plain(tiny_model):
    from tacit.models.load import load_model

    return load_model(str(tiny_model), "float32")


@pytest.mark.parametrize("way", ["sdpa", "eager", "tacit_packed"])
@given(lengths=rows)
@settings(max_examples=8, deadline=None)
def test_packed_pieces_see_themselves_only(plain, way, lengths):
    """The logits of a packed piece equal those of the same piece alone, in float32."""
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
    packed = {"pieces": attention.pieces_of(positions)} if way == attention.NAME else {}
    plain.set_attn_implementation(way)
    with torch.no_grad():
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
