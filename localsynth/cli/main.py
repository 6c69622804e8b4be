"""The `localsynth` command. Each group of verbs is a module that is light to import."""

from __future__ import annotations

import importlib
import io
import os
import sys
from typing import Any

import click

from localsynth.cli.exits import Exit, exit_code
from localsynth.cli.narration import complain, say
from localsynth.errors import LocalsynthError

# In the order of the help: the main verb, runs, rows, data, models, the rest.
_COMMANDS = {
    "generate": "generate:generate",
    "run": "runs:run",
    "pause": "runs:pause",
    "resume": "runs:resume",
    "stop": "runs:stop",
    "status": "runs:status",
    "ls": "rows:ls",
    "show": "rows:show",
    "replay": "rows:replay",
    "threshold": "threshold:threshold",
    "ui": "ui:ui",
    "serve": "serve:serve",
    "export": "data:export_command",
    "import": "data:import_command",
    "embed": "embed:embed",
    "handoff": "handoff:handoff",
    "merge": "merge:merge",
    "models": "models:models",
    "doctor": "doctor:doctor",
    "estimate": "estimate:estimate",
    "bench": "bench:bench",
    "where": "where:where",
}


class _Lazy(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(f"localsynth.cli.{module}"), name)
        return command


@click.group(
    cls=_Lazy,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
# By name: importlib.metadata takes as long to import as all the rest, and only --version needs it.
@click.version_option(package_name="localsynth", prog_name="localsynth")
@click.option("--demo", is_flag=True, help="Open the terminal UI on a recorded run; no model is needed.")
@click.pass_context
def cli(ctx: click.Context, *, demo: bool) -> None:
    """Make fine-tuning data on your own machine, review it, and keep it in one SQLite file.

    Without a command, on a terminal, the terminal UI opens.

    Start with: localsynth generate -n 20
    """
    if ctx.invoked_subcommand is not None:
        if demo:
            raise click.UsageError(f"--demo goes with no command, and not with {ctx.invoked_subcommand}")
        return
    if demo or (sys.stdin.isatty() and sys.stdout.isatty()):
        command = cli.get_command(ctx, "ui")
        assert command is not None
        ctx.invoke(command, demo=demo)
    else:
        click.echo(ctx.get_help())


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with one of the documented codes."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A character that this terminal's encoding does not know is shown as "?"; --json is ASCII and loses nothing.
        sys.stdout.reconfigure(errors="replace")
    sys.exit(_main(arguments))


def _main(arguments: list[str] | None) -> int:
    try:
        result: Any = cli.main(args=arguments, prog_name="localsynth", standalone_mode=False)
    except LocalsynthError as error:
        complain(error)
        return exit_code(error)
    except click.ClickException as error:
        error.show()
        return Exit.USAGE
    except (click.Abort, KeyboardInterrupt):
        say("localsynth: interrupted")
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # Whoever reads us has seen enough; the interpreter's own flush at exit must not fail once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.OK
    return result if isinstance(result, int) else Exit.OK
