"""What a process of tests has done before the first run in it: imports, a look at the disk."""

from functools import cache

import hydra._internal.hydra
import hydra.main  # noqa: F401
import inspect_ai._eval.evalset
import inspect_ai._util.package as package
import inspect_ai.agent._acp.server
import inspect_ai.hooks._startup

# Inspect takes the packages of Anthropic and OpenAI, 3,500 modules, whatever the model.
import inspect_ai.model._openai_responses
import inspect_ai.model._providers.anthropic  # noqa: F401

# For every task, Inspect looks through all installed distributions.
package.packages_distributions = cache(package.packages_distributions)
package.packages_distributions()
