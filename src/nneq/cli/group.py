"""The command group: which commands there are, and what an error looks like.

Exit status: 0 done; 1 the model or the input is at fault; 2 wrong usage; 3 finished, but not
everything could be decided.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
import warnings
from collections.abc import Sequence
from typing import NoReturn

import click

from nneq.errors import NneqError

__all__ = ["cli", "main"]

# command -> what it does, in the order of --help; the module nneq.cli.<command> holds it
COMMANDS = {
    "inspect": "What is inside a model, and what can be solved.",
    "equations": "The model as equations.",
    "boundary": "Where two outputs are equal, solved with proof.",
    "derive": "From z_i = z_j to the form that is solved, step by step.",
    "regions": "The linear regions of a piecewise-linear network.",
    "verify": "The equations against the framework's own forward pass.",
    "demo": "A 2-3-2 network, start to finish, without a framework.",
}


class _LazyGroup(click.Group):
    """Imports a command's module only when the command is run."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        return list(COMMANDS)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002  # click's signature
        cmd_name: str,
    ) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"nneq.cli.{cmd_name}").command
        if not isinstance(command, click.Command):
            msg = f"nneq.cli.{cmd_name}.command is not a command"
            raise TypeError(msg)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  # click's signature
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _print_version(ctx: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        import importlib.metadata

        click.echo(f"nneq {importlib.metadata.version('nneq')}")
        ctx.exit()


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit status: 0 done; 1 the model or the input is at fault; 2 wrong usage; "
    "3 finished, but not everything could be decided.",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def cli(ctx: click.Context, debug: bool) -> None:
    """Turn a trained neural network into exact equations, and solve z_i = z_j with proof.

    MODEL is a file of ONNX (.onnx), Keras (.keras, .h5), TensorFlow (a SavedModel folder) or
    PyTorch (.pt2); - reads it from standard input.
    """
    ctx.obj = {"debug": debug}


def _fail(text: str, status: int = 1) -> NoReturn:
    """Print the error on standard error, free of control characters, and exit."""
    from nneq.cli.show import clean

    sys.stdout.flush()
    print(f"nneq: error: {clean(text)}", file=sys.stderr)
    raise SystemExit(status)


def _run(args: Sequence[str]) -> int:
    try:
        found = cli.main(args=list(args), prog_name="nneq", standalone_mode=False)
    except click.ClickException as error:
        sys.stdout.flush()
        error.show()
        return error.exit_code
    except click.Abort:
        print("nneq: interrupted", file=sys.stderr)
        return 1
    sys.stdout.flush()
    return found if isinstance(found, int) else 0


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit.

    Args:
        args: the arguments; those of the process when omitted.

    Raises:
        SystemExit: always; with status 0, 1, 2 or 3.
    """
    arguments = list(sys.argv[1:] if args is None else args)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if "--debug" in arguments:
        raise SystemExit(_run(arguments))
    try:
        with warnings.catch_warnings():
            for kind in (DeprecationWarning, FutureWarning):  # for developers of the frameworks
                warnings.simplefilter("ignore", kind)
            status = _run(arguments)
    except NneqError as error:
        from nneq.cli.words import advice

        _fail(advice(str(error)))
    except BrokenPipeError:
        # The reader of our output went away, as `| head` does: nothing more to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        status = 0
    except MemoryError:
        _fail("out of memory; the model or the question is too large for this machine")
    except OSError as error:
        if not error.filename:
            _fail(str(error))
        why = str(error.strerror).lower()
        _fail(f"cannot use {str(error.filename)!r}: {why}; give a path that can be read or written")
    except KeyboardInterrupt:
        _fail("interrupted")
    except Exception as error:  # noqa: BLE001  # the last door: a user never meets a traceback
        _fail(
            f"{type(error).__name__}: {error} (this is a fault of nneq itself; "
            "--debug shows where it happened)"
        )
    raise SystemExit(status)
