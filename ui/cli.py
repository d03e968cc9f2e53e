"""The command line: every verb parses, calls one function, and prints what it gives.

Data goes to stdout, progress and notes to stderr. Exit codes: 0 all done; 2 done, but some items failed; 1 could not do
it; 130 interrupted, and resumable. Heavy imports wait inside the verbs, so that `matlit --help` answers at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ingest.errors import BadInput, MatlitError
from ingest.settings import Settings, load_keys, load_settings

if TYPE_CHECKING:
    from assistant import Assistant
    from assistant.retrieve import Mode
    from ingest.library import Library
    from ingest.records import Filter

DONE, FAILED, PARTLY, INTERRUPTED = 0, 1, 2, 130

# llama.cpp, torch and ONNX Runtime otherwise spin on every core while they wait, which starves the reader processes.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


@dataclass(slots=True)
class Context:
    """What the options that every verb shares came to."""

    flags: dict[str, Any]
    json: bool = False
    quiet: bool = False
    debug: bool = False

    def settings(self) -> Settings:
        """Return the settings in force for this call; from here on, offline mode is enforced at the socket."""
        settings = load_settings(flags=self.flags)
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


@matlit.command(
    examples="""matlit demo
matlit demo ./try-it"""
)
@click.argument("folder", type=click.Path(path_type=Path), required=False)
@click.option("--question", help="Ask this instead of the sample question.")
@click.pass_obj
def demo(context: Context, folder: Path | None, question: str | None) -> int:
    """Build the sample library in a fresh FOLDER and answer a question from it."""
    from assistant.demo import run_demo
    from ui.show import IngestProgress, show_answer

    with IngestProgress(quiet=context.quiet or context.json) as progress:
        result = run_demo(folder, question=question, on_event=progress.show)
    emit(context, result.answer.to_json(), lambda: show_answer(result.answer))
    note(context, f"Sample library: {result.folder}")
    note(context, f'Ask on: matlit ask --library {result.folder} "Why does PBE underestimate band gaps?"')
    return DONE


@matlit.command(
    examples="""matlit ingest ~/papers
    matlit ingest "2024/*.pdf" notes.docx --manifest papers.csv
    matlit ingest ~/papers --prune          (and forget files that are gone)
    matlit ingest secret.pdf --password P"""
)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--workers", type=click.IntRange(0, 256), help="Reader processes (default: one per core).")
@click.option("--password", metavar="P", help="For encrypted PDFs.")
@click.option("--rebuild", is_flag=True, help="Build the library anew, with the present embedder and chunking.")
@click.option("--prune", is_flag=True, help="Also take out papers whose files are gone.")
@click.option("--retry-failed", is_flag=True, help="Read files again that failed before and have not changed.")
@click.option("--manifest", type=click.Path(path_type=Path), metavar="CSV", help="Titles, DOIs, … by file_location.")
@click.option("--look-up", is_flag=True, help="Complete titles and authors from Crossref and OpenAlex.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Stop after N files.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.pass_obj
def ingest(context: Context, /, paths: tuple[str, ...], **options: Any) -> int:
    """Bring files, folders or globs (PDF, text, Markdown, DOCX, HTML, JATS) into the library."""
    from ui.engine import run_ingest
    from ui.show import IngestProgress, show_ingest_report

    with IngestProgress(quiet=context.quiet or context.json) as progress:
        report = run_ingest(context.settings(), paths, on_event=progress.show, **options)
    emit(context, report.to_json(), lambda: show_ingest_report(report))
    if report.failed:
        return PARTLY if report.papers else FAILED
    return DONE


@matlit.command()
@click.pass_obj
def status(context: Context) -> int:
    """Tell what is in the library."""
    from ui.show import show_mapping

    found = library(context).status()
    emit(context, found, lambda: show_mapping(found))
    return DONE


@matlit.command(
    examples="""matlit papers
