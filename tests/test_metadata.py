"""What a paper is called, who wrote it and when; the manifest; Crossref and OpenAlex, spoken by a local server."""

from __future__ import annotations

import csv
import json
import pickle
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from ingest.errors import BadInput, OfflineError
from ingest.lookup import alike, clean_doi, look_up, same_doi
from ingest.manifest import read_manifest
from ingest.metadata import describe, merge
from ingest.readers import ReadOptions, read
from ingest.records import Block, Document, Metadata, Page


def document(*blocks: tuple[str, str], metadata: Metadata | None = None, more: tuple[str, ...] = ()) -> Document:
    """A document whose first page has these blocks (kind, text) and whose other pages are plain text."""
    made, start = [], 0
    for kind, text in blocks:
        made.append(Block(start, start + len(text), kind))
        start += len(text) + 2
    first = Page(1, "\n\n".join(text for _, text in blocks), tuple(made))
    rest = tuple(Page(n, text, (Block(0, len(text), "text"),)) for n, text in enumerate(more, start=2))
    return Document((first, *rest), metadata or Metadata(), format="text")


def described(*blocks: tuple[str, str], name: str = "file.pdf", **more) -> Metadata:
    return describe(document(*blocks, **more), Path(name))


# Title.


def test_the_printed_title_is_used():
    assert described(("front", "Article"), ("title", "A study of steel")).title == "A study of steel"


@pytest.mark.parametrize(
    "junk",
    [
        "Microsoft Word - final_v3.docx",
        "untitled",
        "paper.pdf",
        "()",
        "file",
        "ma12111761 1..15",
        "10.1000/182",
        "Document1",
    ],
)
def test_a_claimed_title_that_is_none_is_ignored(junk):
    assert described(("text", "x" * 300), metadata=Metadata(title=junk)).title == ""


def test_a_claimed_title_that_completes_the_printed_one_is_used():
    claimed = Metadata(title="Chalcogenide Perovskites: Tantalizing Prospects, Challenging Materials")
    assert (
        described(("title", "Chalcogenide Perovskites: Tantalizing Prospects,"), metadata=claimed).title
        == claimed.title
    )


def test_a_claimed_title_with_nothing_in_common_with_the_printed_one_is_not_used():
    claimed = Metadata(title="Science Journals — AAAS")
    assert described(("title", "A study of steel"), metadata=claimed).title == "A study of steel"


def test_a_title_loses_its_footnote_mark():
    assert described(("title", "A study of steel†")).title == "A study of steel"


def test_without_a_title_block_a_short_first_line_is_the_title():
    assert described(("text", "Notes on the lattice sum method"), ("text", "Long text. " * 40)).title == (
        "Notes on the lattice sum method"
    )


def test_a_japanese_title_is_kept():
    assert described(("title", "鉄鋼材料の疲労強度")).title == "鉄鋼材料の疲労強度"


# Authors, year, journal, language.


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Jing Mao,* Peng Zhang, Xin Liu, and Kehua Dai*", ("Jing Mao", "Peng Zhang", "Xin Liu", "Kehua Dai")),
        ("Weimin Zhao 1, Zhifeng Wang 1,2,* and Yan Zhao 3,*", ("Weimin Zhao", "Zhifeng Wang", "Yan Zhao")),
        (
            "Kensuke Nakashima,‡a Takeshi Shimizu, Akira Hinokimoto,a",
            ("Kensuke Nakashima", "Takeshi Shimizu", "Akira Hinokimoto"),
        ),
        ("José A. Márquez, Łukasz Żak & J. van der Berg", ("José A. Márquez", "Łukasz Żak", "J. van der Berg")),
        ("By David L. Parkhurst and C.A.J. Appelo 1", ("David L. Parkhurst", "C.A.J. Appelo")),
        ("Mike Brown, Sandia National Labs, April 2007", ("Mike Brown",)),
        ("山田太郎、鈴木 花子", ("山田太郎", "鈴木 花子")),
        ("概要", ()),
        ("September 12, 2014", ()),
        ("Department of Physics, University of Nowhere, Somewhere", ()),
        ("We derive the finite element discretization of the equations, and solve them", ()),
    ],
)
def test_authors_are_read_below_the_title(line, expected):
    assert described(("title", "A study of steel"), ("front", line), ("heading", "Abstract")).authors == expected


