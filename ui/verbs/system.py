"""Verbs about matlit itself: what is set, what works here, completion for shells."""

from __future__ import annotations

import click

from ingest.errors import BadInput
from ui.command import DONE, FAILED, Context, Verb, emit


@click.command(cls=Verb)
@click.pass_obj
def settings(context: Context) -> int:
    """Print every setting in force, and where its value came from."""
    from ui.show import show_settings

    rows = context.settings().rows()
    emit(context, rows, lambda: show_settings(rows))
    return DONE


@click.command(cls=Verb)
@click.pass_obj
def doctor(context: Context) -> int:
    """Check what works here, and say how to mend the rest."""
    from assistant.doctor import examine
    from ui.show import show_checks

    checks = examine(context.settings())
    emit(context, [check.to_json() for check in checks], lambda: show_checks(checks))
    return DONE if all(check.ok or check.optional for check in checks) else FAILED


@click.command(
    cls=Verb,
    examples="""matlit completion bash >> ~/.bashrc
matlit completion fish > ~/.config/fish/completions/matlit.fish""",
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_obj
def completion(context: Context, shell: str) -> int:
    """Print the completion script for your shell."""
    from click.shell_completion import get_completion_class

    script = get_completion_class(shell)
    if script is None:
        raise BadInput(f"no completion for {shell!r}")
    source = script(click.get_current_context().find_root().command, {}, "matlit", "_MATLIT_COMPLETE").source()
    emit(context, {"shell": shell, "script": source}, lambda: click.echo(source))
    return DONE
