"""The configurations of this room's verbs, as Hydra composes them."""

from dataclasses import dataclass, field

from omegaconf import MISSING


@dataclass
class LoraOptions:
    """Low-rank adaptation. Source: Hu et al. 2021; `target` names the linear layers adapted.

    `start_from` goes on from an adapter's folder, whose rank, alpha and target then hold; its
    change to the weights is multiplied by `start_scale`.
    """

    rank: int = 32
    alpha: int = 64
    dropout: float = 0.0
    target: str = "all-linear"
    start_from: str | None = None
    start_scale: float = 1.0


@dataclass
class OptimOptions:
    """Optimiser and schedule. One step sees `batch_size` × `block_length` tokens."""

    learning_rate: float = 1e-3
    batch_size: int = 1
    accumulation: int = 1
    epochs: float = 1.0
    warmup_share: float = 0.05
    schedule: str = "cosine"
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0


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
class FinetuneConfig:
    """One adapter: `model` trained on the corpus folder `data`, saved in the folder `out`."""

    data: str | None = None
    model: str = MISSING
    out: str | None = None
    seed: int = 0
    precision: str = "bf16"
    lora: LoraOptions = field(default_factory=LoraOptions)
    optim: OptimOptions = field(default_factory=OptimOptions)
    documents: DocumentOptions = field(default_factory=DocumentOptions)
    replay: ReplayOptions = field(default_factory=ReplayOptions)
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
