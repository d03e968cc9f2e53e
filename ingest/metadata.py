"""What a paper is called, who wrote it, when and where: from the file, or looked up when asked.

A field that cannot be read off with some certainty stays empty.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from itertools import takewhile
from pathlib import Path

from ingest.lookup import DOI, alike, clean_doi, fold, look_up, same_doi
from ingest.readers.parts import names
from ingest.records import Block, Document, Metadata

__all__ = ["clean_doi", "describe", "look_up", "merge", "same_doi"]

FRONT_PAGES = 3  # where a paper says what it is; a cover page may come first
LANGUAGE_SAMPLE = 20_000  # characters
MAX_TITLE = 300
MAX_NAME = 45

_MAY_NAME = frozenset({"front", "heading", "text"})

# Repositories of data and code that papers point to; their DOIs are not the paper's.
_DATA_DOI = re.compile(r"10\.(?:5281/zenodo|6084/m9|5061/dryad|17632|24435|18126|17863|7910/dvn|xxxx)", re.IGNORECASE)
_DOI_NAME = re.compile(r"10\.\d{4,9}_\S+")
_JUNK_TITLE = re.compile(
    r"(?:microsoft (?:word|powerpoint)\b.*|untitled.*|(?:document|slide|presentation|layout|title)\s*\d*"
    r"|powerpoint presentation|(?:doi:?\s*)?10\.\d{4,9}/.*|.*\.(?:pdf|docx?|tex|dvi|indd|qxd|ps|eps|rtf|odt|fm)"
    r"|.*\b\d+\s?\.\.\s?\d+|[\w-]*\d[\w-]*|.*\b(?:proceedings|conference series)\b.*|.*(?:—|\|) [A-Z]{2,6}"
    r"|(?:front|back) ?matter|cover|contents|article|no job name|acrobat distiller.*)",
    re.IGNORECASE,
)
_LABEL = re.compile(
    r"(?:open(?: access)?|original|research|review|progress|article|paper|letter|communication|full|short|technical"
    r"|note|software|report|materials|chemistry|physics|engineering|applied|sciences?|論文|原著|総説|解説|報告|\W)+",
    re.IGNORECASE,
)
_TITLE_MARKS = re.compile(r"^(?:OPEN(?: ACCESS)?)\s+(?=[A-Z])|[\s†‡§¶*∗⋆✉]+$")

_YEAR = r"(?:19|20)\d\d"
_JOURNAL_WORD = r"(?:[A-Z][\w.&-]*|of|and|the|in|for|on|de)"
_CITED_AS = re.compile(  # "Materials 2019, 12, 1761", "Chem. Sci., 2020, 11, 37", "Sci. Adv. 2020; 6 : eaay7633"
    rf"(?:^|[:,|]\s)({_JOURNAL_WORD}(?: {_JOURNAL_WORD}){{0,6}}),? ({_YEAR})[,;] ?\d+(?:\(\d+\))?\s?[,:]", re.MULTILINE
)
_NAMED_YEAR = re.compile(rf"^({_JOURNAL_WORD}(?: {_JOURNAL_WORD}){{0,6}}) ?\| ?\(({_YEAR})\) \d+:", re.MULTILINE)
_PUBLISHED = re.compile(
    rf"\b(?:published|available online|publication date)\b[^\n]{{0,40}}?\b({_YEAR})\b", re.IGNORECASE
)
_COPYRIGHT = re.compile(rf"(?:©|\(c\)|copyright)[^\n]{{0,60}}?\b({_YEAR})\b", re.IGNORECASE)
_ARXIV = re.compile(rf"arXiv:\d{{4}}\.\d{{4,5}}(?:v\d+)?\s+\[[\w.-]+\]\s+\d+ \w+ ({_YEAR})")
_DATE_LINE = re.compile(
    r"^\W*(?:this version dated ?)?(?:(?:\d{1,2}(?:st|nd|rd|th)?\s)?"
    r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)"
    rf"\w*\.?(?:\s\d{{1,2}})?,?\s({_YEAR})|({_YEAR})年.{{0,8}})\W*$",
    re.IGNORECASE | re.MULTILINE,
)

_MARKS = re.compile(r"\[[^\]]{1,5}\]|\([^)]{1,4}\)|[\d*†‡§¶∗⋆#✉|‖$^¹²³⁴-⁹⁰]+")
_LETTER_MARK = re.compile(r"(?<=[a-zß-ÿ])\s[a-h](?=\s|$)|^[a-h]\s(?=[A-Z])")
_NAME_WORD = re.compile(r"(?:[^\W\d_a-z][^\W\d_]*(?:['’.-]+[^\W\d_]+)*\.?|[dl]['’][^\W\d_a-z]\w+)")
_PARTICLE = names("al bin da das de del della den der di dos du el la le ter van von y zu")
_EASTERN_NAME = re.compile(r"[\u4e00-\u9fff々ヶ\u3041-\u30fc]{1,5}[ ・]?[\u4e00-\u9fff々ヶ\u3041-\u30fc]{1,6}")
_AFFILIATION_START = re.compile(r"\s*(?:[\d†‡§¶¹²³*∗]+|\[[a-z\d]\])\s*(?=[^\W\d_])")
_MARGIN_NOTE = re.compile(r"licen[cs]|rights reserved|copyright|©|open access", re.IGNORECASE)
_NO_NAME = re.compile(
    r"\b(?:university|universit\w+|institut\w*|department|dept|school|college|laborator\w+|centre|center|faculty|academy"
    r"|research|science|sciences|technology|engineering|corporation|company|inc|ltd|gmbh|street|road|avenue|usa|china|japan"
    r"|korea|germany|france|abstract|introduction|summary|keywords?|received|accepted|published|edited|editor|reviewed"
    r"|version|license|copyright|open|access|article|journal|volume|issue|email|contact|citation|doi|author|authors"
    r"|national|materials?|physics|chemistry|rights|reserved|creative|commons|supplementary|association|advancement"
    r"|government|works|distributed|the|report|labs?|january|february|march|april|may|june|july|august|september|october"
    r"|november|december)\b|大学|研究所|研究科|株式会社|概要|要旨|要約|抄録|緒言|序論|はじめに|キーワード|[@/:=]|https?",
    re.IGNORECASE,
)
_NAME_BREAK = re.compile(
    r"\s*(?:,|;|、|，|&|\band\b|および|・(?=[\u4e00-\u9fff]{3})|與|和(?=[\u4e00-\u9fff]{2,3}$))\s*"
)

_SCRIPTS = (
    ("ja", re.compile(r"[\u3041-\u3096\u30a1-\u30fa]"), 0.04),
    ("ko", re.compile(r"[\uac00-\ud7a3]"), 0.1),
    ("zh", re.compile(r"[\u4e00-\u9fff]"), 0.15),
    ("ar", re.compile(r"[\u0620-\u064a]"), 0.2),
    ("ru", re.compile(r"[\u0400-\u04ff]"), 0.3),
    ("el", re.compile(r"[\u0386-\u03ce]"), 0.4),
)
_FUNCTION_WORDS = {
    "en": names("the of and in to is for with that are was by this from which be as on were"),
    "de": names("der die und das ist von zu den mit für auf nicht eine ein im des dem werden wird sich"),
    "fr": names("le la les des et est une dans pour que qui du sur par avec sont au aux ce cette"),
    "es": names("el la los las de y en que es una para con por se del al como más son esta"),
    "it": names("il la che di e per una sono con del della nel gli dei è si alla delle da come"),
    "pt": names("o a os as de e que em para com uma por dos das não ao é como mais são"),
    "nl": names("de het een van en in is op te dat voor met zijn niet aan door ook bij wordt deze"),
}


# What the file says.


def describe(document: Document, path: Path) -> Metadata:
    """Return what is known about the paper from its own metadata, its first pages and its file name."""
    said = document.metadata
    printed = _printed(document, path)
    journal, year = _cited_as(printed.first)
    doi = _doi(document, printed, path)
    return Metadata(
        title=_title(document, path),
        authors=_authors(document, said.authors),
        year=said.year or year or _year(printed.first) or _year_beside(doi, printed),
        doi=doi,
        journal=said.journal or journal,
        language=_language(document) or said.language,
    )


def merge(found: Metadata, given: Metadata | None) -> Metadata:
    """Return `found` with every field that `given` fills replaced by it."""
    if given is None:
        return found
    filled = {each.name: value for each in fields(given) if (value := getattr(given, each.name))}
    return replace(found, **filled)


@dataclass(frozen=True, slots=True)
class _Printed:
    """The text of the front pages and the last page as printed, with running heads, where DOI and journal stand."""

    front: tuple[str, ...]
    last: str = ""

    @property
    def first(self) -> str:
        return self.front[0] if self.front else ""


def _printed(document: Document, path: Path) -> _Printed:
    """Return what is printed. Readers leave running heads out of the text, so a PDF is asked once more, as it is."""
    if document.format == "pdf" and (printed := _printed_pdf(path)) is not None:
        return printed
    return _Printed(tuple(page.text for page in document.pages[:FRONT_PAGES]))


def _printed_pdf(path: Path) -> _Printed | None:
    import pypdfium2

    try:
        pdf = pypdfium2.PdfDocument(path)
    except (pypdfium2.PdfiumError, OSError):  # encrypted, or one that only the reader's second try could open
        return None
    try:
        numbers = [*range(min(FRONT_PAGES, len(pdf))), len(pdf) - 1]
        texts = [_page_text(pdf, number) for number in numbers]
    finally:
        pdf.close()
    return _Printed(tuple(texts[:-1]), texts[-1])


def _page_text(pdf: object, number: int) -> str:
    import pypdfium2

    try:
        text: str = pdf[number].get_textpage().get_text_range()  # type: ignore[index]
    except pypdfium2.PdfiumError:  # a damaged page has no running head either
        return ""
    return text.replace("\r\n", "\n").replace("\u2010", "-")


# Title.


def _title(document: Document, path: Path) -> str:
    """Choose between the title block and the title the file claims; where they agree, the claim is the cleaner one."""
    claimed = _clean_title(document.metadata.title)
    claimed = claimed if _is_title(claimed, path) else ""
    printed = _clean_title(_title_block(document))
    if not printed:
        return claimed or _first_line(document, path)
    if claimed and (_within(printed, claimed) or _within(claimed, printed) or alike(printed, claimed) > 0.8):
        return claimed
    return printed


def _title_block(document: Document) -> str:
    for page in document.pages[:FRONT_PAGES]:
        for block in page.blocks:
            if block.kind == "title":
                return page.text[block.start : block.end]
    return ""


def _clean_title(text: str) -> str:
    text = unicodedata.normalize("NFC", " ".join(text.replace("\u2010", "-").replace("\u2011", "-").split()))
    return _TITLE_MARKS.sub("", text).strip()


def _is_title(text: str, path: Path) -> bool:
    """Say whether a text can be a title: not a file name, a program's default, a label or a fragment."""
    letters = sum(map(str.isalpha, text))
    enough = letters >= 8 or (letters >= 3 and any("\u3041" <= character <= "\u9fff" for character in text))
    junk = _JUNK_TITLE.fullmatch(text) or _LABEL.fullmatch(text)
    return enough and not junk and len(text) <= MAX_TITLE and fold(text) != fold(path.stem)


