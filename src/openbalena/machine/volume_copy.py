"""Copying a volume to another one of the same engine, in passes: while its services run, then once they have stopped.

A pass copies what differs in mode, owner, size or modification time, and whatever has changed since the last pass began
(by the inode's change time, which no program can set: stat(2)). So after the services have stopped, only what they
changed during and after the last pass is copied, and the result is exact. The script needs what Debian's base and
busybox have.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from openbalena.base.errors import OperationError
from openbalena.base.names import COPY_MARK
from openbalena.machine.one_shot import OneShot, run_once
from openbalena.swarm.job import JobResult, error_text

_FROM, _TO = "/openbalena-from", "/openbalena-to"
_PURPOSE = "migrate"
# Seconds in which the change times of files that were copied just before the pass may be rounded.
_ROUNDING = 2
# POSIX: units of 1,024 bytes.
_BLOCK = 1024

# While the services run, files change and disappear during the copy: what tar says of them does not matter, since the
# next pass copies them again. In the last pass it does, and both sides are compared.
_COPY = f"""
set -eu
export LC_ALL=C
mkdir -p /tmp
entries() (
    cd "$1"
    complete=true
    find . -type f ! -path ./{COPY_MARK} SKIPPED -exec stat -c '%f %u %g %s %Y %n' {{}} + || complete=false
    find . ! -type f -exec stat -c '%f %u %g - - %n' {{}} + || complete=false
    find . -type l | while IFS= read -r link; do echo "link - - - - $link $(readlink "$link")"; done
    $complete
)
changes() (
    cd {_FROM}
    find . -type f ! -path ./{COPY_MARK} SKIPPED -exec stat -c '%Z %n' {{}} +
)
names() {{ grep -v '^link' | cut -d ' ' -f 6- | sort; }}
only_in_first() {{ sort "$1" "$2" "$2" | uniq -u; }}
running=RUNNING
tolerated() {{ "$@" || $running; }}
began=$(date +%s)
since=$(cat {_TO}/{COPY_MARK} 2>/dev/null || echo 0)
tolerated entries {_FROM} >/tmp/from
entries {_TO} >/tmp/to
sort -o /tmp/from /tmp/from
sort -o /tmp/to /tmp/to
names </tmp/from >/tmp/from-names
names </tmp/to >/tmp/to-names
only_in_first /tmp/to-names /tmp/from-names >/tmp/gone
(cd {_TO} && tr '\\n' '\\0' </tmp/gone | xargs -0 -r rm -rf)
only_in_first /tmp/from /tmp/to | names >/tmp/differing
tolerated changes >/tmp/changes
while read -r changed name; do
    [ "$changed" -lt $((since - {_ROUNDING})) ] || echo "$name"
done </tmp/changes | sort >/tmp/changed
sort -u /tmp/differing /tmp/changed >/tmp/copied
(cd {_FROM} && find . -type l) | sort -u - /tmp/copied >/tmp/list
cd {_FROM}
tr '\\n' '\\0' </tmp/list | xargs -0 -r sh -c '
    (tar -cf - --no-recursion "$@" || touch /tmp/failed) | tar -xpf - -C {_TO} || touch /tmp/failed
' sh 2>/tmp/errors
if ! $running; then
    [ ! -e /tmp/failed ] || {{ tail -n 3 /tmp/errors; exit 1; }}
    entries {_TO} >/tmp/to
    sort -o /tmp/to /tmp/to
    cmp -s /tmp/from /tmp/to || {{ echo "the copy differs: $(sort /tmp/from /tmp/to | uniq -u | head -n 1)"; exit 1; }}
    grep '^8' /tmp/from | names >/tmp/files || :
    sort /tmp/files /tmp/copied | uniq -d | while IFS= read -r name; do
        cmp "{_FROM}/$name" "{_TO}/$name"
    done
fi
echo "$began" >{_TO}/{COPY_MARK}
sync
echo "copied $(wc -l </tmp/copied)"
"""
_MEASURE = f"""
for volume in {_FROM}/*; do
    echo "size ${{volume##*/}} $(du -sk "$volume" | cut -f 1)"
done
echo "free - $(df -Pk {_FROM}/* | sed -n 2p | tr -s ' ' | cut -d ' ' -f 4)"
"""
_TAKE_INTO_USE = f"rm -f {_TO}/{COPY_MARK} && sync"


def script(skipped: Sequence[str], *, last: bool) -> str:
    """The script of a pass; `skipped` files are neither copied nor removed."""
    conditions = " ".join(f"! -path './{name}'" for name in skipped)
    return _COPY.replace("SKIPPED", conditions).replace("RUNNING", "false" if last else "true")


@dataclass(frozen=True)
class VolumeCopy:
    """A volume to copy: its name in the Compose file, and the Engine's names of both. `skipped` are files."""

    name: str
    source: str
    target: str
    skipped: Sequence[str] = ()


@dataclass(frozen=True)
class Copier:
    """Copies on the engine of `client`, in containers of `image`; `timeout` is in seconds, for each volume.

    `owner` is the Compose project's name.
    """

    client: Any
    owner: str
    image: str
    timeout: float

    def copy(self, volume: VolumeCopy, meanwhile: Callable[[], None], *, last: bool) -> int:
        """Copy what has changed since the last pass; returns the number of files. Both volumes must exist.

        In the `last` pass nothing may write to the source; the copy is then exact. Raises OperationError if it fails.
        """
        result = self._run(script(volume.skipped, last=last), {volume.source: _FROM}, {volume.target: _TO}, meanwhile)
        if not result.ok:
            raise OperationError(f"volume {volume.source} was not copied to {volume.target}: {error_text(result)}")
        return next((int(line.split()[1]) for line in result.lines if line.startswith("copied ")), 0)

    def take_into_use(self, volume: VolumeCopy) -> None:
        """Remove what the passes left in the copy."""
        result = self._run(_TAKE_INTO_USE, {}, {volume.target: _TO}, lambda: None)
        if not result.ok:
            raise OperationError(f"volume {volume.target} cannot be taken into use: {error_text(result)}")

    def measure(self, names: Sequence[str], meanwhile: Callable[[], None]) -> tuple[dict[str, int], int]:
        """The size of each volume and the space that is free where they are, in bytes."""
        result = self._run(_MEASURE, {name: f"{_FROM}/{name}" for name in names}, {}, meanwhile)
        if not result.ok:
            raise OperationError(f"could not measure the volumes {', '.join(names)}: {error_text(result)}")
        found = [line.split() for line in result.lines if line.startswith(("size ", "free "))]
        sizes = {name: int(size) * _BLOCK for kind, name, size in found if kind == "size"}
        return sizes, next(int(size) * _BLOCK for kind, _, size in found if kind == "free")

    def _run(
        self, script: str, reading: Mapping[str, str], writing: Mapping[str, str], meanwhile: Callable[[], None]
    ) -> JobResult:
        from docker.types import Mount

        mounts = [
            Mount(place, volume, type="volume", read_only=volume in reading, no_copy=True)
            for volume, place in {**reading, **writing}.items()
        ]
        task = OneShot(self.owner, _PURPOSE, self.image, script, {}, mounts, ("none",))
        return run_once(self.client, task, self.timeout, meanwhile)
