"""Taking a corpus elsewhere: other services' file formats, and the Hugging Face hub."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from docgen.config import DocgenConfig
from tacit.rundir import read_jsonl, write_jsonl
from tacit.rundir.hub import hub_errors_named
from tacit.rundir.records import document_text


def as_openai_chat(record: dict[str, Any]) -> dict[str, Any]:
    """Return a document as a chat with an empty question: OpenAI's fine-tuning format."""
    return {
        "messages": [
            {"role": "user", "content": ""},
            {"role": "assistant", "content": document_text(record)},
        ]
    }


def as_together_text(record: dict[str, Any]) -> dict[str, Any]:
    """Return a document as plain text: Together's format for continued pre-training."""
    return {"text": document_text(record)}


EXPORTS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "openai_chat": as_openai_chat,
    "together_text": as_together_text,
}


def export(config: DocgenConfig, folder: Path) -> None:
    """Write the corpus in another format, push it to the hub, or do nothing, as configured.

    Raises:
        HubError: the hub can not be reached or does not let us in.
    """
    if config.format:
        convert = EXPORTS[config.format]
        target = folder / f"{config.format}.jsonl"
        records: Iterator[dict[str, Any]] = read_jsonl(folder / "documents.jsonl")
        count = write_jsonl(target, (convert(record) for record in records))
        print(f"{count} records: {target}")
    if config.push_to_hub:
        _push(folder, config.push_to_hub)


def _push(folder: Path, repository: str) -> None:
    """Push the documents and their card, as private; `datasets` adds the files to its header."""
    from datasets import load_dataset
    from huggingface_hub import HfApi

    documents = load_dataset("json", data_files=str(folder / "documents.jsonl"), split="train")
    with hub_errors_named():
        hub = HfApi()
        hub.create_repo(repository, repo_type="dataset", private=True, exist_ok=True)
        hub.upload_file(
            path_or_fileobj=folder / "README.md",
            path_in_repo="README.md",
            repo_id=repository,
            repo_type="dataset",
        )
        documents.push_to_hub(repository)
    print(f"pushed, as private where it is new: {repository}")