def _within(part: str, whole: str) -> bool:
    """Say whether one title is a good part of another, as when a line of it was missed."""
    return fold(part) in fold(whole) and len(part) >= 0.3 * len(whole)


def _first_line(document: Document, path: Path) -> str:
    """Return the first short block of the first page where nothing is marked as the title."""
    if not document.pages:
        return ""
    page = document.pages[0]
    for block in page.blocks[:4]:
        text = _clean_title(page.text[block.start : block.end])
        if len(text.split()) >= 3 or any("\u3041" <= character <= "\u9fff" for character in text):
            fits = block.kind in {"front", "text", "heading"} and not text.endswith((".", "。", ";", ","))
            return text if fits and len(text) <= 200 and _is_title(text, path) and not DOI.search(text) else ""
    return ""


# Authors.


def _authors(document: Document, said: tuple[str, ...]) -> tuple[str, ...]:
    """Prefer the names printed below the title: file metadata often name only the one who uploaded."""
    printed = tuple(dict.fromkeys(_printed_authors(document)))
    sane = tuple(name for name in (_clean_name(each) for each in said) if _is_name(name))
    if document.format != "pdf":
        return said or printed
    return printed if len(printed) > len(sane) else sane


def _printed_authors(document: Document) -> Iterator[str]:
    """Yield the names in the blocks below the title; they may go on from one block into the next."""
    rest, started = "", False
    for block, text in _below_title(document):
        people, rest = _names(f"{rest} {text}", strict=block.kind == "text")
        yield from people
        if started and not people and not _MARGIN_NOTE.search(text):
            return
        started = started or bool(people)


