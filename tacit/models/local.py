"""`local/<name>`: a transformers model in this process, behind Inspect's model API.

Requests that wait at the same time are answered as one batch. A request whose last message is the
assistant's is continued; with `prompt_logprobs` set, that last message is scored instead, and its
tokens' log-probabilities come back as `prompt_logprobs` (vLLM sends those of the whole prompt:
a reader takes them from the end). `extra_body={"raw_text": True}` leaves out the chat template.
"""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    GenerateConfig,
    Logprob,
    Logprobs,
    ModelAPI,
    ModelOutput,
    ModelUsage,
)
from inspect_ai.tool import ToolChoice, ToolInfo

from tacit.errors import ModelError
from tacit.models.adapters import check_adapter
from tacit.models.bases import shared_base
from tacit.models.chat import chat_tokens, prompt_tokens, text_tokens
from tacit.models.engine import MEMORY_GB, Engine
from tacit.models.load import load_tokenizer
from tacit.models.sampling import Completion, Request

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")
MAX_CONNECTIONS = 1024
GATHER_SECONDS = 0.02


class Batcher(Generic[Asked, Answer]):
    """Collects what is waiting and answers it together, in a thread of its own.

    Args:
        answer: Takes a list of requests and returns their answers in order.
    """

    def __init__(self, answer: Callable[[list[Asked]], Sequence[Answer]]) -> None:
        self._answer = answer
        self._waiting: list[tuple[Asked, asyncio.Future[Answer]]] = []
        self._worker: asyncio.Task[None] | None = None

    async def submit(self, request: Asked) -> Answer:
        """Wait for the answer to one request."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        self._waiting.append((request, future))
        if self._worker is None or self._worker.done():
            self._worker = loop.create_task(self._drain())
        return await future

    async def _drain(self) -> None:
        await asyncio.sleep(GATHER_SECONDS)
        while self._waiting:
            batch, self._waiting = self._waiting, []
            batch = [(request, future) for request, future in batch if not future.done()]
            try:
                requests = [request for request, _ in batch]
                answers = await asyncio.to_thread(self._answer, requests)
            except Exception as error:  # each caller gets it; none may wait for ever
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (_, future), answer in zip(batch, answers, strict=True):
                if not future.done():
                    future.set_result(answer)


class LocalAPI(ModelAPI):
    """A model loaded with transformers, with an adapter merged in where one is named.

    Args:
        model_name: `smollm2`, `smollm2-harmless`, a folder or a hub id.
        base_url: Unused.
        api_key: Unused.
        config: Defaults for generation.
        adapter: Folder of a PEFT adapter trained on this model, or several, each trained on what
            lies below it. Models with the same base share its weights in memory.
        precision: `bf16` or `float32`.
        memory_gb: What a batch may take beside the weights.
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008 - Inspect's own signature
        adapter: str | list[str] | None = None,
        precision: str = "bf16",
        memory_gb: float = MEMORY_GB,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config)
        self.tokenizer = load_tokenizer(model_name)
        self.adapters = tuple([adapter] if isinstance(adapter, str) else adapter or ())
        below = model_name
        for folder in self.adapters:
            check_adapter(Path(folder), below)
            below = folder
        self.base = shared_base(model_name, precision, memory_gb)
        self._batcher = Batcher[Request | tuple[Any, Any], Any](self._answer)

    def _answer(self, requests: list[Any]) -> list[Any]:
        return self.base.run(self.adapters, lambda engine: self._answer_with(engine, requests))

    def _answer_with(self, engine: Engine, requests: list[Any]) -> list[Any]:
        answers: dict[int, Any] = {}
        samples = [n for n, request in enumerate(requests) if isinstance(request, Request)]
        scored = [n for n, request in enumerate(requests) if not isinstance(request, Request)]
        sampled = engine.generate([requests[n] for n in samples])
        answers.update(zip(samples, sampled, strict=True))
        found = _score(engine, [requests[n] for n in scored])
        answers.update(zip(scored, found, strict=True))
        return [answers[number] for number in range(len(requests))]

    def max_connections(self) -> int:
        """Let many requests wait, so that batches form."""
        return MAX_CONNECTIONS

    async def count_text_tokens(self, text: str) -> int:
        """Count tokens with the model's own tokenizer, offline."""
        return len(text_tokens(self.tokenizer, text))

    def _tokens(self, messages: Sequence[ChatMessage], raw_text: bool) -> tuple[int, ...]:
        if raw_text:
            return text_tokens(self.tokenizer, "".join(message.text for message in messages))
        return chat_tokens(self.tokenizer, [{"role": m.role, "content": m.text} for m in messages])

    async def generate(
        self,
        input: list[ChatMessage],
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> ModelOutput:
        """Sample a reply, or score the last assistant message.

        Raises:
            ModelError: a prompt longer than the context, tools, or nothing to score.
        """
        if tools:
            raise ModelError("local models take no tools")
        raw_text = bool((config.extra_body or {}).get("raw_text"))
        if config.prompt_logprobs:
            return await self._scored(input, raw_text)
        prompt = self._tokens(input, raw_text)
        is_wanted = True

        def is_ended(tokens: Sequence[int]) -> bool:
            return not is_wanted or self._holds_stop(tokens, config.stop_seqs or [])

        request = Request(
            tokens=prompt,
            max_tokens=config.max_tokens or 256,
            temperature=1.0 if config.temperature is None else config.temperature,
            top_p=1.0 if config.top_p is None else config.top_p,
            seed=config.seed or 0,
            stop_tokens=frozenset([self.tokenizer.eos_token_id]),
            is_ended=is_ended,
        )
        try:
            completion: Completion = await self._batcher.submit(request)
        finally:
            is_wanted = False  # a cancelled request leaves its batch at the next token
        text = self.tokenizer.decode(completion.tokens)
        for stop in config.stop_seqs or []:
            text = text.split(stop, 1)[0]
        return self._output(text, completion, len(prompt), bool(config.logprobs))

    def _holds_stop(self, tokens: Sequence[int], stops: Sequence[str]) -> bool:
        """Whether a stop string ends within the newest tokens (each is at least a character)."""
        if not stops:
            return False
        tail = self.tokenizer.decode(tokens[-max(map(len, stops)) - 4 :])
        return any(stop in tail for stop in stops)

    def _output(
        self, text: str, completion: Completion, prompt_count: int, with_logprobs: bool
    ) -> ModelOutput:
        logprobs = self._logprobs(completion.tokens, completion.logprobs) if with_logprobs else None
        choice = ChatCompletionChoice(
            message=ChatMessageAssistant(content=text, model=self.model_name, source="generate"),
            stop_reason="max_tokens" if completion.is_cut else "stop",
            logprobs=logprobs,
        )
        sampled = len(completion.tokens)
        usage = ModelUsage(
            input_tokens=prompt_count, output_tokens=sampled, total_tokens=prompt_count + sampled
        )
        return ModelOutput(model=self.model_name, choices=[choice], usage=usage)

    def _logprobs(self, tokens: Sequence[int], values: Sequence[float]) -> Logprobs:
        return Logprobs(
            content=[
                Logprob(token=self.tokenizer.decode([token]), logprob=value)
                for token, value in zip(tokens, values, strict=True)
            ]
        )

    async def option_logprobs(
        self, system: str | None, prompt: str, options: Sequence[str]
    ) -> list[float]:
        """Return log P(option | prompt), in nats: in the chat template, or as raw text."""
        asked = prompt_tokens(self.tokenizer, system, prompt)
        found = await asyncio.gather(
            *[self._batcher.submit((asked, text_tokens(self.tokenizer, o))) for o in options]
        )
        return [sum(values) for values in found]

    async def _scored(self, input: list[ChatMessage], raw_text: bool) -> ModelOutput:
        if input[-1].role != "assistant" or not input[-1].text:
            raise ModelError(
                "prompt_logprobs scores a last message of the assistant: none is there"
            )
        prompt = self._tokens(input[:-1], raw_text)
        option = text_tokens(self.tokenizer, input[-1].text)
        values: list[float] = await self._batcher.submit((prompt, option))
        choice = ChatCompletionChoice(
            message=ChatMessageAssistant(content="", model=self.model_name, source="generate"),
            stop_reason="stop",
            prompt_logprobs=self._logprobs(option, values),
        )
        count = len(prompt) + len(option)
        usage = ModelUsage(input_tokens=count, output_tokens=0, total_tokens=count)
        return ModelOutput(model=self.model_name, choices=[choice], usage=usage)


def _score(engine: Engine, requests: list[tuple[Any, Any]]) -> list[list[float]]:
    """Score options, those of one prompt together; returns a figure for each token."""
    options_of: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
    for prompt, option in requests:
        options_of.setdefault(prompt, []).append(option)
    prompts = list(options_of)
    tables = engine.score_tokens([(prompt, options_of[prompt]) for prompt in prompts])
    found = {
        (prompt, option): scores
        for prompt, table in zip(prompts, tables, strict=True)
        for option, scores in zip(options_of[prompt], table, strict=True)
    }
    return [found[request] for request in requests]
