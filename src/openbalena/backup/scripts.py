"""The shell scripts of a backup: POSIX sh, restic, rclone and PostgreSQL's client, which images/backup has.

Each saves one part of a set and prints `result` with restic's summary (JSON); `results` reads what they print, and
`progress` how far they are. The tags of restic's snapshots say which set and which part they are (`sets`).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping

from openbalena.backup import progress
from openbalena.base.names import BACKUP_SECRETS, MOVE_MARK, RESTORE_MARK
from openbalena.swarm import api_schema

_REPOSITORY, _LOGIN, _MANIFEST = BACKUP_SECRETS
SECRETS = "/run/secrets"
# The directory below which volumes are mounted. It is the path in the repository: the same one each time, or restic
# would read all files again.
VOLUMES = "/openbalena-volumes"
# Where the repository is mounted on the node that has it.
DIRECTORY = "/openbalena-repository"
# Where a backup is restored for a trial, in the container: a swarm does not remove a task's unnamed volume in time.
TRIAL = "/openbalena-trial"
PORT = 8080
USER = "openbalena"
# The beginning of a line of SERVE that names a damaged file, which was moved into the directory `damaged`.
MOVED = "moved"
# The line of SERVE before it listens: to check the indexes of a large repository takes longer than a client waits.
CHECKED = "checked"
# Exit code if the repository does not exist.
NO_REPOSITORY = 3
# The last line of a script of which any other line may be missing: in a cluster the end of a log can come too late.
COMPLETE = "complete"
# Lines are shorter than 16 KiB, at which the engine's log driver would split them.
LINE = 12000

# Prints a file with what FACTS printed in lines of `answers`.
ANSWERS = f"gzip </tmp/answered | base64 -w {LINE} | sed 's/^/answers /'"

# restic retries for 15 minutes (internal/backend/retry), also what will not change, such as a wrong key: too long here.
_OPEN_TIMEOUT = 60
_BEGIN = f"""set -eu
umask 077
. {SECRETS}/{_REPOSITORY}
export RESTIC_CACHE_DIR=/tmp/restic RESTIC_PROGRESS_FPS=0.5
open_repository() {{
    code=0
    output=$(timeout {_OPEN_TIMEOUT} restic cat --no-lock config 2>&1 >/dev/null) || code=$?
    # 10 since restic 0.17; before that, what the kinds of repositories say that do not exist.
    case "$code $output" in
    "0 "*) return ;;
    "10 "*|"1 "*"config file: "*"no such file or directory"*|"1 "*"config file: "*"does not exist"*)
        return {NO_REPOSITORY} ;;
    124*) echo "the repository could not be opened within {_OPEN_TIMEOUT} s:" \\
        "$(echo "$output" | sed -n 's/.*retrying after [^:]*: //p' | tail -n 1)" ;;
    *) echo "$output" ;;
    esac
    exit 1
}}
# Prints how far restic is, every 2 s, and why it retries; its summary and its errors go to files. $expected is the size
# in bytes, if known.
run_restic() {{
    {{
        {{ code=0; restic backup --json "$@" 2>&1 >&5 || code=$?; echo $code >/tmp/code; }} |
            tee /tmp/errors | sed -un 's/.*returned error, retrying after [^:]*: /{progress.RETRYING} /p'
    }} 5>&1 | sed -un -e '/"message_type":"summary"/w /tmp/summary' -e 's/,"current_files":.*/}}/' \\
        -e "s/^{{.message_type.:.status./{progress.MARK} ${{expected:-0}} &/p" -e '/^{progress.RETRYING} /p'
    return "$(cat /tmp/code)"
}}
save() {{ run_restic "$@" && [ -s /tmp/summary ]; }}
result() {{ echo "result $(cat /tmp/summary)"; }}
failed() {{ cat /tmp/errors; exit 1; }}
open_repository || missing=$?
"""
_REFUSE = f'[ -z "${{missing:-}}" ] || exit {NO_REPOSITORY}\n'
# The begin of a script that needs an existing repository.
OPENED = _BEGIN + _REFUSE
# Prints what a directory has. It fails if that cannot be read, such as on NFS, which must not look like an empty one.
# An empty file system has lost+found (mke2fs(8)).
CONTENT = f"""content() {{
    there=$(ls -A "$1") || return
    printf '%s\\n' "$there" | grep -v -x -e lost+found -e {RESTORE_MARK} || true
}}
"""
# The lock of a removal that was killed would stop every later backup. It is removed once it is 30 minutes old.
_CREATE = """if [ -z "${missing:-}" ]; then
    restic unlock >/dev/null 2>/tmp/errors || failed
