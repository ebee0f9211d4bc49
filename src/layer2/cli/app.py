"""The program ``layer2``: its commands, the options of every command, and the end of every run.

A command is a function that returns a ``Result``, or a coroutine that does, or raises. Each is imported when it is
used, so that the program starts quickly and ``layer2 proof verify`` imports no network library, and no event loop.
"""

from __future__ import annotations

import inspect
import logging
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import App, CycloptsError, Group, MissingArgumentError, Parameter

from layer2 import __version__
from layer2.cli.exit_status import ExitStatus, exit_status
from layer2.cli.output import Result, Terminal
from layer2.cli.session import Session, for_shell
from layer2.errors import Layer2Error, Outcome

__all__ = ["COMMANDS", "build", "main", "run"]

_HELP = "Move bitcoin between layers by atomic swaps, with portable proofs."
_STATUSES = (
    "Exit status: 0 done, 1 refused or failed, 2 outcome unknown or transfer still open, 3 wrong use, 4 action needed, "
    "5 unreachable, 130 interrupted. The result goes to stdout, everything else to stderr."
)
_EVERYWHERE = Group("Options of every command", sort_key=100)

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": (
        "demo_commands:demo",
        "Move bitcoin both ways on a local network, prove it, and try to forge the proofs.",
    ),
    "simnet up": ("network_commands:simnet_up", "Start the embedded network in a separate process."),
    "simnet down": ("network_commands:simnet_down", "Stop the embedded network."),
    "simnet mine": ("network_commands:simnet_mine", "Make blocks, of Bitcoin for example."),
    "devnet install": ("network_commands:devnet_install", "Build the real nodes into your cache."),
    "devnet up": ("network_commands:devnet_up", "Start the network of real nodes in separate processes."),
    "devnet down": ("network_commands:devnet_down", "Stop the network of real nodes."),
    "devnet mine": ("network_commands:devnet_mine", "Make blocks, of Bitcoin for example."),
    "devnet status": ("network_commands:devnet_status", "Show which processes of the devnet run."),
    "config init": ("config_commands:init", "Write a commented configuration file and its secret."),
    "config check": ("config_commands:check", "Check a configuration file. No node is asked."),
    "config show": ("config_commands:show", "Show the effective settings, secrets masked."),
    "doctor": ("doctor_commands:doctor", "Check every node, key, balance and provider, and show the remedies."),
    "balance": ("balance_commands:balance", "Show your balance on each layer."),
    "pairs": ("quote_commands:pairs", "Show the fees, limits and durations of each provider."),
    "quote": ("quote_commands:quote", "Request quotes from the providers. No transfer is started."),
    "transfer": ("transfer_commands:transfer", "Move bitcoin from one layer to another, and save the proof."),
    "list": ("reading_commands:list_transfers", "List your transfers, or the swaps of a provider."),
    "show": ("reading_commands:show", "Show one transfer."),
    "wait": ("transfer_commands:wait", "Resume a transfer and wait until it has ended."),
    "resume": ("transfer_commands:resume", "Resume every open transfer and wait until all have ended."),
    "rescue": ("rescue_commands:rescue", "Claim and refund what is open when the usual program cannot run."),
    "journal show": ("journal_commands:show", "Show the journal's owners and its transfers by state."),
    "journal add": ("journal_commands:add", "Allow the journal to hold transfers of this configuration too."),
    "journal check": ("journal_commands:check", "Check that the journal is sound and readable."),
    "journal backup": ("journal_commands:backup", "Copy the journal to a new file, also while it is in use."),
    "journal migrate": ("journal_commands:migrate", "Move the journal, with its open transfers, to another database."),
    "journal renew-register": (
        "journal_commands:renew_register",
        "Make a new register for one that was lost.",
    ),
    "journal release-register": (
        "journal_commands:release_register",
        "Use the journal without a register from now on.",
    ),
    "restore": ("journal_commands:restore", "Build a lost journal again, with its open transfers."),
    "proof verify": ("proof_commands:verify", "Check a proof, and show what it proves and what it leaves open."),
    "proof audit": ("proof_audit:audit", "Check many proofs, count each leg once, and sum."),
    "proof policy": ("proof_policy:template", "Print a commented policy file for proof verify and proof audit."),
    "proof complete": (
        "proof_completion:complete",
        "Add to a proof the evidence of your nodes and the statement of its provider.",
    ),
    "proof headers": ("proof_headers:headers", "Write the headers that connect a proof to a later block."),
    "proof show": ("proof_commands:show", "Show the terms of a proof: the parties, the amounts and the deadlines."),
    "proof page": ("proof_page:page", "Open the page that checks proofs in a browser."),
    "proof challenge": (
        "holder_commands:challenge",
        "Ask the holder of a proof to sign with a key of the taker.",
    ),
    "proof answer": ("holder_commands:answer", "Answer a verifier's challenge with a key of the taker."),
    "proof check-answer": ("holder_commands:check", "Check the answer of a proof's holder."),
    "contract deploy": ("contract_commands:deploy", "Deploy the HTLC contract on a layer, once for each chain."),
    "provider serve": ("provider_commands:serve", "Run a swap provider until it is stopped."),
    "worker": ("worker_commands:worker", "Carry out swaps of a provider or of a taker on this machine."),
}
"""Every command, its function in this package, and its line in the list of commands."""

_GROUPS = {
    "contract": "The HTLC contract of EVM layers.",
    "simnet": "An embedded network on this machine, without real money. Nothing to install.",
    "devnet": "A local network of real nodes, without real money.",
    "config": "The configuration file.",
    "proof": "Portable proofs of transfers.",
    "provider": "Run a swap provider.",
    "journal": "The durable record of transfers.",
}


