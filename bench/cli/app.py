"""The command line: one file per verb, each a thin layer over the library. ``main`` is the console entry point.

A mistake the user can mend ends in one line on stderr and exit code 2; ``--debug`` (anywhere) shows the trace.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

import typer

from bench import __version__
from bench.cli import (
    aggregate,
    check,
    code,
    directions,
    edit,
    edit_targets,
    explain,
    fetch,
    gate,
    ls,
    plan,
    prepare,
    rate,
    reconcile,
    rehearse,
    report,
    repro,
    run,
    score,
    score_edits,
    score_video,
    time,
    train,
    video,
    video_targets,
)
from bench.device import out_of_memory
from bench.errors import BenchError, suggest
from bench.files import access_error

INTERRUPTED = 130

app = typer.Typer(
    name="bench",
    help="Measure, reproduce and extend GAN inversion. Every verb's --help ends with commands to copy.",
    add_completion=False,
    no_args_is_help=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
for module in (
    ls,
    plan,
    fetch,
    prepare,
    train,
    run,
    score,
    score_edits,
    time,
    rate,
    aggregate,
    report,
    directions,
    edit,
    edit_targets,
    video,
    score_video,
    video_targets,
    gate,
    explain,
    reconcile,
    check,
    repro,
    code,
    rehearse,
):
    verb = module.command
    app.command(verb.name, help=verb.help, epilog=verb.epilog)(verb.run)


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", help="Show the version and leave."),
    debug: bool = typer.Option(False, "--debug", help="Show the full trace of an error (may stand anywhere)."),
) -> None:
    if version:
        print(f"hfgi-bench {__version__}")
        raise typer.Exit()
    if context.invoked_subcommand is None:
        print(context.get_help())


def main(argv: Sequence[str] | None = None) -> None:
    """Console entry: run and leave with 0, 1 (a check failed), 2 (the user's to mend) or 130 (interrupted)."""
    raise SystemExit(run_cli(list(sys.argv[1:] if argv is None else argv)))


def run_cli(args: Sequence[str]) -> int:
    """Run one command and return its exit code; messages go to stderr."""
    debug = "--debug" in args or bool(os.environ.get("HFGI_BENCH_DEBUG"))
    try:
        result = app(args=[a for a in args if a != "--debug"], prog_name="bench", standalone_mode=False)
        if result == INTERRUPTED:  # some versions of the parser turn Ctrl-C into this code without a word
            raise KeyboardInterrupt
        return result if isinstance(result, int) else 0
    except BenchError as error:
        return _complain(error, str(error), debug, error.exit_code)
    except KeyboardInterrupt:
        return _complain(
            None, "interrupted; finished work is kept, the same command goes on from there", False, INTERRUPTED
        )
    except BrokenPipeError:  # `bench ls | head`
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  nothing more can be printed
        return 0
    except OSError as error:
        if error.filename is None and error.errno is None:
            raise
        return _complain(error, str(access_error(error)), debug, 2)
    except Exception as error:
        if type(error).__name__ == "Abort":
            return _complain(None, "interrupted", False, INTERRUPTED)
        if type(error).__name__ == "OutOfMemoryError":  # torch's, which is not imported for its name
            return _complain(error, str(out_of_memory(error)), debug, 2)
        if not hasattr(error, "format_message"):  # not one of the parser's
            raise
        return _complain(error, _usage(error, args), debug, 2)


def _complain(error: BaseException | None, message: str, debug: bool, code: int) -> int:
    if debug and error is not None:
        traceback.print_exception(error)
    print("error: " + " ".join(message.split()), file=sys.stderr)
    return code


def _usage(error: Exception, args: Sequence[str]) -> str:
    """A parser error in one line, with the nearest verb for a mistyped one."""
    verbs = [command.name for command in app.registered_commands if command.name]
    verb = next((a for a in args if not a.startswith("-")), "")
    if verb and verb not in verbs:
        close = suggest(verb, verbs, 1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        known = ", ".join(verbs)
        return f"unknown verb {verb!r}; expected one of: {known}. Fix: {hint}`bench --help` says what each does."
    message = error.format_message().rstrip(".")  # type: ignore[attr-defined]
    return f"{message}. Fix: `{' '.join(['bench', verb]).strip()} --help` shows options and examples."
