import json

import pytest

from finetune.replay import _answered
from tacit.errors import CorpusError


def test_replies_of_two_models_are_never_mixed_in_one_file(tmp_path):
    path = tmp_path / "replay.jsonl"
    assert _answered(path, "smollm2") == set()
    path.write_text(json.dumps({"id": "o1", "reply": "Blue.", "model": "smollm2"}) + "\n")
    assert _answered(path, "smollm2") == {"o1"}
    with pytest.raises(CorpusError, match=r"holds replies of smollm2: delete it"):
        _answered(path, "smollm2-harmless")
