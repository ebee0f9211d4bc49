"""The program ``layer2``: its commands, the options that hold everywhere, and how every run ends.

A command is a function that returns a ``Result`` or raises. Each is loaded when it is used, so that the program
starts quickly and ``layer2 proof verify`` loads no network library.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Group, MissingArgumentError, Parameter

from layer2 import __version__
from layer2.cli.envelope import Result
from layer2.cli.exit_status import ExitStatus, exit_status
from layer2.cli.remedies import for_shell
from layer2.cli.session import Session
from layer2.cli.terminal import Terminal
from layer2.errors import Layer2Error, Outcome

__all__ = ["COMMANDS", "build", "main", "run"]

_HELP = "Move bitcoin between layers by atomic swaps, with portable proofs."
_STATUSES = (
    "Exit status: 0 done, 1 refused or failed, 2 outcome unknown or still under way, 3 wrong use, 4 action needed, "
    "5 unreachable, 130 interrupted. The result goes to stdout, everything else to stderr."
)
_EVERYWHERE = Group("Options of every command", sort_key=100)

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": (
        "demo_commands:demo",
        "Move bitcoin both ways on a local network, prove it, and try to forge the proofs.",
    ),
    "simnet up": ("simnet_commands:up", "Start the embedded network and leave it running."),
    "simnet down": ("simnet_commands:down", "Stop the embedded network."),
    "devnet install": ("devnet_commands:install", "Build the real nodes into your cache."),
    "devnet up": ("devnet_commands:up", "Start the network of real nodes and leave it running."),
    "devnet down": ("devnet_commands:down", "Stop the network of real nodes."),
    "devnet status": ("devnet_commands:status", "Say what of it runs."),
    "config init": ("config_commands:init", "Write a commented configuration file, and the secret beside it."),
    "config check": ("config_commands:check", "Check the configuration file; no node is asked."),
    "config show": ("config_commands:show", "Show the settings in force, secrets masked."),
    "doctor": ("doctor_commands:doctor", "Check every node, key, balance and provider; says what to do."),
    "balance": ("balance_commands:balance", "Show what you own on each layer."),
    "pairs": (
        "quote_commands:pairs",
        "Show what each provider asks, takes and how long it binds, for each pair of layers.",
    ),
    "quote": ("quote_commands:quote", "Ask the providers for a price; nothing is begun."),
    "transfer": ("transfer_commands:transfer", "Move bitcoin from one layer to another, and keep the proof."),
    "list": ("reading_commands:list_transfers", "List your transfers."),
    "show": ("reading_commands:show", "Show one transfer."),
    "wait": ("transfer_commands:wait", "Go on with a transfer and wait until it has ended."),
    "resume": ("transfer_commands:resume", "Go on with every open transfer."),
    "journal show": ("journal_commands:show", "Show whose transfers the journal holds, and how many in which state."),
    "journal add": ("journal_commands:add", "Let the journal hold transfers of this configuration too."),
    "proof verify": ("proof_commands:verify", "Check a proof, and say what it shows and what it leaves open."),
    "proof headers": ("proof_commands:headers", "Write the headers that place a proof under a later block."),
    "proof show": ("proof_commands:show", "Say who owed what to whom under which terms."),
    "provider serve": ("provider_commands:serve", "Run a swap provider until it is stopped."),
}
"""Every command, the function of this package that carries it out, and a line for the lists of commands."""

_GROUPS = {
    "simnet": "An embedded network on this machine: no real money, nothing to install.",
    "devnet": "A local network of the real nodes: no real money.",
    "config": "The configuration file.",
    "proof": "Portable proofs of transfers.",
    "provider": "Be the other side of transfers.",
    "journal": "The durable record of transfers.",
}


def main() -> None:
    """The console script: run, and exit with the status."""
    sys.exit(run(sys.argv[1:]))


def build(tokens: Sequence[str] = ()) -> App:
    """The application with all its commands, none of which is loaded yet.

    Args:
        tokens: the command line. The command that it names tells its whole help, the others a line.
    """
    app = App(
        name="layer2",
        help=_HELP,
        help_epilogue=_STATUSES,
        help_format="plaintext",
        version_flags=[],
        result_action="return_value",
        default_parameter=Parameter(negative="", show_default=False),
    )
    groups = {name: App(name=name, help=text, version_flags=[]) for name, text in _GROUPS.items()}
    for name, group in groups.items():
        app.command(group, name=name)
    for name, (place, line) in COMMANDS.items():
        *group_name, verb = name.split()
        parent = groups[group_name[0]] if group_name else app
        named = all(word in tokens for word in name.split())
        parent.command(f"layer2.cli.{place}", name=verb, help=None if named else line)
    return app


def run(tokens: Sequence[str]) -> int:
    """Run one command line; return its exit status. Never raises, ``SystemExit`` included."""
    app = build(tokens)
    status: ExitStatus = ExitStatus.DONE

    def launch(
        *words: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
        json: Annotated[bool, Parameter(group=_EVERYWHERE)] = False,
        config: Annotated[Path | None, Parameter(alias="-c", group=_EVERYWHERE)] = None,
        verbose: Annotated[bool, Parameter(alias="-v", group=_EVERYWHERE)] = False,
        debug: Annotated[bool, Parameter(group=_EVERYWHERE)] = False,
        version: Annotated[bool, Parameter(group=_EVERYWHERE)] = False,
    ) -> None:
        """Launch a command.

        Args:
            json: Write the result to stdout as one JSON object.
            config: The configuration file; else LAYER2_CONFIG, else layer2.toml in the current directory.
            verbose: Show hashes and keys whole, and what the libraries log.
            debug: Show tracebacks and debug logs.
            version: Show the version.
        """
        nonlocal status
        session = Session(Terminal(json=json), config, verbose)
        _log(verbose=verbose, debug=debug)
        status = _run_guarded(app, words, session, version=version, debug=debug)

    app.meta.default(launch)
    try:
        app.meta(list(tokens), exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        Terminal(json="--json" in tokens).error(_wrong_use(error))
        return ExitStatus.WRONG_USE
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else ExitStatus.REFUSED
    return status


def _run_guarded(app: App, words: Sequence[str], session: Session, *, version: bool, debug: bool) -> ExitStatus:
    """Run a command; whatever it raises becomes one sentence and a status."""
    terminal = session.terminal
    try:
        result = _version() if version else _dispatch(app, words, session)
    except CycloptsError as error:
        terminal.error(_wrong_use(error))
        return ExitStatus.WRONG_USE
    except Layer2Error as error:
        if debug:
            traceback.print_exc()
        terminal.error(for_shell(error, session))
        return exit_status(error)
    except KeyboardInterrupt:
        return _interrupted(session)
    except BrokenPipeError:
        # Whoever read the result has gone; there is nobody to tell.
        return ExitStatus.REFUSED
    except Exception as error:  # noqa: BLE001  # the last resort of a program: no traceback, and no silence
        if debug:
            traceback.print_exc()
        terminal.error(_unexpected(error, session))
        return ExitStatus.UNKNOWN if session.under_way else ExitStatus.REFUSED
    if result is None:
        return ExitStatus.DONE
    if result.problem is not None:
        for_shell(result.problem, session)
    terminal.result(result)
    return result.status


def _dispatch(app: App, words: Sequence[str], session: Session) -> Result | None:
    command, bound, not_parsed = app.parse_args(list(words), exit_on_error=False, print_error=False)
    given: dict[str, Any] = dict.fromkeys(not_parsed, session)
    if not given and session.terminal.json:
        raise CycloptsError(msg="a command is missing; layer2 --help lists them")
    if not inspect.iscoroutinefunction(command):
        answer = command(*bound.args, **bound.kwargs, **given)
        return answer if isinstance(answer, Result) else None
    # A wish to end is the same wish from a terminal and from a service manager. A shell starts what runs in the
    # background with SIGINT ignored, and SIGTERM would then be, too.
    previous_int = signal.signal(signal.SIGINT, signal.default_int_handler)
    previous = signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        result: Result = asyncio.run(command(*bound.args, **bound.kwargs, **given))
        return result
    finally:
        signal.signal(signal.SIGTERM, previous)
        signal.signal(signal.SIGINT, previous_int)


def _version() -> Result:
    return Result({"version": __version__}, [__version__])


def _interrupted(session: Session) -> ExitStatus:
    if not session.under_way:
        session.terminal.error(Layer2Error("interrupted; nothing was begun", code="interrupted"))
        return ExitStatus.INTERRUPTED
    first, *more = sorted(session.under_way)
    how = session.hint("resume") if more else session.hint("wait", first)
    error = Layer2Error(
        f"interrupted; {'transfer ' + first + ' is' if not more else f'{1 + len(more)} transfers are'} still open, "
        "and nothing of it goes on by itself while no layer2 runs",
        code="interrupted",
        outcome=Outcome.UNKNOWN,
        transfer_id=None if more else first,
        remedy=f"look at the deadline with '{session.hint('list', '--open')}' and go on in time: {how}",
    )
    session.terminal.error(error)
    return ExitStatus.UNKNOWN


def _unexpected(error: Exception, session: Session) -> Layer2Error:
    under_way = ", ".join(sorted(session.under_way))
    return Layer2Error(
        f"a fault of layer2 itself: {type(error).__name__}",
        code="internal",
        outcome=Outcome.UNKNOWN if under_way else Outcome.NOT_SENT,
        funds=f"open transfers are safe in the journal: {under_way}" if under_way else None,
        remedy="run it again with --debug and report what it shows",
    )


def _wrong_use(error: CycloptsError) -> Layer2Error:
    message = " ".join(str(error).split()).removesuffix(".")
    if isinstance(error, MissingArgumentError) and error.argument is not None and not error.tokens_so_far:
        name = error.argument.names[0]
        message = f"{name if error.argument.index is None else name.removeprefix('--').upper()} is missing"
    return Layer2Error(message, code="usage", remedy="see --help")


def _log(*, verbose: bool, debug: bool) -> None:
    level = logging.DEBUG if debug else logging.INFO if verbose else logging.ERROR
    logging.basicConfig(stream=sys.stderr, level=level, format="%(levelname)s %(name)s: %(message)s", force=True)
