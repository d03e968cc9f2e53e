"""From files to a library: what is found, read, skipped, replaced, refused, interrupted and resumed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ingest.discover import discover
from ingest.embed import make_embedder
from ingest.errors import BadInput, LibraryBusy, LibraryMismatch, OfflineError
from ingest.library import Library
from ingest.materials import Material, to_chunk
from ingest.pipeline import (
    Added,
    Finished,
    Found,
    Planned,
    Progress,
    Read,
    Removed,
    Report,
    Skipped,
    Updated,
    ingest,
)
from ingest.readers import ocr
from ingest.records import file_digest
from ingest.settings import ChunkingSettings, EmbeddingSettings, ReadingSettings, Settings

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = Settings(
    embedding=EmbeddingSettings(model="hashing"),
    reading=ReadingSettings(workers=1),
    chunking=ChunkingSettings(max_tokens=40),
)

TEXTS = {
    "cathode.txt": "LiFePO4 is an olivine cathode.\n\nIt delivers 170 mAh/g at low rates and is safe.",
    "steel.md": "# Steel\n\nMartensite forms on quenching.\n\n## Tempering\n\nTempering restores ductility.",
    "glass.html": "<html><body><h1>Glass</h1><p>Silica softens near 1700 C, which boron lowers.</p></body></html>",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "papers"
    made.mkdir()
    for name, text in TEXTS.items():
        (made / name).write_text(text, encoding="utf-8")
    return made


@pytest.fixture
def library_path(tmp_path: Path) -> Path:
    return tmp_path / "library"


def run(paths, library_path: Path, **options) -> tuple[list[object], Report]:
    settings = options.pop("settings", SETTINGS)
    events = list(
        ingest([paths] if isinstance(paths, Path) else paths, settings=settings, library=library_path, **options)
    )
    assert isinstance(events[-1], Finished)
    assert sum(isinstance(event, Finished) for event in events) == 1
    return events, events[-1].report


def only(events: list[object], kind: type) -> list:
    return [event for event in events if isinstance(event, kind)]


def chunk_ids(library_path: Path) -> list[str]:
    with Library.open(library_path) as library:
        return library.chunk_ids()


def is_clean(library_path: Path) -> bool:
    with Library.open(library_path) as library:
        return library.verify().clean


# --- finding files --------------------------------------------------------------------------------------------------


def test_folders_are_searched_in_order_and_hidden_or_foreign_files_left_out(folder):
    for name in (".hidden.txt", "~$lock.docx", "picture.png", ".git/note.txt", "sub/deep/more.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    found = [str(path.relative_to(folder)) for path in discover([folder])]
    assert found == ["cathode.txt", "glass.html", "steel.md", "sub/deep/more.txt"]


def test_a_file_named_twice_counts_once_and_globs_are_expanded(folder):
    assert len(discover([folder, folder / "steel.md", f"{folder}/*.md", f"{folder}/**/*.txt"])) == 3


def test_relative_paths_become_absolute(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert discover(["steel.md"]) == [folder / "steel.md"]


def test_a_path_that_does_not_exist_is_refused_before_anything_happens(folder, library_path):
    with pytest.raises(BadInput, match="no-such"):
        run([folder, folder / "no-such.pdf"], library_path)
    assert not library_path.exists()


@pytest.mark.parametrize("given", ["empty", "empty/*.pdf"])
def test_an_empty_folder_or_glob_is_refused_with_what_can_be_read(tmp_path, library_path, given):
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="nothing to read") as caught:
        run([tmp_path / given], library_path)
    assert ".pdf" in caught.value.hint


# --- reading in -----------------------------------------------------------------------------------------------------


def test_every_file_becomes_a_paper_that_can_be_found(folder, library_path):
    events, report = run(folder, library_path)
    assert only(events, Found) == [Found(total=3, todo=3)]
    assert {event.path.name for event in only(events, Added)} == set(TEXTS)
    assert {event.path.name for event in only(events, Read)} == set(TEXTS)
    assert (report.added, report.papers, report.failed) == (3, 3, ())
    assert set(report.stages) == {"read", "chunk", "embed", "write"}
    with Library.open(library_path) as library:
        ((best, _), *_) = library.lexical("olivine", k=1)
        assert "olivine" in library.chunks([best])[0].text
        ((best, _), *_) = library.dense(make_embedder("hashing").embed_query("martensite quenching"), k=1)
        assert "Martensite" in library.chunks([best])[0].text
        assert library.verify().clean


def test_the_report_has_the_shape_of_the_command_line(folder, library_path):
    (folder / "broken.pdf").write_bytes(b"%PDF-1.4 and nothing more")
    _, report = run(folder, library_path)
    shown = report.to_json()
    assert {"added", "skipped", "updated", "failed", "papers", "pages", "chunks", "seconds", "stages"} <= set(shown)
    assert set(shown["failed"][0]) == {"path", "error", "hint"}
    assert shown["papers"] == 3


def test_unchanged_files_are_skipped_and_nothing_is_written(folder, library_path):
    run(folder, library_path)
    before = (library_path / "catalog.sqlite").read_bytes()
    events, report = run(folder, library_path)
    assert len(only(events, Skipped)) == report.skipped == 3
    assert report.added == 0
    assert (library_path / "catalog.sqlite").read_bytes() == before


def test_an_unchanged_ingest_loads_no_model_and_no_chroma(folder, library_path):
    run(folder, library_path)
    code = f"""
