"""Where settings and options become a keyword job, and its records files: for the command line and the app."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ingest.errors import BadInput

if TYPE_CHECKING:
    from assistant.keywords.job import KeywordJob
    from ingest.settings import Settings

SUFFIX = {"jsonl": ".jsonl", "csv": ".csv", "bibtex": ".bib"}


def make_job(settings: Settings, paths: Sequence[str], **options: Any) -> KeywordJob:
    """Build the job that the options of `matlit keywords` describe."""
    from assistant.keywords.ask import Task, read_shots
    from assistant.keywords.job import KeywordJob
    from assistant.keywords.making import ranking_embedder
    from assistant.keywords.vocabulary import Vocabulary
    from ingest.library import Library
    from ingest.readers import ReadOptions

    if (options["batch"] or options["summary"] or options["picture"]) and options["output"] is None:
        raise BadInput("this needs a file that keeps the records", hint="Name one: -o keywords.jsonl")
    shots = read_shots(options["examples"]) if options["examples"] else ()
    task = Task(options["most"], options["language"], options["strategy"], shots, options["text_tokens"])
    file = options["vocabulary"]
    vocabulary = Vocabulary.read(file, embedder=ranking_embedder()) if file else None
    reading = settings.reading
    return KeywordJob(
        paths,
        library=None if paths else Library.open(settings.library_path),
        output=record_file(options["output"]),
        model=settings.models.model,
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
