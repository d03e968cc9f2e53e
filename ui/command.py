"""What every verb of the command line shares: the options, their context, and how results are printed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import click

from ingest.errors import BadSettings
from ingest.settings import Settings, load_settings, load_valid_settings

if TYPE_CHECKING:
    from assistant import Assistant
    from ingest.library import Library
    from ingest.records import Filter

DONE, FAILED, PARTLY, INTERRUPTED = 0, 1, 2, 130


@dataclass(slots=True)
class Context:
    """What the options that every verb shares came to."""

    flags: dict[str, Any]
    json: bool = False
    quiet: bool = False
    debug: bool = False

    def settings(self) -> Settings:
        """Return the settings in force for this call; from here on, offline mode is enforced at the socket."""
        return _kept_to(load_settings(flags=self.flags))

    def valid_settings(self) -> tuple[Settings, tuple[BadSettings, ...]]:
        """Return what can be read of the settings, and what is wrong with the rest; enforced as in `settings`."""
        settings, faults = load_valid_settings(flags=self.flags)
        return _kept_to(settings), faults


def _kept_to(settings: Settings) -> Settings:
    if settings.models.offline:
        from assistant.offline import enforce

        enforce()
    return settings


SHARED_OPTIONS = (
    click.Option(["--library"], metavar="DIR", help="The library's folder (default: $MATLIT_LIBRARY, else your own)."),
    click.Option(["--model"], metavar="SPEC", help="The model that answers, e.g. extractive."),
    click.Option(["--offline"], is_flag=True, default=None, help="Refuse every connection to another machine."),
    click.Option(["--json"], is_flag=True, help="Print one JSON document on stdout."),
    click.Option(["--quiet", "-q"], is_flag=True, help="No progress and no notes."),
    click.Option(["--debug"], is_flag=True, help="Show the traceback of an error."),
)
FLAG_SETTINGS = {"library": "library.path", "model": "models.model", "offline": "models.offline"}


class Verb(click.Command):
    """A command that also takes the shared options, and shows its examples unwrapped."""

    def __init__(self, *args: Any, examples: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        own = {name for parameter in self.params for name in parameter.opts}
        self.params.extend(option for option in SHARED_OPTIONS if not own & set(option.opts))
        self.examples = examples

    def invoke(self, ctx: click.Context) -> Any:
        """Move the shared options into the context, then run the verb."""
        take_shared_options(ctx)
        return super().invoke(ctx)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples below the options."""
        if self.examples:
            with formatter.section("Examples"):
                for line in self.examples.strip().splitlines():
                    formatter.write_text(line.strip())


class Verbs(click.Group):
    """A group whose unknown verbs are answered with the nearest known ones."""

    command_class = Verb

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(SHARED_OPTIONS)

    def invoke(self, ctx: click.Context) -> Any:
        """Move the shared options into the context, then run the verb."""
        take_shared_options(ctx)
        return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in the order they are defined in: first things first."""
        return list(self.commands)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Find the verb that `args` begin with."""
        name = args[0] if args else ""
        if name and not name.startswith("-") and self.get_command(ctx, name) is None:
            known = self.list_commands(ctx)
            close = get_close_matches(name, known, n=2)
            meant = f"did you mean {' or '.join(close)}?" if close else f"known are {', '.join(known)}"
            raise click.UsageError(f"there is no verb {name!r}: {meant}", ctx)
        return super().resolve_command(ctx, args)


def take_shared_options(ctx: click.Context) -> None:
    """Collect the shared options of this level; what stands after the verb wins over what stands before it."""
    context: Context = ctx.obj if ctx.obj is not None else Context(flags={})
    ctx.obj = context
    for option, setting in FLAG_SETTINGS.items():
        if (value := ctx.params.pop(option, None)) is not None:
            context.flags[setting] = value
    for switch in ("json", "quiet", "debug"):
        setattr(context, switch, bool(ctx.params.pop(switch, False)) or getattr(context, switch))


def library(context: Context) -> Library:
    """Open the library in force, for reading."""
    from ingest.library import Library

    return Library.open(context.settings().library_path)


def assistant(context: Context) -> Assistant:
    """Open the assistant over the library in force."""
    from ui.engine import open_assistant

    return open_assistant(context.settings())


def where(asking: Assistant, filters: dict[str, Any]) -> Filter:
    """Turn the filter options into a `Filter`."""
    from ui.engine import make_filter

    return make_filter(asking.library, **filters)


def emit(context: Context, data: Any, show: Callable[[], object]) -> None:
    """Print `data` as one JSON document with `--json`, else call `show`."""
    if context.json:
        import json

        click.echo(json.dumps(data, ensure_ascii=False, indent=2, default=str))
    else:
        show()


def note(context: Context, text: str) -> None:
    """Print a note on stderr, unless `--quiet` or `--json` was given."""
    if not (context.quiet or context.json):
        click.echo(text, err=True)
