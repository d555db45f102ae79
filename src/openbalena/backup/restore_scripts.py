"""The shell scripts of a restore, as those of a backup (`scripts`).

Each can be run again after it was interrupted, and refuses to touch data that is not from the same backup. A volume has
a mark with the backup's id while and after it is filled; the database has one in the comment on a table, which
PostgreSQL sets in the same transaction as everything else.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping

from openbalena.backup.scripts import (
    ANSWERS,
    COMPLETE,
    CONTENT,
    FACTS,
    LINE,
    OPENED,
    VOLUMES,
    connection,
    reach_database,
)
from openbalena.base.names import RESTORE_MARK

# Exit code if there is other data where something should be restored.
OCCUPIED = 4
# What is in the database, as `database_state` prints it.
EMPTY, RESTORED, OTHER = "empty", "restored", "other"
# Printed in place of everything else if a former run has completed what the script does.
BEFORE = "restored before"

# Free space by POSIX `df -kP`, whose first field is the file system: volumes that are on the same one share it.
_INSPECT = """set -eu
%sspace() { df -kP "$2" | awk -v name="$1" 'END { print "space", name, $4, $1 }'; }
server=$(pg_restore --version) && echo "server ${server##*) }"
space / /
for volume in %s/*; do
    [ -d "$volume" ] || continue
    name=${volume##*/}
    space "$name" "$volume"
    [ ! -e "$volume/%s" ] || echo "mark $name $(cat "$volume/%s")"
    data=$(content "$volume")
    [ -z "$data" ] || echo "used $name"
