"""Verbs about matlit itself: what is set, what works here, completion for shells."""

from __future__ import annotations

from typing import Any

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

    checks = examine(*context.valid_settings())
    emit(context, [check.to_json() for check in checks], lambda: show_checks(checks))
    return DONE if all(check.ok or check.optional for check in checks) else FAILED


@click.command(
    cls=Verb,
    examples="""matlit models
matlit models get small
matlit ask "Why does LiFePO4 conduct poorly?" --model gguf/small""",
)
@click.argument("action", required=False, type=click.Choice(["get"]))
@click.argument("name", required=False, type=click.Choice(["small"]))
@click.pass_obj
def models(context: Context, action: str | None, name: str | None) -> int:
    """List the forms a model can be named in and what each still needs, or get the small one for this machine."""
    from assistant.llms import get_small, known_models
    from assistant.pricing import PRICES_AS_OF, note

    if action:
        path = get_small(offline=context.settings().models.offline)
        emit(context, {"spec": "gguf/small", "path": str(path)}, lambda: click.echo(f"gguf/small is at {path}"))
        return DONE
    rows = [row | {"price": note(row["example"]) if "/" in row["spec"] else ""} for row in known_models()]
    emit(context, {"prices_as_of": PRICES_AS_OF, "models": rows}, lambda: show_models(rows, PRICES_AS_OF))
    return DONE


def show_models(rows: list[dict[str, Any]], as_of: str) -> None:
    """Print one line per form of spec, with what it still needs."""
    for row in rows:
        ready = "ready" if row["ready"] else f"needs: {row['missing']}"
        click.echo(f"{row['spec']:<28} {row['what']}\n{'':<28} e.g. --model {row['example']}   ({ready})")
    click.echo(f"Costs are reckoned with list prices as of {as_of}; $MATLIT_PRICES names a file with newer ones.")


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
