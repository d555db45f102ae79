"""A trial restore of a backup: into a PostgreSQL that runs for it alone, in one container that is removed afterwards.

The database is restored completely, and its rows are counted. The objects are listed, not restored: of the images in
the database, the manifests are restored, and all that these refer to must be in the store.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from openbalena.backup import results, saving, scripts
from openbalena.backup.manifest import Manifest
from openbalena.base.errors import OperationError

# A restored database needs more room than its dump: its indexes.
_ROOM = 2
# At most so many problems of a kind are listed.
_SHOWN = 5

# Without locks: a task that is killed would leave one, and the next backup would wait for it.
_CHECK = """
export TMPDIR={trial} LC_ALL=C
mkdir -p {trial}
cd {trial}
room=$(df -Pk . | awk 'NR == 2 {{ print $4 }}')
[ "$room" -ge {room} ] ||
    {{ echo "there is room for $room KiB where the backup would be restored, expected {room} KiB"; exit 1; }}
restic --no-lock check --read-data-subset={percent}% >/tmp/errors 2>&1 || failed
restic --no-lock dump {settings} settings.tar.gz 2>/tmp/errors >settings.tar.gz || failed
tar -tzf settings.tar.gz >/dev/null 2>/tmp/errors || failed
rm settings.tar.gz
"""

# Nothing of it is kept. A container has too little shared memory for parallel workers.
_OPTIONS = "-c listen_addresses= -c fsync=off -c max_parallel_workers=0"

# The server refuses to run as root. It listens only on a socket in its directory.
_DATABASE = """
as_server() {{
    [ "$(id -u)" -ne 0 ] || set -- setpriv --reuid=postgres --regid=postgres --init-groups "$@"
    "$@"
}}
PATH=$PATH:$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)
mkdir server
chmod 711 .
[ "$(id -u)" -ne 0 ] || chown postgres server
as_server initdb -D server/data -U postgres --auth=trust --encoding=UTF8 --locale=C --no-sync >/tmp/errors 2>&1 ||
    failed
trap 'as_server pg_ctl -D server/data -m immediate stop >/dev/null 2>&1' EXIT
as_server pg_ctl -D server/data -w -l server/log -o "-k {trial}/server {options}" start >/dev/null ||
    {{ cat server/log; exit 1; }}
export PGHOST={trial}/server PGUSER=postgres
createdb restored 2>/tmp/errors || failed
{{ restic --no-lock dump {database} database.dump 2>/tmp/errors || echo failed >/tmp/broken; }} |
    pg_restore --exit-on-error --no-owner --no-privileges -d restored 2>/tmp/refused || echo failed >/tmp/unrestored
# If pg_restore refuses the dump, it closes the pipe, which is not an error of restic.
[ ! -e /tmp/broken ] || [ ! -s /tmp/errors ] || grep -q 'broken pipe' /tmp/errors || failed
[ ! -e /tmp/unrestored ] || {{ cat /tmp/refused; exit 1; }}
psql -XAtq -v ON_ERROR_STOP=1 -d restored <<'END' >/tmp/answered 2>/tmp/errors || failed
{facts}
END
{answers}
"""

# The store of the registry (distribution, registry/storage/paths.go), in a bucket or, in MinIO's volume, below a
# directory of that name. A row with the status success has all its objects (open-balena-api, POST image). The columns
# are those of open-balena-api; where they are missing, as in another program's database, there is nothing to check.
_IMAGES = """
psql -XAtq -v ON_ERROR_STOP=1 -d restored <<'END' >images 2>/tmp/errors || failed
SELECT $query$SELECT DISTINCT regexp_replace("is stored at-image location", '^[^/]*/', '') || ' ' ||
    substr("content hash", 8) FROM image WHERE status = 'success' AND "content hash" ~ '^sha256:[0-9a-f]{{64}}$'$query$
    WHERE (SELECT count(*) FROM information_schema.columns WHERE table_schema = 'public' AND table_name = 'image' AND
    column_name IN ('is stored at-image location', 'content hash', 'status')) = 3 \\gexec
END
blobs() {{ sed -n 's,^\\(..\\)\\(.*\\)$,/registry/v2/blobs/sha256/\\1/\\1\\2/data,p' | sort -u; }}
links() {{ sed 's,^\\(.*\\) \\(.*\\)$,/registry/v2/repositories/\\1/_manifests/revisions/sha256/\\2/link,' images; }}
grep -o '/registry/v2/[^"]*/\\(link\\|data\\)' paths | sort -u >there || true
{{ links; sed 's/.* //' images | blobs; }} | sort -u >wanted
comm -23 wanted there >missing
# The manifests that are there, restored: small files, which MinIO keeps in one piece with its own data around it.
root=$(grep -m 1 -o '"path":"[^"]*/registry/v2/blobs' paths | sed 's,"path":"\\(.*\\)/registry/v2/blobs,\\1,')
sed 's/.* //' images | blobs | comm -12 - there | sed "s,^,--include $root," |
    xargs -r -n 1000 restic --no-lock restore {store} --quiet --target restored >/dev/null 2>/tmp/errors || failed
