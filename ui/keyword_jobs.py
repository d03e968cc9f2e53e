"""Where settings and options become a keyword job, and its records files: for the command line and the app."""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ingest.errors import BadInput

if TYPE_CHECKING:
    from assistant.chat import ChatModel
    from assistant.keywords.ask import Target
    from assistant.keywords.job import Event, KeywordJob
    from assistant.keywords.records import Record
    from ingest.library import Library
    from ingest.settings import Settings

SUFFIX = {"jsonl": ".jsonl", "csv": ".csv", "bibtex": ".bib"}
FOLDER = "keywords"  # of the app's jobs, in the library's folder; below it a folder for each browser
# What the app leaves as `matlit keywords` has it.
USUAL: dict[str, Any] = {
    "batch": False,
    "summary": None,
    "picture": None,
    "examples": None,
    "strategy": "zero-shot",
    "text_tokens": 0,
    "workers": 0,
    "password": None,
    "limit": None,
    "retry_failed": True,
}


def make_job(
    settings: Settings,
    paths: Sequence[str],
    *,
    library: Library | None = None,
    papers: Collection[str] = (),
    chat: ChatModel | None = None,
    **options: Any,
) -> KeywordJob:
    """Build the job that the options of `matlit keywords` describe; `papers` are ids of the library."""
    from assistant.keywords.ask import Task, read_shots
    from assistant.keywords.job import KeywordJob
    from assistant.keywords.making import ranking_embedder
    from assistant.keywords.vocabulary import Vocabulary
    from ingest.library import Library
    from ingest.readers import ReadOptions
    from ui.engine import model_options

    if (options["batch"] or options["summary"] or options["picture"]) and options["output"] is None:
        raise BadInput("this needs a file that keeps the records", hint="Name one: -o keywords.jsonl")
    shots = read_shots(options["examples"]) if options["examples"] else ()
    task = Task(options["most"], options["language"], options["strategy"], shots, options["text_tokens"])
    file = options["vocabulary"]
    vocabulary = Vocabulary.read(file, embedder=ranking_embedder()) if file else None
    reading = settings.reading
    return KeywordJob(
        paths,
        library=None if paths else library or Library.open(settings.library_path),
        papers=papers,
        output=record_file(options["output"]),
        model=settings.models.role("keywords"),
        model_options=model_options(settings),
        chat=chat,
        task=task,
        vocabulary=vocabulary,
        workers=options["workers"],
        budget=options["budget"],
        offline=settings.models.offline,
        options=ReadOptions(
            password=options["password"],
            ocr=reading.ocr,
            ocr_languages=reading.ocr_languages,
            max_pages=reading.max_pages,
            max_file_mb=reading.max_file_mb,
        ),
        timeout_s=reading.timeout_s,
        limit=options["limit"],
        restart=not options["resume"],
        retry_failed=options["retry_failed"],
    )


def record_file(output: Path | None) -> Path | None:
    """Return the file of JSON lines that belongs to `output`: the record of truth whatever else is written."""
    return output.with_suffix(".jsonl") if output is not None and output.suffix in (".csv", ".bib") else output


def picture_of(records: Iterable[Record], suffix: str) -> bytes:
    """Return the picture that `matlit keywords --picture` draws, as what a file with this suffix holds."""
    from assistant.keywords import outputs

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"keywords{suffix}"
        outputs.draw(outputs.summarise(records), file)
        return file.read_bytes()


def write_outputs(**options: Any) -> None:
    """Write what was asked for besides the records: from all records of the file, also those of earlier runs."""
    from assistant.keywords import outputs
    from assistant.keywords.records import latest

    output = record_file(options["output"])
    if output is None or not output.exists():
        return
    named = {".csv": "csv", ".bib": "bibtex"}.get(options["output"].suffix)
    for name in {*options["formats"], *([named] if named else [])} - {"jsonl"}:
        target = output.with_suffix(SUFFIX[name])
        if name == "csv":
            target.write_text(outputs.to_csv(latest(output)), encoding="utf-8")
        else:
            before = target.read_text(encoding="utf-8") if target.exists() else ""
            target.write_text(outputs.to_bibtex(latest(output), before), encoding="utf-8")
    if options["summary"] or options["picture"]:
        summary = outputs.summarise(latest(output))
        if options["summary"]:
            text = json.dumps(summary.to_json(), ensure_ascii=False, indent=2)
            options["summary"].write_text(text + "\n", encoding="utf-8")
        if options["picture"]:
            outputs.draw(summary, options["picture"])


