"""The command line: the table of verbs, and how a run ends.

Data goes to stdout, progress and notes to stderr. Exit codes: 0 all done; 2 done, but some items failed; 1 could not do
it; 130 interrupted, and resumable. The verbs stand in `ui.verbs`; heavy imports wait inside them, so that
`matlit --help` answers at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from ingest.errors import MatlitError
from ingest.settings import load_keys
from ui.command import DONE, FAILED, INTERRUPTED, Verbs
from ui.verbs import answers, bandgap, chat, evaluate, finetune, keywords, library, materials, summarize, system, tools

# llama.cpp, torch and ONNX Runtime otherwise spin on every core while they wait, which starves the reader processes.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

VERBS: tuple[click.Command, ...] = (  # in the order that --help shows: first things first
    library.demo,
    library.ingest,
    library.status,
    library.papers,
    library.remove,
    library.prune,
    library.verify,
    answers.search,
    answers.ask,
    answers.journal,
    summarize.summarize,
    chat.chat,
    keywords.keywords,
    evaluate.evaluate,
    materials.materials,
    tools.tool,
    bandgap.predict,
    finetune.finetune,
    system.settings,
    system.doctor,
    system.models,
    system.completion,
)


@click.group(
    cls=Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    invoke_without_command=False,
)
@click.version_option(package_name="matlit", prog_name="matlit")
def matlit() -> None:
    """Ask your materials papers, and see the page every answer comes from.

    Start with `matlit demo`, then `matlit ingest FOLDER_OF_PDFS` and `matlit ask "…"`.
    """


for verb in VERBS:
    matlit.add_command(verb)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug, as_json = "--debug" in given, "--json" in given
    try:
        load_keys()
        code = matlit.main(given, prog_name="matlit", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Abort:
        return interrupted()
    except KeyboardInterrupt:
        return interrupted()
    except click.exceptions.NoArgsIsHelpError as error:
        return _without_verb(error, as_json=as_json)
    except click.ClickException as error:
        return refuse(error.format_message(), hint=_usage_hint(error), as_json=as_json)
    except BrokenPipeError:
        # The reader of our output (head, less) went away: nothing is left to tell it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except MatlitError as error:
        if debug:
            raise
        return refuse(str(error), hint=error.hint, as_json=as_json)
    return code if isinstance(code, int) else DONE


def interrupted() -> int:
    """Say that the run was interrupted; what was complete is kept."""
    click.echo("interrupted; what was complete is kept, run the same command again to go on", err=True)
    return INTERRUPTED


def refuse(message: str, *, hint: str, as_json: bool) -> int:
    """Print one clear message and the next step."""
    if as_json:
        import json

        click.echo(json.dumps({"error": message, "hint": hint}, ensure_ascii=False, indent=2))
    click.echo(f"matlit: {message}", err=True)
    if hint:
        click.echo(f"  → {hint}", err=True)
    return FAILED


def _without_verb(error: click.exceptions.NoArgsIsHelpError, *, as_json: bool) -> int:
    """Answer a bare `matlit` with its help, and a bare `matlit eval` with the verbs that may stand behind it."""
    context = error.ctx
    if context is None or context.parent is None or not isinstance(context.command, click.Group):
        click.echo(error.message)
        return DONE
    name, verbs = context.command_path, context.command.list_commands(context)
    return refuse(f"{name} needs a verb behind it: {', '.join(verbs)}", hint=f"{name} --help", as_json=as_json)


def _usage_hint(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    return f"{context.command_path} --help" if context is not None else "matlit --help"


if __name__ == "__main__":
    sys.exit(main())
