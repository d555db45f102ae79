#!/usr/bin/env bash
# openBalena's command line: ./open-balena.sh help
#
# Needs Python 3.11 or newer and, once, its package index: the first call makes a virtual environment (.venv) beside this
# file from requirements.lock; every later call only looks whether it is still the right one and starts the command in it.

self=${BASH_SOURCE[0]}
[[ $self == */* ]] || self=./$self
while [[ -L $self ]]; do
  target=$(readlink -- "$self")
  [[ $target == /* ]] || target=${self%/*}/$target
  self=$target
done
root=${self%/*}

# Where the caller closed a stream, bash has this very file in its place.
[[ /dev/stdin -ef $self ]] && exec </dev/null
[[ /dev/stdout -ef $self ]] && exec >/dev/null
[[ /dev/stderr -ef $self ]] && exec 2>/dev/null

# The environment keeps a copy of the lock it was made from, written last and with the lock's own time. Comparing times
# starts no process; src/openbalena/environment.py compares the contents.
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
  "$python" -I "$root/src/openbalena/environment.py" "$root" || exit
fi

exec "$root/.venv/bin/python" -I -X utf8 "$root/src/openbalena/__main__.py" "$@"