# --- for the app ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wanted:
    """A job as the app asks for it: `files`, or else `papers` of the library by id; `vocabulary` is a stored file."""

    papers: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    model: str = "extractive"
    most: int = 10
    language: Target = "source"
    budget: float | None = None
    vocabulary: Path | None = None
    anew: bool = False

    @property
    def ids(self) -> tuple[str, ...]:
        """Return the ids that the records will have: an upload is stored under the one it gets."""
        return tuple(Path(file).stem for file in self.files) or self.papers


@dataclass(frozen=True, slots=True)
class Writing:
    """The first event of a job: which file its records go to."""

    file: Path


def output_of(settings: Settings, wanted: Wanted, owner: str) -> Path:
    """Return the file for a browser's records: one for each model, language, number and vocabulary."""
    from assistant.keywords.ask import Task
    from assistant.keywords.job import KeywordJob

    recipe = KeywordJob(model=wanted.model, task=Task(wanted.most, wanted.language)).recipe
    terms = wanted.vocabulary.stem if wanted.vocabulary else ""
    digest = hashlib.sha256(f"{recipe}|{terms}".encode()).hexdigest()[:8]
    model = re.sub(r"[^A-Za-z0-9.]+", "-", wanted.model)[-60:]
    return folder_of(settings.library_path, owner) / f"{model}-{wanted.language}-{wanted.most}-{digest}.jsonl"


def app_job(
    settings: Settings,
    wanted: Wanted,
    *,
    library: Library | None = None,
    output: Path | None = None,
    chat: ChatModel | None = None,
) -> KeywordJob:
    """Build the job that the app asks for."""
    settings = replace(settings, models=replace(settings.models, model=wanted.model, keywords=wanted.model))
    options = USUAL | {"output": output, "most": wanted.most, "language": wanted.language, "budget": wanted.budget}
    options |= {"vocabulary": wanted.vocabulary, "resume": not wanted.anew}
    return make_job(settings, wanted.files, library=library, papers=wanted.papers, chat=chat, **options)


def still_wanted(wanted: Wanted, output: Path) -> Wanted:
    """Return what a run will take up: without the papers that have their keywords, unless it begins anew."""
    held = set() if wanted.anew else {record.id for record in records_of(output) if not record.error}
    papers = tuple(paper for paper in wanted.papers if paper not in held)
    return replace(wanted, papers=papers, files=tuple(file for file in wanted.files if Path(file).stem not in held))


def run_app_job(job: KeywordJob, output: Path) -> Iterator[Event | Writing]:
    """Run a job for the app; records go to the file only, so that ten thousand of them are not kept twice."""
    from assistant.keywords.job import Made

    yield Writing(output)
    with closing(job.run()) as events:
        for event in events:
            if not isinstance(event, Made):
                yield event


def records_of(output: Path) -> list[Record]:
    """Return the last record of each paper of a file that a job may be writing to; none where there is no file."""
    from assistant.keywords.records import read_records

    if not output.exists():
        return []
    return list({record.id: record for record in read_records(output)}.values())


def folder_of(library: Path, owner: str) -> Path:
    """Return where the records of a browser's jobs lie; `owner` is as in `ui.chats.owner_of`."""
    return library / FOLDER / owner


def result_files(library: Path, owner: str) -> list[Path]:
    """Return the files of a browser's earlier jobs, the latest first."""
    return sorted(folder_of(library, owner).glob("*.jsonl"), key=lambda file: file.stat().st_mtime_ns, reverse=True)


def read_budget(text: str) -> float | None:
    """Return a budget in US dollars, None where nothing was entered; raises `BadInput` where it is none."""
    import math

    if not text.strip():
        return None
    try:
        budget = float(text.strip().removeprefix("$"))
    except ValueError:
        budget = math.nan
    if not math.isfinite(budget) or budget < 0:
        raise BadInput(f"{text.strip()!r} is no budget in US dollars", hint="Enter a number like 2.50, or nothing")
    return budget