import sys
sys.path.insert(0, {str(ROOT / "tests")!r})
from pathlib import Path
from test_pipeline import SETTINGS
from ingest.pipeline import ingest
report = list(ingest([{str(folder)!r}], settings=SETTINGS, library=Path({str(library_path)!r})))[-1].report
heavy = {{"chromadb", "torch", "onnxruntime", "pypdf", "pypdfium2", "llama_index", "tokenizers"}}
print(report.skipped, sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "3 []"


def test_a_touched_file_is_recognised_by_its_content(folder, library_path):
    run(folder, library_path)
    os.utime(folder / "steel.md", (1, 1))
    events, report = run(folder, library_path)
    assert report.skipped == 3
    assert not only(events, Read)
    events, _ = run(folder, library_path)
    assert only(events, Found)[0].todo == 0


def test_an_edited_file_is_an_update_and_the_old_version_is_gone(folder, library_path):
    run(folder, library_path)
    (folder / "steel.md").write_text("Austenite is stable above 900 C.")
    events, report = run(folder, library_path)
    assert [event.path.name for event in only(events, Updated)] == ["steel.md"]
    assert (report.updated, report.skipped, report.papers) == (1, 2, 3)
    with Library.open(library_path) as library:
        assert not library.lexical("martensite", k=1)
        assert library.verify().clean


def test_a_renamed_file_is_the_same_paper(folder, library_path):
    run(folder, library_path)
    (folder / "steel.md").rename(folder / "iron.md")
    _, report = run(folder, library_path)
    assert (report.added, report.skipped, report.papers) == (0, 3, 3)
    with Library.open(library_path) as library:
        assert (folder / "iron.md",) in {paper.paths for paper in library.papers()}
        assert library.verify().missing_files == ()


def test_two_copies_in_one_run_are_one_paper_with_two_paths(folder, library_path):
    shutil.copy(folder / "steel.md", folder / "steel copy.md")
    _, report = run(folder, library_path)
    assert (report.added, report.skipped, report.papers) == (3, 1, 3)
    with Library.open(library_path) as library:
        assert sorted(len(paper.paths) for paper in library.papers()) == [1, 1, 2]


def test_prune_takes_out_papers_whose_files_are_gone_below_the_given_folder_only(folder, library_path, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "elsewhere.txt").write_text("Copper conducts well.")
    run([folder, other], library_path)
    (folder / "steel.md").unlink()
    (other / "elsewhere.txt").unlink()
    events, report = run(folder, library_path, prune=True)
    assert len(only(events, Removed)) == report.removed == 1
    assert report.papers == 3
    assert is_clean(library_path)


def test_prune_works_on_a_folder_that_has_become_empty(folder, library_path):
    run(folder, library_path)
    for file in folder.iterdir():
        file.unlink()
    _, report = run(folder, library_path, prune=True)
    assert (report.removed, report.papers) == (3, 0)


def test_limit_reads_so_many_files_and_the_next_run_goes_on(folder, library_path):
    assert run(folder, library_path, limit=2)[1].added == 2
    assert run(folder, library_path, limit=2)[1].to_json()["added"] == 1


def test_a_dry_run_says_what_would_be_done_and_does_nothing(folder, library_path):
    events, report = run(folder, library_path, dry_run=True)
    assert {event.reason for event in only(events, Planned)} == {"new"}
    assert (report.planned, report.added) == (3, 0)
    assert not library_path.exists()
    run(folder, library_path)
    (folder / "steel.md").write_text("Austenite.")
    shutil.copy(folder / "cathode.txt", folder / "copy.txt")
    events, report = run(folder, library_path, dry_run=True)
    assert [(event.path.name, event.reason) for event in only(events, Planned)] == [("steel.md", "changed")]
    assert report.skipped == 3


def test_a_manifest_says_what_a_file_is(folder, library_path, tmp_path):
    manifest = tmp_path / "papers.csv"
    manifest.write_text(f"file_location,title,doi,year\n{folder / 'cathode.txt'},On Olivines,10.1000/x1,2011\n")
    run(folder / "cathode.txt", library_path, manifest=manifest)
    with Library.open(library_path) as library:
        (paper,) = library.papers()
    assert (paper.title, paper.metadata.doi, paper.metadata.year) == ("On Olivines", "10.1000/x1", 2011)


def test_looking_papers_up_is_refused_offline(folder, library_path):
    offline = replace(SETTINGS, models=replace(SETTINGS.models, offline=True))
    with pytest.raises(OfflineError):
        run(folder, library_path, settings=offline, look_up=True)


# --- files that fail ------------------------------------------------------------------------------------------------


def test_a_broken_file_costs_itself_only_and_is_not_read_again_until_asked(folder, library_path):
    bad = folder / "broken.pdf"
    bad.write_bytes(b"%PDF-1.4 and nothing more")
    _, report = run(folder, library_path)
    assert (report.added, [failed.path for failed in report.failed]) == (3, [bad])
    assert report.failed[0].again
    events, report = run(folder, library_path)
    (failed,) = report.failed
    assert not failed.again
    assert "--retry-failed" in failed.hint
    assert only(events, Found)[0].todo == 0
    _, report = run(folder, library_path, retry_failed=True)
    assert report.failed[0].again


@pytest.mark.skipif(not ocr.available(), reason=ocr.why_not() or "OCR is available")
def test_a_paper_of_which_ocr_read_a_part_is_kept_and_read_again_when_asked(folder, library_path, monkeypatch):
    scan = folder / "scan.pdf"
    half_scanned(scan)
    monkeypatch.setattr("ingest.readers.isolated.OCR_SHARE", 0.001)
    events, report = run(folder, library_path)
    assert (report.added, report.failed) == (4, ())
    (read,) = [event for event in only(events, Read) if event.path == scan]
    assert "page 2" in read.warnings[0] or "pages 2" in read.warnings[0]
    assert "--retry-failed" in read.warnings[0]
    monkeypatch.undo()
    _, report = run(folder, library_path)
    assert report.skipped == 4
    events, report = run(folder, library_path, retry_failed=True)
    assert [event.path for event in only(events, Updated)] == [scan]
    with Library.open(library_path) as library:
        (paper,) = [paper for paper in library.papers() if scan in paper.paths]
        assert paper.warnings == ()
        assert "olivine" in " ".join(page.text for page in library.pages(paper.id)).lower()
    assert is_clean(library_path)


def half_scanned(path: Path) -> None:
    """Write a PDF of one typed page and one that is a picture of a sentence."""
    from PIL import Image, ImageDraw, ImageFont
    from reportlab.lib.pagesizes import A4
    from reportlab.lib.utils import ImageReader
    from reportlab.pdfgen.canvas import Canvas

    picture = Image.new("L", (1240, 1754), 255)
    draw = ImageDraw.Draw(picture)
    for row in range(12):
        draw.text(
            (120, 150 + 60 * row), "The olivine cathode is stable in air.", fill=0, font=ImageFont.load_default(34)
        )
    canvas = Canvas(str(path), pagesize=A4)
    canvas.drawString(72, 700, "This typed page says that the picture on the next one was made by a camera.")
    canvas.showPage()
    canvas.drawImage(ImageReader(picture), 0, 0, *A4)
    canvas.save()


def test_a_failed_file_is_read_again_when_it_changes(folder, library_path):
    bad = folder / "empty.txt"
    bad.write_text("")
    assert len(run(folder, library_path)[1].failed) == 1
    bad.write_text("Copper conducts well.")
    _, report = run(folder, library_path)
    assert (report.added, report.failed) == (1, ())


def test_copies_of_a_broken_file_fail_each(folder, library_path):
    for name in ("a.pdf", "b.pdf"):
        (folder / name).write_bytes(b"%PDF-1.4 and nothing more")
    _, report = run(folder, library_path)
    assert {failed.path.name for failed in report.failed} == {"a.pdf", "b.pdf"}
    assert all(failed.path.name in failed.error or "the same content as" in failed.error for failed in report.failed)
    assert sum("the same content as" in failed.error for failed in report.failed) == 1


def test_a_file_that_turns_bad_keeps_its_old_version(folder, library_path):
    run(folder, library_path)
    (folder / "steel.md").write_text("")
    _, report = run(folder, library_path)
    assert (len(report.failed), report.papers) == (1, 3)
    with Library.open(library_path) as library:
        assert library.lexical("martensite", k=1)


def test_a_file_named_outright_that_no_reader_knows_fails_with_a_reason(folder, library_path):
    strange = folder / "data.xyz"
    strange.write_text("Si 0 0 0")
    _, report = run([folder, strange], library_path)
    assert (report.added, report.failed[0].cause) == (3, "unsupported")


# --- another embedder or recipe -------------------------------------------------------------------------------------


def test_another_recipe_is_refused_even_when_there_is_nothing_to_do(folder, library_path):
    run(folder, library_path)
    coarser = replace(SETTINGS, chunking=ChunkingSettings(max_tokens=80))
    with pytest.raises(LibraryMismatch) as caught:
        run(folder, library_path, settings=coarser)
    assert "--rebuild" in caught.value.hint


def test_another_embedder_is_refused(folder, library_path):
    run(folder, library_path)
    other = replace(SETTINGS, embedding=EmbeddingSettings(model="all-MiniLM-L6-v2"))
    with pytest.raises(LibraryMismatch, match="all-MiniLM-L6-v2"):
        run(folder, library_path, settings=other)


def test_rebuild_makes_the_same_library_again(folder, library_path):
    run(folder, library_path)
    before = chunk_ids(library_path)
    _, report = run(folder, library_path, rebuild=True)
    assert (report.updated, report.added, report.papers) == (3, 0, 3)
    assert chunk_ids(library_path) == before
    assert is_clean(library_path)


def test_rebuild_with_another_recipe_takes_every_paper_along_even_one_whose_file_is_gone(folder, library_path):
    run(folder, library_path)
    embedder = make_embedder("hashing")
    record = Material("mp-149", "Si", ("Si",), names=("silicon",))
    with Library.open(library_path) as library, library.writer() as writer:
        chunk = to_chunk(record, library.info.recipe)
        writer.add_materials([record], [chunk], embedder.embed_documents([chunk.embedded_text]))
    (folder / "steel.md").unlink()
    coarser = replace(SETTINGS, chunking=ChunkingSettings(max_tokens=80))
    _, report = run(folder / "cathode.txt", library_path, settings=coarser, rebuild=True)
    assert report.papers == 3
    with Library.open(library_path) as library:
        assert library.lexical("martensite", k=1)
        assert library.lexical("silicon", k=1)
        assert library.verify().clean
        assert library.waiting() == []
    _, report = run(folder, library_path, settings=coarser)
    assert (report.skipped, report.added) == (2, 0)


# --- stopping -------------------------------------------------------------------------------------------------------


class SlowEmbedder:
    """The hashing embedder, taking its time."""

    def __init__(self, seconds: float) -> None:
        self._inner = make_embedder("hashing")
        self._seconds = seconds

    def __getattr__(self, name: str):
        return getattr(self._inner, name)

    def embed_documents(self, texts):
        time.sleep(self._seconds)
        return self._inner.embed_documents(texts)


def many(folder: Path, count: int, sentences: int = 40) -> None:
    for number in range(count):
        lines = [f"Sample {number} was annealed at {100 + line} C for {line} hours." for line in range(sentences)]
        (folder / f"many{number:02}.txt").write_text("\n\n".join(lines))


def test_stopping_keeps_what_is_complete_and_the_next_run_finishes(folder, library_path, tmp_path):
    many(folder, 6)
    events = ingest([folder], settings=SETTINGS, library=library_path, embedder=SlowEmbedder(0.1))
    for event in events:
        if isinstance(event, Added):
            break
    events.close()
    with Library.open(library_path) as library:
        held = len(library.papers())
        assert 1 <= held < 9
        assert library.verify().clean
    _, report = run(folder, library_path)
    assert report.added == 9 - held
    assert report.skipped == held
    run(folder, tmp_path / "at once")
    assert chunk_ids(library_path) == chunk_ids(tmp_path / "at once")
    assert is_clean(library_path)


def test_a_huge_paper_does_not_hold_up_the_others(folder, library_path):
    many(folder, 1, sentences=4000)
    events, report = run(folder, library_path, embedder=SlowEmbedder(0.01))
    finished = [event.path.name for event in only(events, Added)]
    assert finished[-1] == "many00.txt"
    assert report.papers == 4


def test_progress_tells_files_rate_and_remaining_time(folder, library_path):
    many(folder, 4, sentences=200)
    events, _ = run(folder, library_path, embedder=SlowEmbedder(0.25))
    told = only(events, Progress)
    assert told
    assert [each.done for each in told] == sorted(each.done for each in told)
    assert all(each.total == 7 for each in told)
    assert any(each.rate > 0 and each.remaining_s is not None for each in told)


class FailingEmbedder(SlowEmbedder):
    """An embedder that breaks down at its third batch."""

    calls = 0

    def embed_documents(self, texts):
        self.calls += 1
        if self.calls > 3:
            raise RuntimeError("the embedder broke down")
        return super().embed_documents(texts)


def test_an_error_of_the_embedder_is_raised_and_leaves_a_library_that_goes_on(folder, library_path):
    many(folder, 6)
    with pytest.raises(RuntimeError, match="broke down"):
        run(folder, library_path, embedder=FailingEmbedder(0))
    assert is_clean(library_path)
    _, report = run(folder, library_path)
    assert report.papers == 9


def test_two_ingests_at_once_the_second_is_told_who_is_at_work(folder, library_path):
    many(folder, 6)
    events = ingest([folder], settings=SETTINGS, library=library_path, embedder=SlowEmbedder(0.1))
    next(event for event in events if isinstance(event, Added))
    with pytest.raises(LibraryBusy, match=str(os.getpid())):
        run(folder, library_path)
    rest = list(events)
    assert rest[-1].report.papers == 9
    assert is_clean(library_path)


def test_vectors_in_the_library_are_those_of_the_texts(folder, library_path):
    many(folder, 2)
    run(folder, library_path)
    embedder = make_embedder("hashing")
    with Library.open(library_path) as library:
        for paper in library.papers():
            for chunk in library.chunks_of(paper.id):
                (own,) = embedder.embed_documents([chunk.embedded_text])
                scores = dict(library.dense(own, k=60))
                assert scores[chunk.id] == pytest.approx(1.0, abs=2e-3)
                assert chunk.source == file_digest(paper.paths[0])
    assert np.isfinite(own).all()