def test_an_author_whose_name_breaks_across_lines_is_one_author():
    blocks = (
        ("title", "A study of steel"),
        ("front", "Lukas Milbrandt,[b] Burkhard"),
        ("front", "Butschke,[c] and Ada Byron[d]"),
    )
    assert described(*blocks).authors == ("Lukas Milbrandt", "Burkhard Butschke", "Ada Byron")


@pytest.mark.parametrize(
    ("line", "journal", "year"),
    [
        ("Materials 2019, 12, 1761; doi:10.3390/ma12111761", "Materials", 2019),
        ("Cite This: ACS Omega 2020, 5, 4109−4114", "ACS Omega", 2020),
        ("Ge et al., Sci. Adv. 2020; 6 : eaay7633", "Sci. Adv.", 2020),
        ("© 2020 WILEY-VCH Verlag GmbH & Co. KGaA, Weinheim Adv. Sci. 2020, 7, 1902866", "Adv. Sci.", 2020),
        ("Scientific Reports | (2020) 10:7481 | https://doi.org/10.1038/x", "Scientific Reports", 2020),
        ("Published: 25 February 2020", "", 2020),
        ("Copyright © 2018 The Authors", "", 2018),
        ("September 12, 2014", "", 2014),
        ("2021年3月", "", 2021),
        ("arXiv:2503.04086v1 [cs.CL] 6 Mar 2025", "", 2025),
        ("It was first made in 1987 by two chemists.", "", None),
    ],
)
def test_journal_and_year_are_read_from_the_first_page(line, journal, year):
    found = described(("title", "A study of steel"), ("front", line))
    assert (found.journal, found.year) == (journal, year)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The capacity of the cathode is measured in the range from 2 to 4 V and it is found to be stable.", "en"),
        ("Die Kapazität der Kathode ist in dem Bereich von 2 bis 4 V gemessen und sie ist stabil.", "de"),
        ("La capacité de la cathode est mesurée dans une cellule et elle est stable pour les cycles.", "fr"),
        ("正極材料の容量は、2から4 Vの範囲で測定され、安定であることがわかった。LiFePO4を用いた。", "ja"),
        ("正极材料的容量在2至4伏范围内测量，结果表明其具有良好的循环稳定性能。", "zh"),
        ("양극 재료의 용량은 2에서 4 V 범위에서 측정되었으며 안정적인 것으로 나타났다.", "ko"),
        ("Fe 12.3 Cr 4.5 Ni 7.8", ""),
    ],
)
def test_the_language_is_found_from_the_text(text, language):
    assert described(("text", text)).language == language


# DOI.


@pytest.mark.parametrize(
    ("text", "doi"),
    [
        ("https://doi.org/10.1002/advs.201902866.", "10.1002/advs.201902866"),
        ("doi:10.1016/0370-1573(94)90080-9", "10.1016/0370-1573(94)90080-9"),
        ("(see 10.1038/s41598-020-63328-6).", "10.1038/s41598-020-63328-6"),
        ("DOI: 10.1000/182;", "10.1000/182"),
        ("10.xxxxxx/draft", ""),
        ("nothing", ""),
    ],
)
def test_a_doi_is_cut_out_of_its_sentence(text, doi):
    assert clean_doi(text) == doi


def test_dois_are_the_same_whatever_their_case_and_prefix():
    assert same_doi("10.1039/C9SC04175C", "https://doi.org/10.1039/c9sc04175c.")
    assert not same_doi("", "")