def _below_title(document: Document) -> Iterator[tuple[Block, str]]:
    for page in document.pages[:FRONT_PAGES]:
        titles = [number for number, block in enumerate(page.blocks) if block.kind == "title"]
        if titles:
            below = page.blocks[titles[-1] + 1 : titles[-1] + 9]
            yield from ((each, page.text[each.start : each.end]) for each in below if each.kind in _MAY_NAME)
            return


def _names(text: str, *, strict: bool) -> tuple[list[str], str]:
    """Return the names a block begins with, and a last word that may be half a name; `strict` allows nothing else.

    One name alone must be followed by what can only follow a name: an affiliation, a date, or the end.
    """
    if _AFFILIATION_START.match(text):
        return [], ""
    parts = _NAME_BREAK.split(re.sub(r"^\s*(?:by|authors?)\s*:?\s+", "", text, flags=re.IGNORECASE))
    cleaned = [name for part in parts if (name := _clean_name(part))]
    people = list(takewhile(_is_name, cleaned))
    after = cleaned[len(people) :]
    rest = after[0] if len(after) == 1 and people and _NAME_WORD.fullmatch(after[0]) else ""
    if rest or not after:
        return people, rest
    trusted = not strict and (len(people) > 1 or _NO_NAME.search(after[0]))
    return (people, "") if trusted else ([], "")


