"""The keyless scorers by name."""

from collections.abc import Callable

from eval.scorers.af_rules import reasoning_by_rules
from eval.scorers.compliance import compliance_by_rules
from eval.scorers.helpfulness import helpfulness_by_rules
from eval.scorers.records import Scored, Transcript
from eval.scorers.welfare import welfare_by_rules

RULES: dict[str, Callable[[Transcript], Scored]] = {
    "compliance": compliance_by_rules,
    "af_reasoning": reasoning_by_rules,
    "animal_welfare": welfare_by_rules,
    "helpfulness": helpfulness_by_rules,
}