def test_the_doi_of_page_one_is_preferred_to_those_of_references():
    found = described(
        ("reference", "[1] A. Author, doi:10.1111/other"), ("title", "A study of steel"), ("front", "doi:10.2222/own.")
    )
    assert found.doi == "10.2222/own"


def test_a_doi_cited_on_a_later_page_is_not_the_papers():
    assert described(("title", "A study of steel"), more=("Cited: https://doi.org/10.1111/other",)).doi == ""


def test_a_doi_that_runs_on_every_page_after_a_cover_is_the_papers():
    assert described(("text", "Downloaded"), more=("doi:10.2222/own Steel", "doi:10.2222/own 2")).doi == "10.2222/own"


def test_the_doi_of_a_data_set_is_not_the_papers():
    assert described(("front", "Archive: 10.5281/zenodo.2573647"), ("front", "doi:10.21105/joss.01210")).doi == (
        "10.21105/joss.01210"
    )


def test_the_file_name_decides_between_several_dois():
    blocks = (("front", "10.1111/first"), ("front", "10.1088/1757-899X/106/1/012030"))
    found = described(*blocks, name="10.1088_1757-899x_106_1_012030.pdf")
    assert found.doi == "10.1088/1757-899X/106/1/012030"


# The manifest.


def manifest_of(tmp_path: Path, text: str):
    (tmp_path / "manifest.csv").write_text(text, encoding="utf-8")
    return read_manifest(tmp_path / "manifest.csv")


def test_a_manifest_tells_what_its_files_are(tmp_path):
    manifest = manifest_of(
        tmp_path,
        "file_location,doi,title,authors,year,journal,unknown\n"
        'a/x.pdf,https://doi.org/10.1000/182.,"Steel, and more",A. Byron; 山田太郎,2020,Materials,?\n',
    )
    assert manifest.for_path(tmp_path / "a" / "x.pdf") == Metadata(
        title="Steel, and more", authors=("A. Byron", "山田太郎"), year=2020, doi="10.1000/182", journal="Materials"
    )
    assert manifest.for_path(tmp_path / "z.pdf") is None


@pytest.mark.parametrize(
    "cell", ["A. Byron; C. Curie", "A. Byron and C. Curie", "A. Byron, C. Curie", "['A. Byron', 'C. Curie']"]
)
def test_a_manifest_may_separate_authors_in_several_ways(tmp_path, cell):
    manifest = manifest_of(tmp_path, f'file,authors\nx.pdf,"{cell}"\n')
    assert manifest.for_path(tmp_path / "x.pdf").authors == ("A. Byron", "C. Curie")


def test_a_file_that_moved_is_found_by_its_name_if_only_one_has_it(tmp_path):
    manifest = manifest_of(tmp_path, "file,title\na/x.pdf,X\na/y.pdf,Y1\nb/y.pdf,Y2\n")
    assert manifest.for_path(tmp_path / "elsewhere" / "x.pdf").title == "X"
    assert manifest.for_path(tmp_path / "elsewhere" / "y.pdf") is None


def test_a_manifest_crosses_processes(tmp_path):
    manifest = manifest_of(tmp_path, "file,title\nx.pdf,X\n")
    assert pickle.loads(pickle.dumps(manifest)) == manifest


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("title,doi\nX,\n", "line 1: no column names the file (there are: title, doi)"),
        ("", "line 1"),
        ("file,year\nx.pdf,2020\ny.pdf,soon\n", "line 3, column 'year': 'soon'"),
        ("file,doi\nx.pdf,abc\n", "line 2, column 'doi': 'abc'"),
        ("file,doi\n,\n", "line 2, column 'file'"),
        ('file,title\n"x.pdf,X\n', "line 2"),
    ],
)
def test_a_faulty_manifest_is_refused_with_line_and_column(tmp_path, text, complaint):
    with pytest.raises(BadInput) as caught:
        manifest_of(tmp_path, text)
    assert complaint in str(caught.value)


