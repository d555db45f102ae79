"""The deployment on the lab, as the checks of `verify` see it."""

import sys

from openbalena.base.project import Project
from openbalena.operations.verify import VerifyOptions, verification_target
from openbalena.operations.workspace import Workspace
from openbalena.verify import Target


def lab_target(project: Project) -> Target:
    """What `verify --lab` checks; progress goes to stderr."""
    return verification_target(VerifyOptions(), Workspace(project, lab=True), lambda text: print(text, file=sys.stderr))
