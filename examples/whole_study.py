"""A whole study in Python, without Hydra: corpora, adapters, arms, estimates, verdict, report.

    python examples/whole_study.py

What `make study` does, with the design in your own file. Expect it to take as long, and the report
at `outputs/examples/study/report.html`. The same command again does nothing.
"""

from typing import Any

from study.config import Primary, StudyConfig
from study.run import study

DESIGN = StudyConfig(
    experiment="my_study",
    universe_name="helpful_only",
    model="smollm2-harmless",
    corpora=["treatment", "swapped"],  # what a finding must differ between
    seeds=[0],  # three or more, and intervals speak of training rather than of one adapter
    prompts=["minimal", "full"],  # silent, and told: implicit, both, neither, prompted
    docgen=["n_docs=300"],
    finetune=["preset=laptop"],
    eval=["samples.query_limit=24", "samples.scratchpad_query_limit=6", "samples.benign_limit=32",
          "samples.scratchpad_form=held", "samples.scratchpad_max_tokens=64"],
    primary=Primary("gap.log_odds", "treatment-swapped"),  # named before anything runs
    out="outputs/examples/study",
)  # fmt: skip


def main(**changes: Any) -> None:
    """Run the design, or the design with some of its fields changed."""
    study(StudyConfig(**{**vars(DESIGN), **changes}))


if __name__ == "__main__":
    main()
