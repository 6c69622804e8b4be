"""`localsynth serve`: the terminal UI in a browser."""

from __future__ import annotations

from pathlib import Path

import click

from localsynth.cli.options import store_option


@click.command(short_help="Show the terminal UI in a browser of this machine.")
@store_option
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8390,
    show_default=True,
    help="The port on 127.0.0.1; 0 takes any that is free.",
)
def serve(store: Path, port: int) -> int:
    """Show the terminal UI in a browser of this machine, until ctrl+c.

    It listens on the loopback interface only, and the address that it prints has a key in it. From another machine:
    ssh -L 8390:127.0.0.1:8390 HOST, then open that address there. Needs the extra `serve`.
    """
    from localsynth.cli.narration import data, say
    from localsynth.tui.serving import listen, serve

    with listen(port) as opened:
        say("Each page is a terminal UI of its own; runs go on when it is closed. ctrl+c ends the server.")
        serve(store, opened, data)
    return 0