def test_a_missing_manifest_is_refused(tmp_path):
    with pytest.raises(BadInput, match=r"none\.csv"):
        read_manifest(tmp_path / "none.csv")


def test_what_the_user_gives_replaces_what_was_found():
    found = Metadata(title="Stel", authors=("A",), year=2020)
    assert merge(found, Metadata(title="Steel", doi="10.1/x")) == Metadata("Steel", ("A",), 2020, "10.1/x")
    assert merge(found, None) == found


# Crossref and OpenAlex.

CROSSREF_WORK = {
    "DOI": "10.1000/182",
    "title": ["Steel &amp; <i>iron</i> H<sub>2</sub>O"],
    "author": [{"given": "Ada", "family": "Byron"}, {"name": "The Group"}],
    "issued": {"date-parts": [[2020, 5]]},
    "container-title": ["Materials"],
    "language": "en",
}
FROM_CROSSREF = Metadata("Steel & iron H2O", ("Ada Byron", "The Group"), 2020, "10.1000/182", "Materials", "en")
OPENALEX_WORK = {
    "doi": "https://doi.org/10.1000/182",
    "title": "Steel and iron",
    "publication_year": 2021,
    "authorships": [{"author": {"display_name": "Ada Byron"}}],
    "primary_location": {"source": {"display_name": "Materials"}},
    "language": "en",
}
FROM_OPENALEX = Metadata("Steel and iron", ("Ada Byron",), 2021, "10.1000/182", "Materials", "en")