def _clean_name(text: str) -> str:
    text = " ".join(_MARKS.sub(" ", text).split())
    return _LETTER_MARK.sub("", text).replace(" .", ".").strip(" -–,;")


def _is_name(text: str) -> bool:
    """Say whether a text looks like the name of one person: two to six words, capitalised but for particles."""
    if _NO_NAME.search(text) or len(text) > MAX_NAME:
        return False
    if _EASTERN_NAME.fullmatch(text):
        return True
    words = text.split()
    capitalised = [word for word in words if _NAME_WORD.fullmatch(word)]
    known = len(capitalised) + sum(word in _PARTICLE for word in words)
    spelt_out = any(len(word) > 2 and not word.endswith(".") for word in capitalised)
    return 2 <= len(words) <= 6 and known == len(words) and words[-1] in capitalised and spelt_out


# Year and journal.


def _cited_as(text: str) -> tuple[str, int | None]:
    """Return journal and year from the lines in which the paper says how it is cited.

    Of several (running head, margin, references at the foot of the page) the newest counts, and the shortest of these:
    the longer begin with the end of something else.
    """
    found = [match for pattern in (_CITED_AS, _NAMED_YEAR) for match in pattern.finditer(text)]
    if not found:
        return "", None
    year = max(int(match[2]) for match in found)
    journals = [match[1] for match in found if int(match[2]) == year]
    # Wiley's imprint ends in its address, right before the journal: "… GmbH & Co. KGaA, Weinheim Adv. Sci. 2020, 7, …"
    return re.sub(r"^(?:Cite [Tt]his|Citation|Weinheim):?\s*", "", min(journals, key=len)), year


def _year(text: str) -> int | None:
    for pattern in (_ARXIV, _PUBLISHED, _COPYRIGHT, _DATE_LINE):
        if found := pattern.search(text):
            return int(next(group for group in found.groups() if group))
    return None


