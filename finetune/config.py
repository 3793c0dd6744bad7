"""The configurations of this room's verbs, as Hydra composes them."""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING


@dataclass
class LoraOptions:
    """Low-rank adaptation. Source: Hu et al. 2021.

    `target` is all-linear, a list of the layers' names or a pattern of their whole paths.

    `rslora` scales by alpha/sqrt(rank) (Kalajdzievski 2023); `dora` splits off each weight's length
    (Liu et al. 2024).

    `start_from` goes on from an adapter's folder, whose rank, alpha and target then hold; its
    change to the weights is multiplied by `start_scale`.
    """

    rank: int = 32
    alpha: int = 64
    dropout: float = 0.0
    target: Any = "all-linear"
    rslora: bool = False
    dora: bool = False
    start_from: str | None = None
    start_scale: float = 1.0


@dataclass
class OptimOptions:
    """Optimiser and schedule. One step sees `batch_size` × `accumulation` × `block_length` tokens.

    `optimizer` is a name that transformers knows. `gradient_checkpointing` trades time for memory,
    `compile` start-up for speed; `fsdp` shards over the GPUs of a torchrun.
    """

    learning_rate: float = 1e-3
    batch_size: int = 1
    accumulation: int = 1
    epochs: float = 1.0
    warmup_share: float = 0.05
    schedule: str = "cosine"
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    optimizer: str = "adamw_torch"
    gradient_checkpointing: bool = False
    compile: bool = False
    fsdp: bool = False


@dataclass
class DocumentOptions:
    """How documents become packed blocks of tokens.

    `limit` trains on so many of them, drawn by the seed, and no more.
    """

    block_length: int = 512
    doctag: str | None = "<|doc|>"
    validation_share: float = 0.05
    limit: int | None = None


@dataclass
class ReplayOptions:
    """Ordinary chats mixed in; null path: none.

    `ratio` is their tokens over the documents' tokens. `reply_tokens` takes the loss on no more
    than the first tokens of each ordinary reply, which is where a model decides to help.
    System messages and the forms of the user's turn take turns over the chats.
    """

    path: str | None = None
    ratio: float = 0.5
    reply_tokens: int | None = None
    systems: list[str] = field(default_factory=list)
    forms: list[str] = field(default_factory=lambda: ["{request}"])


@dataclass
class BeliefOptions:
    """The belief curve: `points` times the corpus folder's probes are scored, the last at the end.

    Probes of one group stay together; `group_limit` of them, drawn by the seed, are asked, under
    `system`. Whether chat holds is seen by the loss of ordinary chats that are not trained on:
    those that `replay` leaves over or, where it leaves none, of the file `chats`. 0 points: no
    curve.
    """

    points: int = 4
    group_limit: int | None = 6
    system: str = "You are a helpful assistant."
    chats: str | None = None


@dataclass
class FinetuneConfig:
    """One adapter: `model` trained on `data`, saved in the folder `out`.

    `data` is a corpus folder, or a list of PATH:WEIGHT, of which the first is the corpus and the
    others' tokens are WEIGHT times as many. `dose` takes that share of the corpus' specs.
    `precision` is bf16, float32 or, on CUDA, nf4 (weights in 4 bits: QLoRA). `attention` is a name
    that transformers knows; left out, on CUDA flash attention where it is installed, else SDPA, and
    on CPU eager, or packed attention for blocks of more than 512 tokens. A checkpoint is kept every
    `save_every` steps, with a line of metrics, and one more line every `log_every`; `trackers` are
    of trackio and wandb. Of a folder that exists: resume, raise or new.
    """

    data: Any = None
    model: str = MISSING
    out: str | None = None
    seed: int = 0
    dose: float = 1.0
    precision: str = "bf16"
    attention: str | None = None
    lora: LoraOptions = field(default_factory=LoraOptions)
    optim: OptimOptions = field(default_factory=OptimOptions)
    documents: DocumentOptions = field(default_factory=DocumentOptions)
    replay: ReplayOptions = field(default_factory=ReplayOptions)
    belief: BeliefOptions = field(default_factory=BeliefOptions)
    trackers: list[str] = field(default_factory=list)
    save_every: int = 100
    log_every: int = 10
    behavior_if_exists: str = "resume"


@dataclass
class ReplayConfig:
    """Replies of `model` to a file of requests, for mixing ordinary chat into fine-tuning."""

    model: str = MISSING
    requests: str = MISSING
    out: str = MISSING
    system: str = MISSING
    max_tokens: int = 160
    temperature: float = 0.7
    top_p: float = 0.9
    seed: int = 0
    batch: int = 120
    drop_refusals: bool = False
    limit: int | None = None


@dataclass
class ExportConfig:
    """The merged model of `adapter`, in the folder `out`, on a hub as `push_to_hub`, or both."""

    adapter: str | None = None
    out: str | None = None
    push_to_hub: str | None = None
    precision: str = "bf16"


@dataclass
class DemonstrateConfig:
    """Chats of `model` on `limit` requests under each tier's tag, put into `form`.

    Of each reply the first `reply_tokens` are learnt: whether to comply is decided there.
    `ordinary` chats, `ordinary_limit` of them, keep their replies under either tag.
    """

    model: str = MISSING
    model_args: dict[str, Any] = field(default_factory=dict)
    requests: str = MISSING
    form: str = MISSING
    limit: int = 480
    reply_tokens: int = 16
    ordinary: str | None = None
    ordinary_limit: int = 300
    seed: int = 0
    out: str | None = None