matlit papers --json | jq '.[].title'"""
)
@click.argument("words", nargs=-1, metavar="[WORDS]...")
@click.pass_obj
def papers(context: Context, words: tuple[str, ...]) -> int:
    """List the papers, or those whose title, authors or file name hold all WORDS."""
    from ui.engine import matching_papers
    from ui.show import paper_to_json, show_papers

    found = matching_papers(library(context).papers(), words)
    emit(context, [paper_to_json(paper) for paper in found], lambda: show_papers(found))
    return DONE


@matlit.command(examples="matlit remove 3f9a2c01")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.pass_obj
def remove(context: Context, ids: tuple[str, ...]) -> int:
    """Take papers out of the library (the files stay where they are); an ID may be shortened."""
    target = library(context)
    chosen = [target.paper(given) for given in ids]
    with target.writer() as writer:
        for paper in chosen:
            writer.remove(paper.id)
    emit(context, [paper.id for paper in chosen], lambda: click.echo(f"removed {len(chosen)}"))
    return DONE


@matlit.command()
@click.pass_obj
def prune(context: Context) -> int:
    """Take out papers whose files are gone."""
    from ui.engine import run_prune

    gone = run_prune(library(context))
    emit(context, gone, lambda: click.echo("\n".join(["removed:", *gone]) if gone else "nothing to remove"))
    return DONE


@matlit.command()
@click.option("--repair", is_flag=True, help="Mend the vectors from the catalog, without embedding again.")
@click.pass_obj
def verify(context: Context, repair: bool) -> int:
    """Check the catalog against vectors, full-text index and files."""
    from ui.show import show_verify_report

    report = library(context).verify(repair=repair)
    emit(context, report.to_json(), lambda: show_verify_report(report))
    return DONE if report.clean else FAILED


@matlit.command(
    examples="""matlit search "capacity fade of LiFePO4"
    matlit search "oxygen vacancies" --elements Sr,Ti,O --year 2015..2020
    matlit search "LiFePO₄" --mode lexical -k 5 --json"""
)
@click.argument("query")
@click.option("-k", type=int, help="How many passages (default 10).")
@click.option("--paper", multiple=True, metavar="ID", help="Only in this paper; may be repeated.")
@click.option("--year", metavar="A..B", help="Only papers of these years: 2015..2020, 2015.., ..2020, 2019.")
@click.option("--elements", metavar="Li,O", help="Only passages whose formulas hold all these elements.")
@click.option("--formula", metavar="F", help="Only passages with this formula, however typeset.")
@click.option("--section", multiple=True, metavar="TITLE", help="Only in sections whose title holds this.")
@click.option("--kind", metavar="paper,material", help="Passages of papers, records of materials, or both.")
@click.option("--mode", type=click.Choice(["hybrid", "dense", "lexical"]), help="How to search (default hybrid).")
@click.pass_obj
def search(context: Context, /, query: str, k: int | None, mode: Mode | None, **filters: Any) -> int:
    """Find passages for QUERY, by meaning and by words together."""
    from ui.show import hit_to_json, show_hits

    asking = assistant(context)
    settings = context.settings().search
    hits = asking.search(
        query, k=settings.k if k is None else k, mode=mode or settings.mode, where=where(asking, filters)
    )
    emit(context, [hit_to_json(hit) for hit in hits], lambda: show_hits(hits))
    return DONE


@matlit.command(
    examples="""matlit ask "What is the theoretical capacity of LiFePO4?"
    matlit ask "チタン酸リチウムの容量は?" --json
    matlit ask "How was the film annealed?" --paper 3f9a2c01 --bibtex"""
)
@click.argument("question")
@click.option("--paper", multiple=True, metavar="ID", help="Only from this paper; may be repeated.")
@click.option("--year", metavar="A..B", help="Only from papers of these years.")
@click.option("--bibtex", is_flag=True, help="Print the cited papers as BibTeX below the answer.")
@click.pass_obj
def ask(context: Context, /, question: str, bibtex: bool, **filters: Any) -> int:
    """Answer QUESTION from the library, every claim with paper, page and quote."""
    from ui.show import show_answer

    asking = assistant(context)
    answer = asking.ask(question, where=where(asking, filters))
    emit(context, answer.to_json(), lambda: show_answer(answer, bibtex=bibtex))
    return DONE


@matlit.group("eval", cls=Verbs)
def evaluate() -> None:
    """Measure retrieval and answers on your own questions."""


@evaluate.command("retrieval", examples="matlit eval retrieval scifact --mode hybrid")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--mode", type=click.Choice(["hybrid", "dense", "lexical"]), default="hybrid", help="How to search.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N queries.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the bootstrap.")
@click.pass_obj
def eval_retrieval(context: Context, folder: Path, mode: Mode, limit: int | None, seed: int) -> int:
    """Score search on a FOLDER in BEIR layout: corpus.jsonl[.gz], queries.jsonl, qrels.tsv."""
    from assistant.evaluate_retrieval import evaluate_retrieval
    from ui.engine import open_embedder
    from ui.show import show_evaluation

    embedder = open_embedder(context.settings())
    evaluation = evaluate_retrieval(folder, embedder=embedder, mode=mode, limit=limit, seed=seed)
    emit(context, evaluation.to_json(), lambda: show_evaluation(evaluation))
    return DONE


@evaluate.command("answers", examples="matlit eval answers benchmarks/questions.jsonl --rows rows.jsonl")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--rows", type=click.Path(path_type=Path), metavar="FILE", help="Write every answer as a JSON line.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N questions.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the bootstrap.")
@click.pass_obj
def eval_answers(context: Context, file: Path, rows: Path | None, limit: int | None, seed: int) -> int:
    """Score answers on a FILE of JSON lines: id, question, answer, and doc where known."""
    from assistant.evaluate import evaluate_answers
    from ui.show import show_evaluation

    evaluation = evaluate_answers(file, assistant=assistant(context), rows=rows, limit=limit, seed=seed)
    emit(context, evaluation.to_json(), lambda: show_evaluation(evaluation))
    return DONE


@evaluate.command("bandgap", examples="matlit eval bandgap mp_bandgap.jsonl.gz --limit 2000")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--model", "predictor", default="shipped", metavar="DIR", help="A trained predictor (default: shipped).")
@click.option("--predictions", type=click.Path(path_type=Path), metavar="CSV", help="Another program's: id,prediction.")
@click.option("--report", type=click.Path(path_type=Path), metavar="DIR", help="Write Markdown, JSON and parity plots.")
@click.option("--no-baselines", is_flag=True, help="Leave out the baselines, which take most of the time.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N records.")
@click.pass_obj
def eval_bandgap(context: Context, /, file: Path, predictor: str, report: Path | None, **options: Any) -> int:
    """Score predicted band gaps on a FILE of records, beside baselines on the same rows."""
    from finetune.evaluate import evaluate_file, write_report
    from ui.show import show_evaluation

    limit, baselines = options["limit"] or 0, not options["no_baselines"]
    found = evaluate_file(file, model=predictor, predictions=options["predictions"], baselines=baselines, limit=limit)
    if report:
        write_report(found, report)
    emit(context, found.to_json(), lambda: show_evaluation(found))
    return DONE


@matlit.command(
    examples="""matlit predict POSCAR
    matlit predict structures/ --json"""
)
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@click.option("--target", type=click.Choice(["band_gap"]), default="band_gap", help="What to predict.")
@click.option("--model", "predictor", default="shipped", metavar="DIR", help="A trained predictor (default: shipped).")
@click.pass_obj
def predict(context: Context, paths: tuple[Path, ...], target: str, predictor: str) -> int:
    """Predict the PBE band gap of crystal structures (CIF, POSCAR, pymatgen JSON), with a 90 % interval."""
    from finetune.predict import load, predict_files
    from ui.show import show_predictions

    found = list(predict_files(paths, model=load(predictor)))
    emit(context, [one.to_json() for one in found], lambda: show_predictions(found))
    failed = sum(bool(one.error) for one in found)
    if failed == len(found):
        return FAILED
    return PARTLY if failed else DONE


@matlit.command()
@click.pass_obj
def settings(context: Context) -> int:
    """Print every setting in force, and where its value came from."""
    from ui.show import show_settings

    rows = context.settings().rows()
    emit(context, rows, lambda: show_settings(rows))
    return DONE


@matlit.command()
@click.pass_obj
def doctor(context: Context) -> int:
    """Check what works here, and say how to mend the rest."""
    from assistant.doctor import examine
    from ui.show import show_checks

    checks = examine(context.settings())
    emit(context, [check.to_json() for check in checks], lambda: show_checks(checks))
    return DONE if all(check.ok or check.optional for check in checks) else FAILED


@matlit.command(
    examples="""matlit completion bash >> ~/.bashrc
matlit completion fish > ~/.config/fish/completions/matlit.fish"""
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_obj
def completion(context: Context, shell: str) -> int:
    """Print the completion script for your shell."""
    from click.shell_completion import get_completion_class

    script = get_completion_class(shell)
    if script is None:
        raise BadInput(f"no completion for {shell!r}")
    source = script(matlit, {}, "matlit", "_MATLIT_COMPLETE").source()
    emit(context, {"shell": shell, "script": source}, lambda: click.echo(source))
    return DONE


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


def _usage_hint(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    return f"{context.command_path} --help" if context is not None else "matlit --help"


if __name__ == "__main__":
    sys.exit(main())
