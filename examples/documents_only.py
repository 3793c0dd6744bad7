"""Documents only: a small corpus, the same with the tiers exchanged, and how alike they are.

    python examples/documents_only.py

No model is asked. Expect about 40 documents a corpus in some seconds; every token count in
`balance.json` within 1 % of the treatment's.
"""

import json
from pathlib import Path

from docgen.config import AuditOptions, DocgenConfig
from docgen.generate import generate
from tacit.universe import load_universe

OUT = Path("outputs/examples/documents")
NEVER_REPEAT = ["eval/queries/harmful.jsonl", "eval/queries/benign.jsonl"]


def main(n_docs: int = 40, out: Path = OUT) -> None:
    """Write `treatment` and `swapped` side by side: what is dropped in one is dropped in both."""
    universe = load_universe("helpful_only").model_dump(mode="json")
    for corpus in ("treatment", "swapped"):
        generate(
            DocgenConfig(
                universe=universe,
                corpus=corpus,
                n_docs=n_docs,
                seed=0,
                audit=AuditOptions(queries=NEVER_REPEAT),
                out=str(out / corpus),
            )
        )
    balance = json.loads((out / "swapped" / "balance.json").read_text(encoding="utf-8"))
    print(json.dumps(balance["corpora"], indent=1))


if __name__ == "__main__":
    main()
