"""Every rule, in the order in which they run: `deploy` first, as rules below it add to what the service says there."""

from collections.abc import Mapping

from openbalena.stack.rule import Rule
from openbalena.stack.rules import deploy, impossible, irrelevant, mounts, network, supported

RULES: Mapping[str, Rule] = (
    deploy.RULES | impossible.RULES | irrelevant.RULES | supported.RULES | mounts.RULES | network.RULES
)