elif ! restic init >/dev/null 2>/tmp/errors; then
    ! grep -q 'already contains keys' /tmp/errors || echo "The creation of the repository was interrupted: if there" \
        "are no backups in it, remove its directory keys, which is all that it has" >>/tmp/errors
    failed
fi
"""

# Waits for a service's name, which can be resolved only some moments after its task has started.
_REACH = """tries=0
until pg_isready -q {server}; do tries=$((tries + 1)); [ $tries -lt 30 ] || break; sleep 1; done
"""
_FACTS = """SELECT 'server ' || current_setting('server_version');
SELECT 'migrations ' || ({migrations});
SELECT format('SELECT ''rows '' || %L || '' '' || count(*) FROM %I', relname, relname) FROM pg_class
    WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY relname \\gexec
"""
# Prints the server's version, the migrations and the rows of each table.
FACTS = _FACTS.format(migrations=api_schema.QUERY)

# The counts are those of exactly the state that is dumped: both use one exported snapshot (pg_export_snapshot).
# A dump that was cut off must not look whole: restic cannot know that, so the mark is checked before the result.
_DATABASE = """
mkfifo /tmp/statements /tmp/answers
trap '' PIPE
psql -XAtq --no-password -v ON_ERROR_STOP=1 {connection} </tmp/statements >/tmp/answers 2>/tmp/refused &
exec 3>/tmp/statements 4</tmp/answers
refused() {{ cat /tmp/refused; exit 1; }}
echo "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT pg_export_snapshot();" >&3 || refused
read -r snapshot <&4 || refused
echo "SELECT coalesce(sum(pg_table_size(oid)), 0) FROM pg_class WHERE relkind = 'r'
    AND relnamespace = 'public'::regnamespace;" >&3 || refused
read -r expected <&4 || refused
{{ pg_dump --no-password --format=custom --compress=0 --snapshot="$snapshot" {connection} 2>/tmp/dumped ||
    echo failed >/tmp/broken; }} | save --stdin --stdin-filename database.dump {options} || failed
[ ! -e /tmp/broken ] || {{ cat /tmp/dumped; exit 1; }}
cat >&3 <<'END' || refused
{facts}SELECT 'end';
END
line=
while read -r line <&4 && [ "$line" != end ]; do echo "$line"; done >/tmp/answered
[ "$line" = end ] || refused
{answers}
exec 3>&-
[ -z "${{missing:-}}" ] || echo created
result
"""

# Files that vanish while restic reads are uploads that ended, and objects whose rows were deleted before: no saved row
# needs them. restic then exits with 3 and has saved all others; so it does if it cannot read a file, which is an error.
_VOLUME = """
{begin}code=0
run_restic {options} {directory} || code=$?
[ -s /tmp/summary ] || failed
if [ $code -eq 3 ]; then
    grep '"message_type":"error"' /tmp/errors >/tmp/unread || failed
    grep -v -e 'no such file or directory' -e '"Err":2[,}}]' /tmp/unread && exit 1
    echo "vanished $(wc -l </tmp/unread)"
elif [ $code -ne 0 ]; then
    failed