done
echo %s
"""

_FORGET = """set -eu
rm -f %s/*/%s
sync
"""

_EMPTY = """set -eu
for volume in %s/*; do find "$volume" -xdev -mindepth 1 -delete; done
"""

_VOLUME = """
{content}mark={directory}/{mark}
found=$(cat "$mark" 2>/dev/null || true)
if [ "$found" = {done} ]; then echo "{before}"; exit; fi
data=$(content {directory})
if [ "$found" != {id} ] && [ -n "$data" ]; then echo "the volume has data"; exit {occupied}; fi
echo {id} >"$mark"
restic restore --quiet --target {directory} {snapshot}:{directory} >/tmp/output 2>/tmp/errors || failed
echo "files $(find {directory} -type f ! -path "$mark" | wc -l)"
sync
echo {done} >"$mark"
"""

# psql reads to the end of its input whatever ends it, and rolls back what was not committed: an interrupted restore, a
# damaged or truncated dump and one that does not fit leave the database as it was.
_DATABASE = """
ask() {{ psql -XAtq --no-password -v ON_ERROR_STOP=1 {connection} "$@"; }}
refused() {{ cat /tmp/refused; exit 1; }}
state=$(ask 2>/tmp/refused <<'END'
{state}
END
) || refused
case $state in
{restored}) echo "{before}"; exit ;;
{empty}) ;;
*) echo "the database has other data"; exit {occupied} ;;
esac
statements() {{
    echo 'BEGIN;'
    {{ restic dump {snapshot} database.dump 2>/tmp/errors || echo failed >/tmp/broken; }} |
        pg_restore --no-owner --no-privileges --no-comments --file=- 2>/tmp/unpacked || echo failed >/tmp/broken
    [ ! -e /tmp/broken ] || return 0
    cat <<'END'
{checks}COMMENT ON TABLE public.migration IS {mark};
SET search_path TO public;
{changes}{facts}COMMIT;
ANALYZE;
END
}}
statements | ask >/tmp/answers 2>/tmp/refused || {{ cat /tmp/refused /tmp/unpacked /tmp/errors; exit 1; }}
[ ! -e /tmp/broken ] || {{ cat /tmp/errors /tmp/unpacked; exit 1; }}
gzip </tmp/answers | base64 -w {line} | sed 's/^/answers /'
"""

_ROWS = """DO $check$ BEGIN IF (SELECT count(*) FROM public."{table}") <> {rows} THEN
RAISE EXCEPTION 'table "{table}" does not have the {rows} rows that the manifest says'; END IF; END $check$;
"""

# Whether there is anything in the schema that the api uses, and from which backup.
_STATE = """SELECT CASE
    WHEN obj_description(to_regclass('public.migration'), 'pg_class') = {mark} THEN '{restored}'
    WHEN NOT EXISTS (SELECT FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v'))
        THEN '{empty}'
    ELSE '{other}' END;"""


def inspect_volumes() -> str:
    """The script that prints which volumes have data or a mark, the free space, and PostgreSQL's version."""
    return _INSPECT % (CONTENT, VOLUMES, RESTORE_MARK, RESTORE_MARK, COMPLETE)


def forget_restores() -> str:
    """The script that removes the mark from each of its volumes, which then counts as one with other data."""
    return _FORGET % (VOLUMES, RESTORE_MARK)


def empty_volumes() -> str:
    """The script that deletes everything in its volumes."""
    return _EMPTY % VOLUMES


def restore_volume(volume: str, snapshot: str, data: str) -> str:
    """The script that fills the volume that is mounted as `volume` below VOLUMES, and prints its number of files."""
    directory = f"{VOLUMES}/{volume}"
    return OPENED + _VOLUME.format(
        directory=directory,
        mark=RESTORE_MARK,
        id=shlex.quote(data),
        done=shlex.quote(done(data)),
        content=CONTENT,
        snapshot=shlex.quote(snapshot),
        occupied=OCCUPIED,
        before=BEFORE,
    )


def done(data: str) -> str:
    """The mark of a volume that was restored completely from `data`, as `restoring.origin` names it."""
    return f"{data} done"


def database_state(server: Mapping[str, str], users: Iterable[str], data: str) -> str:
    """The script that prints EMPTY, RESTORED (from this backup) or OTHER; `server` as in `save_database`.

    It asks as the first of `users` that the database accepts.
    """
    psql = "psql -XAtq --no-password -v ON_ERROR_STOP=1 -f /tmp/state"
    asks = (f"answer=$({psql} {connection({**server, 'user': user})} 2>&1)" for user in users)
    begin = f"set -eu\n{reach_database(server)}cat >/tmp/state <<'END'\n{_state(data)}\nEND\n"
    return f'{begin}{" || ".join(asks)} || failed=1\necho "$answer"; exit "${{failed:-0}}"\n'


def restore_database(
    server: Mapping[str, str], snapshot: str, data: str, rows: Mapping[str, int], changes: str = ""
) -> str:
    """The script that fills an empty database, changes it, and prints the same facts as `save_database`.

    It fails, and leaves the database empty, if a table of `rows` does not have exactly that number of rows before the
    `changes`, which are SQL.
    """
    checks = "".join(_ROWS.format(table=table.replace('"', '""'), rows=number) for table, number in rows.items())
    return (
        OPENED
        + reach_database(server)
        + _DATABASE.format(
            connection=connection(server),
            state=_state(data),
            empty=EMPTY,
            restored=RESTORED,
            snapshot=shlex.quote(snapshot),
            checks=checks,
            mark=_mark(data),
            changes=changes,
            facts=FACTS,
            occupied=OCCUPIED,
            before=BEFORE,
            line=LINE,
        )
    )


def ask_database(server: Mapping[str, str], query: str) -> str:
    """The script that prints what the database answers to `query`, as `save_database` prints its facts."""
    psql = f"psql -XAtq --no-password -v ON_ERROR_STOP=1 {connection(server)}"
    output = ">/tmp/answered 2>/tmp/errors <<'END' || { cat /tmp/errors; exit 1; }"
    return f"set -eu\n{reach_database(server)}{psql} {output}\n{query}END\n{ANSWERS}\n"


def dump_settings(snapshot: str) -> str:
    """The script that writes the settings in `snapshot` to /tmp/settings."""
    return f"{OPENED}\nrestic dump {shlex.quote(snapshot)} settings.tar.gz >/tmp/settings 2>/tmp/errors || failed\n"


def dump_authority(snapshot: str) -> str:
    """The script that prints the root certificate in the settings in `snapshot`, which is public."""
    return f"{dump_settings(snapshot)}tar -xzOf /tmp/settings pki/ca-0.pem\n"


def _state(data: str) -> str:
    return _STATE.format(mark=_mark(data), empty=EMPTY, restored=RESTORED, other=OTHER)


def _mark(data: str) -> str:
    """The comment on the table, as an SQL string; neither an id nor a domain has quotes (saving.new_set_id)."""
    return f"'openBalena: restored from backup {data}'"