mkdir -p restored
grep -rhao 'sha256:[0-9a-f]\\{{64\\}}' restored | sort -u >digests || true
sed 's/sha256://' digests | blobs | comm -23 - there >>missing
echo "images $(wc -l <images) $(wc -l <digests)"
sort -u missing >absent
echo "absent $(wc -l <absent)"
head -n {shown} absent | sed 's/^/missing /'
"""

_FILES = """
restic --no-lock ls --json {snapshot} >paths 2>/tmp/errors || failed
grep '"struct_type":"node"' paths | sed -n 's/.*"type":"file".*"size":\\([0-9]*\\).*/\\1/p' |
    awk '{{ n += 1; s += $1 }} END {{ printf "files {part} %.0f %.0f\\n", n, s }}'
"""


@dataclass(frozen=True)
class Trial:
    """What a trial restore found: `database` as the restored one answered, `images` as rows and `digests` that their
    manifests refer to, and by part the restored `files` and bytes.

    `absent` is how many objects the store lacks, `missing` the paths of some of them.
    """

    database: results.DatabaseFacts = field(default_factory=results.DatabaseFacts)
    files: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    images: int = 0
    digests: int = 0
    absent: int = 0
    missing: Sequence[str] = ()


def check_script(manifest: Manifest, percent: int) -> str:
    """The script that reads `percent` of the repository's data and all settings of the backup with `manifest`."""
    room = manifest.parts[saving.DATABASE].bytes * _ROOM // 1024
    stored = shlex.quote(manifest.parts[saving.SETTINGS].snapshot)
    check = _CHECK.format(trial=scripts.TRIAL, room=room, percent=percent, settings=stored)
    return scripts.OPENED + check


def script(manifest: Manifest, percent: int) -> str:
    """The script that does so, and then restores the backup for a trial."""
    parts = {name: shlex.quote(part.snapshot) for name, part in manifest.parts.items()}
    database = _DATABASE.format(
        trial=scripts.TRIAL,
        options=_OPTIONS,
        database=parts[saving.DATABASE],
        facts=scripts.FACTS,
        answers=scripts.ANSWERS,
    )
    text = [check_script(manifest, percent), database]
    for name in saving.VOLUMES:
        if name in parts:
            text.append(_FILES.format(snapshot=parts[name], part=name))
            if name == saving.OBJECTS:
                text.append(_IMAGES.format(store=parts[name], shown=_SHOWN))
    return "".join([*text, f"echo {scripts.COMPLETE}\n"])


def read_trial(lines: Sequence[str]) -> Trial:
    """What the script printed. Raises OperationError if that is not complete."""
    results.require_complete(lines)
    files: dict[str, tuple[int, int]] = {}
    numbers = {"images": (0, 0), "absent": (0, 0)}
    try:
        for kind, _, rest in (line.partition(" ") for line in lines):
            words = rest.split(" ")
            if kind == "files":
                files[words[0]] = int(words[1]), int(words[2])
            elif kind in numbers:
                numbers[kind] = int(words[0]), int(words[-1])
    except (ValueError, IndexError):
        raise OperationError(f"the result of the trial restore cannot be read: {'; '.join(lines[-5:])}") from None
    missing = tuple(line.removeprefix("missing ") for line in lines if line.startswith("missing "))
    images, absent = numbers["images"], numbers["absent"][0]
    return Trial(results.database_facts(lines), files, *images, absent, missing)


def problems(manifest: Manifest, found: Trial) -> Iterator[str]:
    """Why the backup is not what its manifest says; none if it is good."""
    different = [
        f"{table} has {found.database.rows.get(table, 'none')} instead of {rows}"
        for table, rows in sorted(manifest.rows.items())
        if found.database.rows.get(table) != rows
    ]
    if different:
        more = f" and {len(different) - _SHOWN} more" if len(different) > _SHOWN else ""
        yield f"the restored database has other rows than the manifest: {', '.join(different[:_SHOWN])}{more}"
    if tuple(found.database.migrations) != tuple(manifest.migrations):
        yield "the restored database has executed other migrations than the manifest says"
    for name in saving.VOLUMES:
        part = manifest.parts.get(name)
        if part and found.files.get(name) != (part.files, part.bytes):
            files, size = found.files.get(name, (0, 0))
            yield (
                f"{name} has {files} files with {size} bytes in the repository, and the manifest says {part.files} "
                f"with {part.bytes}"
            )
    if found.images and not found.digests:
        yield f"no manifest of the database's {found.images} images can be read from the store"
    if found.absent:
        yield (
            f"the store lacks {found.absent} objects of the images in the database, which cannot be pulled: "
            f"{', '.join(found.missing)}"
        )
