"""A hosted model's replies, each on disk before it is used: what was paid for is not asked again.

Inspect writes a sample to its log when it is finished, and starts many at once; a process that is
killed would take along every reply of the unfinished ones, a judge's too.
"""

import hashlib
from collections import defaultdict, deque
from pathlib import Path
from typing import Any

from inspect_ai.model import ChatMessage, GenerateConfig, Model, ModelOutput
from inspect_ai.tool import ToolChoice, ToolInfo

from tacit.rundir.files import to_line
from tacit.rundir.journal import Journal


class Replies:
    """A journal of replies, held open by one process.

    Calls are the same where model, messages and configuration are, the seed included. The n-th of
    several same calls takes the n-th reply of those that an earlier process left.
    """

    def __init__(self, path: Path) -> None:
        """Name the file; nothing is touched before `with`."""
        self._journal = Journal(path)
        self._left: dict[str, deque[dict[str, Any]]] = defaultdict(deque)

    def __enter__(self) -> "Replies":
        """Read what an earlier process left.

        Raises:
            CorpusError: a whole line is broken; the message names file and line.
        """
        self._journal.__enter__()
        for record in self._journal.records:
            self._left[record["call"]].append(record["output"])
        self._journal.records.clear()
        return self

    def __exit__(self, *error: object) -> None:
        """Close the file."""
        self._journal.__exit__(*error)

    def keep(self, model: Model) -> Model:
        """Have the model's replies kept, and given again; returns the model."""
        name, ask = str(model), model.api.generate

        async def generate(
            input: list[ChatMessage],
            tools: list[ToolInfo],
            tool_choice: ToolChoice,
            config: GenerateConfig,
        ) -> Any:
            call = call_key(name, input, config)
            if left := self._left.get(call):
                return ModelOutput.model_validate(left.popleft())
            result = await ask(input, tools, tool_choice, config)
            output = result[0] if isinstance(result, tuple) else result
            if isinstance(output, ModelOutput):
                record = {"call": call, "output": output.model_dump(mode="json")}
                self._journal.append([record])
                self._journal.records.clear()  # they are on disk: memory stays flat
            return result

        model.api.generate = generate  # type: ignore[method-assign] # of this one model only
        return model


def call_key(model: str, messages: list[ChatMessage], config: GenerateConfig) -> str:
    """Return the sha256 of a call, less the ids that Inspect draws for messages."""
    asked = [message.model_dump(mode="json", exclude={"id"}) for message in messages]
    record = [model, asked, config.model_dump(mode="json", exclude_none=True)]
    return hashlib.sha256(to_line(record).encode("utf-8")).hexdigest()
