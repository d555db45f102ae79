"""The user's programs around a deploy to the cluster: `hooks/pre-deploy` and `hooks/post-deploy`.

As in Kamal (https://kamal-deploy.org/docs/hooks/overview/) a hook that fails stops the deploy.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Mapping

from openbalena.base.errors import OperationError, UsageError
from openbalena.base.polling import elapsed_reporter, poll
from openbalena.base.project import Project
from openbalena.operations.reporter import Reporter

PRE_DEPLOY, POST_DEPLOY = "pre-deploy", "post-deploy"
# Seconds: a hook may test the new images, or wait for a maintenance window to begin.
_TIMEOUT = 600.0
_INTERVAL = 0.2


def hook_values(settings: Mapping[str, str], command: str, message: str) -> dict[str, str]:
    """What a hook is told of the deploy."""
    return {"STACK": settings["STACK_NAME"], "DOMAIN": settings["DNS_TLD"], "COMMAND": command, "MESSAGE": message}


def run_hook(project: Project, name: str, values: Mapping[str, str], reporter: Reporter) -> None:
    """Run the hook `name` if there is one, with `values` as variables OPEN_BALENA_<NAME>; its output is progress.

    Raises UsageError if it is not an executable file, OperationError if it fails or takes over 10 minutes.
    """
    path = project.hooks / name
    if not path.exists():
        return
    if not (path.is_file() and os.access(path, os.X_OK)):
        raise UsageError(f"{path}: is not an executable file: run `chmod +x {path}`, or remove it")
    reporter.progress(f"running {path} …")
    environment = {**os.environ, **{f"OPEN_BALENA_{key}": value for key, value in values.items()}}
    # A file, not a pipe: what the hook leaves running in the background may keep a pipe open.
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(
                [path], cwd=project.directory, env=environment, stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT,
            )  # fmt: skip
        except OSError as error:
            raise OperationError(f"{path}: cannot be run: {error.strerror}") from None
        try:
            code = poll(
                process.poll,
                lambda code: code is not None,
                _TIMEOUT,
                _INTERVAL,
                elapsed_reporter(f"waiting for {path}", reporter.progress),
            )
        finally:
            process.kill()
            process.wait()
        output.seek(0)
        for line in output.read().decode(errors="replace").splitlines():
            reporter.progress(f"  {line}")
    if code is None:
        raise OperationError(f"{path}: did not finish within {_TIMEOUT:.0f} s")
    if code:
        raise OperationError(f"{path}: failed with exit code {code}")
