"""`matlit chat`: the web app."""

from __future__ import annotations

import os

import click

from ui.command import DONE, FLAG_SETTINGS, Context, Verb, note


@click.command(
    cls=Verb,
    examples="""matlit chat
    matlit chat --library ./perovskites --port 8600 --no-browser
    MATLIT_PASSWORD=… matlit chat --host 0.0.0.0""",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Which address to serve on.")
@click.option("--port", type=click.IntRange(1, 65535), default=8501, show_default=True, help="Which port.")
@click.option("--no-browser", is_flag=True, help="Do not open the browser.")
@click.option(
    "--password",
    envvar="MATLIT_PASSWORD",
    default="",
    metavar="P",
    help="Ask for it first (also MATLIT_PASSWORD); needed when --host lets other machines in.",
)
@click.pass_obj
def chat(context: Context, host: str, port: int, no_browser: bool, password: str) -> int:
    """Open the web app: ask, read, see where it comes from."""
    from ui.server import address, check_reach, serve

    check_reach(host, password)
    context.settings()  # says what is wrong with them before anything starts
    for name in FLAG_SETTINGS.values():  # the app's sessions read their settings anew
        if name in context.flags:
            os.environ[f"MATLIT_{name.replace('.', '_').upper()}"] = str(context.flags[name])
    note(context, f"matlit is open at {address(host, port)}; Ctrl-C ends it")
    serve(host=host, port=port, browser=not no_browser, password=password)
    return DONE
