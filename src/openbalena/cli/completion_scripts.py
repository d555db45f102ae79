"""The scripts by which bash, zsh and fish complete commands and options.

bash: bash(1), Programmable Completion. zsh runs the same script by its bashcompinit, zshcompsys(1). fish: complete(1).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from shlex import quote

# Values of an option or argument that the shell itself knows.
FILES, DIRECTORIES = ":files", ":directories"


@dataclass(frozen=True)
class Choice:
    """What can be typed. `values` are what an option takes: None without a value, empty if they are unknown."""

    word: str
    text: str
    values: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Call:
    """What can follow the command that is called by `words`: subcommands or arguments, and options."""

    words: tuple[str, ...]
    arguments: tuple[Choice, ...]
    options: tuple[Choice, ...]


_BASH = """\
# Completion of open-balena.sh, made by `open-balena.sh completion`.

# The subcommands or arguments of the command $1.
_open_balena_arguments() {
    case $1 in
ARGUMENTS    esac
}

# The options of the command $1; fails if it is none.
_open_balena_options() {
    case $1 in
OPTIONS    *) return 1 ;;
    esac
}

# The values of the option $2 of the command $1; fails if it takes none.
_open_balena_values() {
    case "$1 $2" in
VALUES    *) return 1 ;;
    esac
}

_open_balena() {
    local current=${COMP_WORDS[COMP_CWORD]} called='' option='' known='' index word
    for ((index = 1; index < COMP_CWORD; index++)); do
        word=${COMP_WORDS[index]}
        # bash splits --option=value into three parts.
        if [[ $word == '=' ]]; then
            continue
        elif [[ -n $option ]]; then
            option=''
        elif [[ $word == -* ]]; then
            if _open_balena_values "$called" "$word" >/dev/null; then option=$word; fi
        elif _open_balena_options "${called:+$called }$word" >/dev/null; then
            called=${called:+$called }$word
        fi
    done
    if [[ $current == '=' ]]; then current=''; fi
    if [[ -n $option ]]; then
        known=$(_open_balena_values "$called" "$option")
    elif [[ $current == -* ]]; then
        known=$(_open_balena_options "$called")
    else
        known=$(_open_balena_arguments "$called")
    fi
    COMPREPLY=()
    case $known in
    :files) known=-f ;;
    :directories) known=-d ;;
    *)
        while IFS='' read -r word; do COMPREPLY+=("$word"); done < <(compgen -W "$known" -- "$current")
        return 0
        ;;
    esac
    # zsh has no compopt.
    compopt -o filenames 2>/dev/null || true
    while IFS='' read -r word; do COMPREPLY+=("$word"); done < <(compgen "$known" -- "$current")
    return 0
}

complete -F _open_balena open-balena.sh
"""
_ZSH = "autoload -Uz bashcompinit && bashcompinit\n"
_FISH = """\
# Completion of open-balena.sh, made by `open-balena.sh completion`.

# Whether the arguments before the cursor that are not options begin with these; with `only`, whether they are these.
function __open_balena_called
    set -l typed (commandline -opc)
    set -e typed[1]
    set -l called
    set -l value 0
    for word in $typed
        if test $value = 1
            set value 0
        else if test "$word" = --project-directory
            set value 1
        else if not string match -q -- '-*' "$word"
            set -a called $word
        end
    end
    if test "$argv[1]" = only
        set -e argv[1]
        test (count $called) -eq (count $argv); or return 1
    end
    test (count $argv) -eq 0; and return 0
    # Within double quotes fish expands no command.
    set -l length (count $argv)
    test "$called[1..$length]" = "$argv"
end

complete -c open-balena.sh -f
"""


def bash(calls: Sequence[Call]) -> str:
    """The script for bash."""

    def names(call: Call) -> str:
        return " ".join(call.words)

    arguments = [(quote(names(call)), _words(each.word for each in call.arguments)) for call in calls]
    options = [(quote(names(call)), _words(each.word for each in call.options)) for call in calls]
    values = [
        (quote(f"{names(call)} {each.word}"), " ".join(each.values))
        for call in calls
        for each in call.options
        if each.values is not None
    ]
    script = _BASH.replace("ARGUMENTS", _cases(arguments), 1)
    return script.replace("OPTIONS", _cases(options), 1).replace("VALUES", _cases(values), 1)


def zsh(calls: Sequence[Call]) -> str:
    """The script for zsh."""
    return _ZSH + bash(calls)


def fish(calls: Sequence[Call]) -> str:
    """The script for fish."""
    return _FISH + "".join(chain.from_iterable(map(_fish_lines, calls)))


def _words(words: Iterable[str]) -> str:
    return " ".join(dict.fromkeys(words))


def _cases(table: Sequence[tuple[str, str]]) -> str:
    """Branches of a case, one for all patterns with the same output."""
    patterns: dict[str, list[str]] = {}
    for pattern, words in table:
        patterns.setdefault(words, []).append(pattern)
    return "".join(
        f"    {' | '.join(those)}) echo {quote(words)} ;;\n" for words, those in patterns.items() if words
    ) + (f"    {' | '.join(patterns[''])}) ;;\n" if "" in patterns else "")


def _fish_lines(call: Call) -> Iterator[str]:
    head = "complete -c open-balena.sh -n " + quote(" ".join(["__open_balena_called", *call.words]))
    alone = "complete -c open-balena.sh -n " + quote(" ".join(["__open_balena_called", "only", *call.words]))
    for each in call.arguments:
        if each.word == FILES:
            yield f"{head} -F\n"
        elif each.word == DIRECTORIES:
            yield f"{head} -a '(__fish_complete_directories)'\n"
        else:
            # A subcommand can be given once, a value of an argument again.
            yield f"{alone if each.text else head} -a {quote(each.word)}{_fish_text(each.text)}\n"
    for each in call.options:
        kind = f"-l {each.word[2:]}" if each.word.startswith("--") else f"-s {each.word[1:]}"
        yield f"{head if call.words else alone} {kind}{_fish_values(each.values)}{_fish_text(each.text)}\n"


def _fish_values(values: Sequence[str] | None) -> str:
    if values is None:
        return ""
    if FILES in values:
        return " -r -F"
    if DIRECTORIES in values:
        return " -x -a '(__fish_complete_directories)'"
    return f" -x -a {quote(' '.join(values))}" if values else " -x"


def _fish_text(text: str) -> str:
    # In fish's single quotes a backslash escapes a quote and itself.
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f" -d '{escaped}'" if text else ""
