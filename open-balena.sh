#!/usr/bin/env bash
# openBalena's command line: ./open-balena.sh help
#
# Needs Python 3.11 or newer and, once, access to a package index: the first call creates a virtual environment (.venv)
# next to this file from requirements.lock; later calls only check that it is up to date and run the command in it.

self=${BASH_SOURCE[0]}
[[ $self == */* ]] || self=./$self
while [[ -L $self ]]; do
  target=$(readlink -- "$self")
  [[ $target == /* ]] || target=${self%/*}/$target
  self=$target
done
root=${self%/*}

# If the caller closed a standard stream, bash opened this script in its place.
[[ /dev/stdin -ef $self ]] && exec </dev/null
[[ /dev/stdout -ef $self ]] && exec >/dev/null
[[ /dev/stderr -ef $self ]] && exec 2>/dev/null

# The environment contains a copy of the lock file it was created from, written last, with the same modification time.
# Comparing times needs no process; src/openbalena/bootstrap.py compares the contents.
made_from=$root/.venv/requirements.lock
if [[ ! -x $root/.venv/bin/python || ! -e $made_from ||
  $made_from -nt $root/requirements.lock || $made_from -ot $root/requirements.lock ]]; then
  for python in python3 python3.14 python3.13 python3.12 python3.11 ''; do
    "$python" -I -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break
  done
  if [[ -z $python ]]; then
    echo "error: Python 3.11 or newer was not found. On Debian 12 or newer: apt-get install python3 python3-venv" >&2
    exit 1
  fi
  "$python" -I "$root/src/openbalena/bootstrap.py" "$root" || exit
fi

exec "$root/.venv/bin/python" -I -X utf8 "$root/src/openbalena/__main__.py" "$@"
