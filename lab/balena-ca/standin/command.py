"""cfssl's subcommands, with the options that are used here (cloudflare/cfssl v1.6.5, cli/)."""

import argparse
import base64
import json
import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any

from . import responder
from .authority import Authority
from .database import Database
from .server import Cfssl, Ocsp, serve


def main() -> None:
    """Run the subcommand in the process's arguments."""
    args = _parser().parse_args()
    try:
        _COMMANDS[args.command](args)
    except (responder.RefusedError, sqlite3.Error) as error:
        raise SystemExit(f"[CRITICAL] {error}") from None


def _serve(args: argparse.Namespace) -> None:
    serve(args.port, Cfssl, authority=Authority(args.ca, args.ca_key, _database(args)))


def _ocsprefresh(args: argparse.Namespace) -> None:
    signer = responder.Signer(args.ca, args.responder, args.responder_key)
    responder.refresh(signer, _database(args), timedelta(hours=int(args.interval.removesuffix("h"))))


def _ocspdump(args: argparse.Namespace) -> None:
    for body in _database(args).answers():
        print(base64.b64encode(body).decode())


def _ocspserve(args: argparse.Namespace) -> None:
    serve(args.port, Ocsp, answers=responder.answers(args.responses))


_COMMANDS: dict[str, Any] = {
    "serve": _serve,
    "ocsprefresh": _ocsprefresh,
    "ocspdump": _ocspdump,
    "ocspserve": _ocspserve,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cfssl", allow_abbrev=False)
    actions = parser.add_subparsers(dest="command", required=True)
    listening, database = argparse.ArgumentParser(add_help=False), argparse.ArgumentParser(add_help=False)
    listening.add_argument("-address")
    listening.add_argument("-port", type=int, required=True)
    database.add_argument("-db-config", type=Path, required=True)
    served = actions.add_parser("serve", parents=[listening, database])
    refreshed = actions.add_parser("ocsprefresh", parents=[database])
    actions.add_parser("ocspdump", parents=[database])
    answered = actions.add_parser("ocspserve", parents=[listening])
    for command, options in (
        (served, ("-ca", "-ca-key")),
        (refreshed, ("-ca", "-responder", "-responder-key")),
        (answered, ("-responses",)),
    ):
        for option in options:
            command.add_argument(option, type=Path, required=True)
    # cli/config.go: 4 * helpers.OneDay.
    refreshed.add_argument("-interval", default="96h")
    return parser


def _database(args: argparse.Namespace) -> Database:
    return Database(Path(json.loads(args.db_config.read_text())["data_source"]))