def _year_beside(doi: str, printed: _Printed) -> int | None:
    """Return the year in the line that holds the DOI, else the year in the DOI of a ChemRxiv preprint."""
    beside = re.search(rf"\(({_YEAR})\)[^\n]*{re.escape(doi)}", "\n".join(printed.front)) if doi else None
    found = beside or re.match(rf"10\.26434/chemrxiv-({_YEAR})-", doi)
    return int(found[1]) if found else None


# DOI.


def _doi(document: Document, printed: _Printed, path: Path) -> str:
    """Return the paper's own DOI: the one the file claims, else the first on page 1, else one that runs on every page.

    DOIs in reference lists and of data sets do not count.
    """
    named = _named_doi(path)
    own = [doi for doi in _dois(printed.first) if not _in_references(document, doi)]
    running = [doi for doi in _dois("\n".join(printed.front[1:])) if _on_how_many(doi, printed.front) > 1]
    alone = [
        doi for doi in _dois(printed.last) if _on_its_own_line(doi, printed.last) and not _in_references(document, doi)
    ]
    claimed = clean_doi(document.metadata.doi)
    candidates = [claimed, *own, *running, *(alone if len(alone) == 1 else [])]
    by_name = next((doi for doi in candidates if named and _same_letters(doi, path.stem)), "")
    return by_name or next((doi for doi in candidates if doi), "") or named


def _dois(text: str) -> list[str]:
    """Return the DOIs in a text, in order, once each; one that is broken after "https:" or "/" is made whole."""
    text = re.sub(r"(doi\.org/|doi:\s?|10\.\d{4,9}/)\n", r"\1", text)
    found = (clean_doi(match.group()) for match in DOI.finditer(text))
    return [doi for doi in dict.fromkeys(found) if doi and not _DATA_DOI.match(doi)]


def _in_references(document: Document, doi: str) -> bool:
    """Tell whether a DOI stands on the first or last page, and there in the reference list only."""
    ends = (document.pages[0], document.pages[-1]) if document.pages else ()
    blocks = [page.block_at(match.start()) for page in ends for match in re.finditer(re.escape(doi), page.text)]
    return bool(blocks) and all(block is not None and block.kind == "reference" for block in blocks)


def _on_its_own_line(doi: str, text: str) -> bool:
    return re.search(rf"^(?:doi:\s*)?{re.escape(doi)}\.?$", text, re.MULTILINE | re.IGNORECASE) is not None


def _on_how_many(doi: str, pages: Iterable[str]) -> int:
    return sum(doi in page for page in pages)


def _named_doi(path: Path) -> str:
    """Return the DOI a download is named after: 10.26434_chemrxiv-2024-1l0sn.pdf."""
    return clean_doi(path.stem.replace("_", "/", 1)) if _DOI_NAME.fullmatch(path.stem) else ""


def _same_letters(doi: str, stem: str) -> bool:
    return bool(doi) and re.sub(r"\W|_", "", doi).lower() in re.sub(r"\W|_", "", stem).lower()


# Language.


def _language(document: Document) -> str:
    """Return the language by script, and among Latin ones by function words; "" where there is too little text."""
    text = "".join(_body_text(document))
    letters = sum(map(str.isalpha, text))
    if letters < 20:
        return ""
    for code, pattern, share in _SCRIPTS:
        if len(pattern.findall(text)) > share * letters:
            return code
    words = Counter(re.findall(r"[a-zà-ÿ]+", text.lower()))
    counts = {code: sum(words[word] for word in known) for code, known in _FUNCTION_WORDS.items()}
    best = max(counts, key=lambda code: counts[code])
    return best if counts[best] >= max(3, 0.05 * words.total()) else ""


def _body_text(document: Document) -> Iterator[str]:
    """Yield a sample of the text without its references, which may be in another language."""
    taken = 0
    for page in document.pages:
        for block in page.blocks:
            if block.kind not in {"reference", "table"}:
                taken += block.end - block.start
                yield page.text[block.start : block.end]
        if taken > LANGUAGE_SAMPLE:
            return