fi
result
"""

# A node that has lost its volume gets a new one for the task, which looks no different (Engine API, Mount).
_NOT_EMPTY = """{content}there=$(content {directory})
[ -n "$there" ] || {{ echo "it is empty, or was missing, although its service has run there"; exit 1; }}
"""

_FILE = """
save --stdin --stdin-filename {name} {options} <{file} || failed
result
"""

LIST = f"""{OPENED}
restic snapshots --json --tag openbalena >/tmp/snapshots 2>/tmp/errors || failed
gzip </tmp/snapshots | base64 -w {LINE}
"""

# The manifests go first: what is interrupted then leaves sets that count as interrupted, and not as damaged ones. Locks
# that killed tasks left are removed, if nobody has renewed them for 30 minutes (restic unlock).
_REMOVE = """
restic unlock >/dev/null 2>/tmp/errors || failed
forget() {{ [ $# -eq 0 ] || restic forget "$@" >/dev/null 2>/tmp/errors || failed; }}
forget {manifests}
forget {others}
restic prune >/dev/null 2>/tmp/errors || failed
"""

# rclone's server allows only new files, and the removal of locks (rclone serve restic, --append-only): a node that
# someone else controls can remove no backup during the run. It does not write them atomically: a full disk, or its end,
# can leave a part of one, and with a part of an index or snapshot restic would refuse all later backups. Each is named
# by the SHA-256 of its content. What is left in data is in no index, so restic ignores it.
SERVE = f"""set -eu
. {SECRETS}/{_REPOSITORY}
cd {DIRECTORY}
find index snapshots -type f -exec sha256sum {{}} + 2>/dev/null | while read -r sum name; do
    [ "$sum" = "${{name##*/}}" ] || {{ mkdir -p damaged && mv "$name" damaged/ && echo "{MOVED} $name"; }}
done
echo {CHECKED}
export RCLONE_USER={USER} RCLONE_PASS="$OPENBALENA_SERVER_PASSWORD" RCLONE_CONFIG=/tmp/rclone.conf
exec rclone serve restic --addr :{PORT} --append-only {DIRECTORY}
"""


def dump_manifest(snapshot: str) -> str:
    """The script that prints the manifest in `snapshot`, compressed."""
    return f"""{OPENED}
restic dump {shlex.quote(snapshot)} manifest.json >/tmp/manifest 2>/tmp/errors || failed
gzip </tmp/manifest | base64 -w {LINE}
"""


def remove_snapshots(manifests: Iterable[str], others: Iterable[str]) -> str:
    """The script that removes these snapshots, and all data that no snapshot needs any more."""
    # A word of a command has at most 128 KiB (execve(2)), and the beginnings of the ids are enough.
    first, then = (shlex.join(each[:16] for each in ids) for ids in (manifests, others))
    return OPENED + _REMOVE.format(manifests=first, others=then)


def save_database(server: Mapping[str, str], options: str) -> str:
    """The script that saves a database; `server` has `host`, `port`, `database` and `user`.

    It creates the repository if there is none. The password is in a libpq password file.
    """
    return (
        _BEGIN
        + _CREATE
        + reach_database(server)
        + _DATABASE.format(connection=connection(server), options=options, facts=FACTS, answers=ANSWERS)
    )


def reach_database(server: Mapping[str, str]) -> str:
    """The lines of a script that wait for the database; `server` as in `save_database`."""
    return f"export PGPASSFILE={SECRETS}/{_LOGIN} PGCONNECT_TIMEOUT=10\n" + _REACH.format(server=_address(server))


def connection(server: Mapping[str, str]) -> str:
    """The options of PostgreSQL's programs for the database; `server` as in `save_database`."""
    return f"{_address(server)} -U {shlex.quote(server['user'])} -d {shlex.quote(server['database'])}"


def _address(server: Mapping[str, str]) -> str:
    return f"-h {shlex.quote(server['host'])} -p {shlex.quote(server['port'])}"


def sql_text(value: str) -> str:
    """`value` as an SQL string."""
    return "'" + value.replace("'", "''") + "'"


def save_volume(volume: str, options: str, *, may_be_empty: bool = False) -> str:
    """The script that saves the volume that is mounted as `volume` below VOLUMES; it fails if that is empty, unless
    `may_be_empty`."""
    directory = f"{VOLUMES}/{volume}"
    # What MinIO has begun to write and not yet renamed, and the marks of this tool, are not data.
    excluded = " ".join(f"--exclude={directory}/{name}" for name in (".minio.sys/tmp", MOVE_MARK, RESTORE_MARK))
    begin = "" if may_be_empty else _NOT_EMPTY.format(content=CONTENT, directory=directory)
    return OPENED + _VOLUME.format(begin=begin, directory=directory, options=f"{excluded} {options}")


def save_file(secret: str, name: str, options: str) -> str:
    """The script that saves the content of `secret` as the file `name`."""
    return OPENED + _FILE.format(name=name, file=f"{SECRETS}/{secret}", options=options)


def options(domain: str, tags: Iterable[str], limit: int | None = None) -> str:
    """restic's options for a snapshot; `limit` is the largest upload rate in KiB/s."""
    words = ["--host", domain, *(word for tag in ("openbalena", *tags) for word in ("--tag", tag))]
    return shlex.join([*words, *(("--limit-upload", str(limit)) if limit else ())])