class Registry:
    """A local server that answers as told, and remembers what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, list[tuple[int, dict[str, str], object]]] = {}
        self.asked: list[str] = []
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                registry.asked.append(unquote(self.path))
                answers = registry.answers.get(urlsplit(unquote(self.path)).path, [(404, {}, "no such work")])
                status, headers, body = answers.pop(0) if len(answers) > 1 else answers[0]
                data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(data))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def registry() -> Iterator[Registry]:
    server = Registry()
    yield server
    server.close()


def ask(registry: Registry, what: str, tmp_path: Path, **changes) -> Metadata | None:
    settings = {"offline": False, "cache_dir": tmp_path / "cache"} | changes
    return look_up(what, crossref_url=f"{registry.url}/c", openalex_url=f"{registry.url}/o", **settings)


def test_crossref_is_asked_first(registry, tmp_path):
    registry.answers["/c/works/10.1000/182"] = [(200, {}, {"message": CROSSREF_WORK})]
    assert ask(registry, "doi:10.1000/182.", tmp_path, mailto="me@example.org") == FROM_CROSSREF
    assert registry.asked == ["/c/works/10.1000/182?mailto=me@example.org"]


def test_openalex_is_asked_when_crossref_does_not_know(registry, tmp_path):
    registry.answers["/o/works/doi:10.1000/182"] = [(200, {}, OPENALEX_WORK)]
    assert ask(registry, "10.1000/182", tmp_path) == FROM_OPENALEX


def test_the_same_paper_is_asked_for_once(registry, tmp_path):
    registry.answers["/c/works/10.1000/182"] = [(200, {}, {"message": CROSSREF_WORK})]
    assert ask(registry, "10.1000/182", tmp_path) == ask(registry, "https://doi.org/10.1000/182", tmp_path)
    assert len(registry.asked) == 1


def test_what_nobody_knows_is_remembered_too(registry, tmp_path):
    assert ask(registry, "10.1000/unknown", tmp_path) is None
    assert ask(registry, "10.1000/unknown", tmp_path) is None
    assert len(registry.asked) == 2  # Crossref and OpenAlex once each


def test_a_title_must_be_the_very_title(registry, tmp_path):
    registry.answers["/c/works"] = [(200, {}, {"message": {"items": [CROSSREF_WORK]}})]
    registry.answers["/o/works"] = [(200, {}, {"results": [OPENALEX_WORK]})]
    assert ask(registry, "Steel & iron H2O", tmp_path) == FROM_CROSSREF
    assert ask(registry, "Steel and Iron.", tmp_path) == FROM_OPENALEX
    assert ask(registry, "Something about aluminium", tmp_path) is None


def test_a_busy_service_is_asked_again_after_the_time_it_names(registry, tmp_path):
    registry.answers["/c/works/10.1000/182"] = [(429, {"Retry-After": "0"}, ""), (200, {}, {"message": CROSSREF_WORK})]
    assert ask(registry, "10.1000/182", tmp_path) == FROM_CROSSREF


@pytest.mark.parametrize(
    "answer", [(500, {"Retry-After": "0"}, "broken"), (200, {}, "<html>"), (200, {}, ["list"]), (200, {}, {})]
)
def test_a_broken_service_is_reported_and_costs_nothing_else(registry, tmp_path, answer):
    registry.answers["/c/works/10.1000/182"] = [answer]
    registry.answers["/o/works/doi:10.1000/182"] = [(200, {}, OPENALEX_WORK)]
    warnings: list[str] = []
    assert ask(registry, "10.1000/182", tmp_path, warn=warnings.append) == FROM_OPENALEX
    assert len(warnings) == 1
    assert "Crossref" in warnings[0]


def test_no_service_at_all_is_no_error_and_is_not_remembered(registry, tmp_path):
    warnings: list[str] = []
    closed = "http://127.0.0.1:9"
    settings = {"offline": False, "cache_dir": tmp_path, "crossref_url": closed, "openalex_url": closed}
    assert look_up("10.1000/182", warn=warnings.append, **settings) is None
    assert len(warnings) == 2
    assert list(tmp_path.glob("*.json")) == []


def test_offline_nobody_is_asked_but_the_cache_answers(registry, tmp_path):
    registry.answers["/c/works/10.1000/182"] = [(200, {}, {"message": CROSSREF_WORK})]
    with pytest.raises(OfflineError, match=r"10\.1000/182"):
        ask(registry, "10.1000/182", tmp_path, offline=True)
    assert registry.asked == []
    ask(registry, "10.1000/182", tmp_path)
    assert ask(registry, "10.1000/182", tmp_path, offline=True) == FROM_CROSSREF


# The real papers.

# Cut off, run into authors or first sentences, of the wrong line, or with a footnote in it.
NOT_REAL_TITLES = (
    "10.26434", "deb_", "ches_", "oof2", "phreeqc2", "prisms_", "livecoms", "joss_surfinpy", "PMC7067258",
)  # fmt: skip
MAX_PAGES = 12  # to be quick
DOI_OF_A_REFERENCE = ("deb_elk", "joss_macrodensity", "joss_mdsc", "joss_smact")


@pytest.fixture(scope="module")
def real_papers(shared_data: Path) -> list[tuple[dict[str, str], Metadata]]:
    """The first pages of the real papers, described."""
    folder = shared_data / "papers"
    with (folder / "manifest.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    options = ReadOptions(ocr="never")
    rows = [row for row in rows if int(row["pages"]) <= MAX_PAGES]
    return [(row, describe(read(folder / row["file"], options=options), folder / row["file"])) for row in rows]


def test_titles_of_real_papers_are_right_nine_times_in_ten(real_papers):
    real = [(row["title"], found.title) for row, found in real_papers if not row["file"].startswith(NOT_REAL_TITLES)]
    wrong = [pair for pair in real if alike(*pair) < 0.97]
    assert len(real) >= 15
    assert len(wrong) <= 0.1 * len(real), wrong


def test_dois_of_real_papers_are_right_nine_times_in_ten(real_papers):
    printed = [
        (row["doi"], found.doi)
        for row, found in real_papers
        if row["doi"] and not row["file"].startswith(DOI_OF_A_REFERENCE)
    ]
    wrong = [pair for pair in printed if not same_doi(*pair)]
    assert len(printed) >= 10
    assert len(wrong) <= 0.1 * len(printed), wrong
