import asyncio

import pytest

from tacit.errors import CorpusError
from tacit.models.replies import Replies


class Hosted:
    """A hosted model that counts; its n-th reply says so."""

    def __init__(self, path):
        self.asked = 0
        self.path = path

    def ask(self, *questions, fails=False):
        """Ask in a process of its own, as it were; returns the replies."""
        from inspect_ai.model import GenerateConfig, ModelOutput, get_model

        model = get_model("organism/always_fakes", memoize=False)

        async def generate(input, tools, tool_choice, config):
            self.asked += 1
            if fails:
                raise ConnectionError("down")
            return ModelOutput.from_content("organism", f"reply {self.asked}"), None

        model.api.generate = generate

        async def all_of_them():
            return [
                (await model.generate(text, config=GenerateConfig(seed=seed))).completion
                for text, seed in questions
            ]

        with Replies(self.path) as replies:
            replies.keep(model)
            return asyncio.run(all_of_them())


def test_what_was_answered_is_not_asked_again(tmp_path):
    hosted = Hosted(tmp_path / "replies.jsonl")
    calls = [("a", 0), ("a", 1), ("b", 0)]
    first = hosted.ask(*calls)
    assert first == ["reply 1", "reply 2", "reply 3"]
    assert hosted.ask(*reversed(calls), ("c", 0)) == ["reply 3", "reply 2", "reply 1", "reply 4"]
    assert hosted.asked == 4


def test_the_same_call_twice_is_two_replies_before_and_after(tmp_path):
    hosted = Hosted(tmp_path / "replies.jsonl")
    assert hosted.ask(("a", 0), ("a", 0)) == ["reply 1", "reply 2"]
    assert hosted.ask(("a", 0), ("a", 0), ("a", 0)) == ["reply 1", "reply 2", "reply 3"]


def test_a_reply_cut_by_a_kill_is_asked_for_again_and_a_broken_line_is_named(tmp_path):
    hosted = Hosted(tmp_path / "replies.jsonl")
    hosted.ask(("a", 0), ("b", 0))
    data = hosted.path.read_bytes()
    hosted.path.write_bytes(data[:-9])
    assert hosted.ask(("a", 0), ("b", 0)) == ["reply 1", "reply 3"]
    hosted.path.write_bytes(b"{]\n" + data)
    with pytest.raises(CorpusError, match=r"replies.jsonl:1"):
        hosted.ask(("a", 0))


def test_an_error_is_no_reply(tmp_path):
    hosted = Hosted(tmp_path / "replies.jsonl")
    with pytest.raises(ConnectionError):
        hosted.ask(("a", 0), fails=True)
    assert not hosted.path.read_bytes() and hosted.ask(("a", 0)) == ["reply 2"]
