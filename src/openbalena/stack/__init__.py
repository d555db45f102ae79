"""Compose to Swarm: a list of rules that the compiler, the validator and the docs' table share."""

from openbalena.stack.compiler import Compiled, analyse, compile, without_services  # noqa: A004 - the contract's word
from openbalena.stack.content import ContentFile
from openbalena.stack.diagnostic import Diagnostic, Severity
from openbalena.stack.encryption import with_encryption
from openbalena.stack.render import render, stack_file

__all__ = [
    "Compiled",
    "ContentFile",
    "Diagnostic",
    "Severity",
    "analyse",
    "compile",
    "render",
    "stack_file",
    "with_encryption",
    "without_services",
]
