"""The model that is trained: its base, on the right device, with an adapter put on."""

import importlib.util
from typing import Any

from finetune import attention
from finetune.config import FinetuneConfig
from finetune.loss import take_loss_in_forward
from finetune.recompute import recompute_elementwise
from tacit.errors import ConfigError, ModelError
from tacit.models.adapters import check_adapter
from tacit.models.load import load_model
from tacit.models.shared import supports
from tacit.models.weights import resolve_weights, trusts_code
from tacit.rundir import locate

LONG_BLOCK = 512


def load_base(config: FinetuneConfig) -> Any:
    """Load the base, in 4 bits where `precision` is nf4, and check that blocks fit its context.

    Raises:
        ConfigError: nf4 without CUDA or bitsandbytes; FSDP without CUDA, or with a belief curve; a
            block longer than the context; an attention that there is not, or that is not installed.
        ModelError: the weights cannot be found, or the precision is unknown.
    """
    import torch

    if config.optim.fsdp and not torch.cuda.is_available():
        raise ConfigError(
            "optim.fsdp=true shards over GPUs, and there is none: leave it out (processes on a CPU "
            "share the work by DDP)"
        )
    if config.optim.fsdp and config.belief.points:
        raise ConfigError(
            "optim.fsdp=true shards the weights, and the belief curve needs them whole: set "
            "belief.points=0"
        )
    if config.precision == "nf4":
        model = _in_four_bits(config.model)
    else:
        # Sharded, the weights go to the GPUs piece by piece; else all of them to this process's.
        model = load_model(config.model, config.precision, "cpu" if config.optim.fsdp else None)
    block, context = config.documents.block_length, model.config.max_position_embeddings
    if not 16 <= block <= context:
        raise ConfigError(
            f"documents.block_length={block} must lie between 16 and the model's context of "
            f"{context}"
        )
    if config.attention is None and not torch.cuda.is_available():
        fit_to_cpu(model, block)
        return model
    wanted = config.attention or attention_on_cuda(config.precision)
    try:
        model.set_attn_implementation(wanted)
    except (ImportError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"attention={wanted} cannot be used: {reason}") from None
    return model


def attention_on_cuda(precision: str) -> str:
    """Return varlen attention where its kernels are installed, which know no float32.

    Else SDPA, under a block-diagonal mask that transformers makes of the position ids.
    """
    from transformers.utils import is_flash_attn_2_available

    has_kernels = precision != "float32" and is_flash_attn_2_available()
    return "flash_attention_2" if has_kernels else "sdpa"


def fit_to_cpu(model: Any, block: int) -> None:
    """Set what trains fastest on a CPU; where blocks are long, also what keeps least.

    Up to about 512 tokens two products under a mask cost less than a product for each piece, and
    memory is no concern.
    """
    if block > LONG_BLOCK and supports(model):
        attention.register()
        model.set_attn_implementation(attention.NAME)
        recompute_elementwise(model)
    else:
        model.set_attn_implementation("eager")


def _in_four_bits(name: str) -> Any:
    import torch

    if not torch.cuda.is_available() or importlib.util.find_spec("bitsandbytes") is None:
        raise ConfigError("precision=nf4 needs a CUDA GPU and bitsandbytes: use precision=bf16")
    from peft import prepare_model_for_kbit_training
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    model = AutoModelForCausalLM.from_pretrained(
        resolve_weights(name),
        use_safetensors=True,
        trust_remote_code=trusts_code(),
        quantization_config=quantization,
        device_map={"": torch.cuda.current_device()},
    )
    return prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)


def put_adapter_on(config: FinetuneConfig, model: Any) -> Any:
    """Return the model with a new adapter, or with the one that training goes on from.

    Its forward returns the loss alone where labels are given.

    Raises:
        ConfigError: `lora.target` names no layer of the model.
        ModelError: there is no adapter in `lora.start_from`, or it is of another base, or does not
            fit it.
    """
    import torch
    from peft import LoraConfig, PeftModel, get_peft_model

    torch.manual_seed(config.seed)
    take_loss_in_forward(model)
    if config.lora.start_from is None:
        lora = LoraConfig(
            r=config.lora.rank,
            lora_alpha=config.lora.alpha,
            lora_dropout=config.lora.dropout,
            target_modules=config.lora.target,
            use_rslora=config.lora.rslora,
            use_dora=config.lora.dora,
            task_type="CAUSAL_LM",
        )
        try:
            return get_peft_model(model, lora)
        except ValueError as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(f"lora.target={config.lora.target}: {reason}") from None
    start = locate(config.lora.start_from)
    check_adapter(start, config.model)
    try:
        adapted = PeftModel.from_pretrained(model, str(start), is_trainable=True)
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"{start} does not fit {config.model}: {reason}") from None
    # The weights' own folder: at each save PEFT looks there, and would ask a hub for a name.
    adapted.peft_config["default"].base_model_name_or_path = model.name_or_path
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            parameter.data *= config.lora.start_scale
    return adapted