def main() -> None:
    """The console script. Exits with the status of the run."""
    sys.exit(run(sys.argv[1:]))


def build(tokens: Sequence[str] = ()) -> App:
    """The application with all its commands, none of which is imported yet.

    Args:
        tokens: the command line. The command that it names has its whole help text, the others one line.
    """
    parameters = Parameter(negative="", show_default=False)
    app = App(
        name="layer2",
        help=_HELP,
        help_epilogue=_STATUSES,
        help_format="plaintext",
        version_flags=[],
        result_action="return_value",
        default_parameter=parameters,
    )
    groups = {
        name: App(name=name, help=text, version_flags=[], default_parameter=parameters)
        for name, text in _GROUPS.items()
    }
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

    def launch(
        *words: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
        json: Annotated[bool, Parameter(group=_EVERYWHERE)] = False,
        config: Annotated[Path | None, Parameter(alias="-c", group=_EVERYWHERE)] = None,
        verbose: Annotated[bool, Parameter(alias="-v", group=_EVERYWHERE)] = False,
        debug: Annotated[bool, Parameter(group=_EVERYWHERE)] = False,
        version: Annotated[bool, Parameter(group=_EVERYWHERE)] = False,
    ) -> ExitStatus:
        """Launch a command.

        Args:
            json: Write the result to stdout as one JSON object.
            config: The configuration file. Default: LAYER2_CONFIG, or layer2.toml in the current directory.
            verbose: Show whole hashes and keys, every change of a transfer, and the logs of the libraries.
            debug: Show tracebacks and debug logs.
            version: Show the version.
        """
        session = Session(Terminal(json=json), config, verbose)
        _log(verbose=verbose, debug=debug)
        return _run_guarded(app, words, session, version=version, debug=debug)

    app.meta.default(launch)
    try:
        status = app.meta(list(tokens), exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        Terminal(json="--json" in tokens).error(_wrong_use(error))
        return ExitStatus.WRONG_USE
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else ExitStatus.REFUSED
    # Help has no status.
    return status if isinstance(status, ExitStatus) else ExitStatus.DONE


def _run_guarded(app: App, words: Sequence[str], session: Session, *, version: bool, debug: bool) -> ExitStatus:
    """Run a command. Every exception becomes one sentence and a status."""
    terminal = session.terminal
    try:
        result = Result({"version": __version__}, [__version__]) if version else _dispatch(app, words, session)
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
        # The reader of stdout has closed it, so there is no place for a message.
        return ExitStatus.REFUSED
    except Exception as error:  # noqa: BLE001  # the last handler of the program: a message instead of a traceback
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
    given = dict.fromkeys(not_parsed, session)
    if not given and session.terminal.json:
        raise CycloptsError(msg="a command is missing; layer2 --help lists the commands")
    answer = command(*bound.args, **bound.kwargs, **given)
    if not inspect.iscoroutine(answer):
        return answer if isinstance(answer, Result) else None
    import asyncio

    # Ctrl-C and a service manager's SIGTERM have the same effect. A shell starts background jobs with SIGINT ignored,
    # and SIGTERM would then be ignored too.
    previous_int = signal.signal(signal.SIGINT, signal.default_int_handler)
    previous = signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        result: Result = asyncio.run(answer)
        return result
    finally:
        signal.signal(signal.SIGTERM, previous)
        signal.signal(signal.SIGINT, previous_int)


def _interrupted(session: Session) -> ExitStatus:
    if not session.under_way:
        session.terminal.error(Layer2Error("interrupted; this run had no transfer under way", code="interrupted"))
        return ExitStatus.INTERRUPTED
    first, *more = sorted(session.under_way)
    how = session.hint("resume") if more else session.hint("wait", first)
    if session.resume_with is not None:
        how = session.hint(session.resume_with)
    error = Layer2Error(
        f"interrupted; {'transfer ' + first + ' is' if not more else f'{1 + len(more)} transfers are'} still open, "
        f"and continues {'while a worker runs' if session.has_workers else 'only while layer2 runs'}",
        code="interrupted",
        outcome=Outcome.UNKNOWN,
        transfer_id=None if more else first,
        remedy=f"see the deadline: {session.hint('list', '--open')}; resume before it: {how}",
    )
    session.terminal.error(error)
    return ExitStatus.UNKNOWN


def _unexpected(error: Exception, session: Session) -> Layer2Error:
    under_way = ", ".join(sorted(session.under_way))
    return Layer2Error(
        f"internal error of layer2: {type(error).__name__}",
        code="internal",
        outcome=Outcome.UNKNOWN if under_way else Outcome.NOT_SENT,
        funds=f"the journal holds the open transfers: {under_way}" if under_way else None,
        remedy="run it again with --debug, and report the output",
    )


def _wrong_use(error: CycloptsError) -> Layer2Error:
    message = " ".join(str(error).split()).removesuffix(".")
    if isinstance(error, MissingArgumentError) and error.argument is not None and not error.tokens_so_far:
        name = error.argument.names[0]
        message = f"{name if error.argument.index is None else name.removeprefix('--').upper()} is missing"
    command = " ".join(("layer2", *(error.command_chain or ())))
    return Layer2Error(message, code="usage", remedy=f"{command} --help shows the usage")


def _log(*, verbose: bool, debug: bool) -> None:
    level = logging.DEBUG if debug else logging.INFO if verbose else logging.ERROR
    logging.basicConfig(stream=sys.stderr, level=level, format="%(levelname)s %(name)s: %(message)s", force=True)
