"""Plain text and Markdown: the encoding is decided, then paragraphs, headings, tables and code are told apart."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from ingest.errors import ReadError
from ingest.readers import ReadOptions
from ingest.readers.parts import Outline, assemble, flow, is_reference_heading, names
from ingest.records import Document, Metadata

MAX_HEADING = 100
MAX_TITLE = 250

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_KANA = re.compile(r"[\u3041-\u3096\u30a1-\u30fc]")
_HALF_KANA = re.compile(r"[\uff61-\uff9f]")
_ISO_2022 = re.compile(rb"\x1b\$[@B]")
# What charset-normalizer is believed about. Its Latin guesses (cp1250, cp1257, …) are left to cp1252: on the few
# accented letters of an English or German text it cannot tell them apart.
_BELIEVED = names(
    "gb2312 gbk gb18030 hz big5 big5hkscs cp950 euc_kr cp949 johab utf_32 utf_16 cp1251 koi8_r koi8_u iso8859_5"
    " mac_cyrillic cp866 cp1253 iso8859_7 cp1255 cp1256"
)
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]")

_NUMBERED = re.compile(r"(?:\d{1,2}(?:\.\d{1,2}){0,3}\.?|[IVX]{1,5}\.|第[\d一二三四五六七八九十]+[章節])\s*\S.{0,90}")
_KNOWN_HEADING = re.compile(
    r"(?:abstract|introduction|background|theory|methods?|materials and methods|experimental(?: section)?|results"
    r"(?: and discussion)?|discussion|conclusions?|summary|acknowledge?ments?|appendix.*"
    r"|概要|要旨|緒言|はじめに|序論|背景|実験(?:方法)?|方法|結果(?:と考察|および考察)?|考察|結論|まとめ|おわりに|謝辞)[:：]?",
    re.IGNORECASE,
)
_UNDERLINE = re.compile(r"(=|-|~|\^)\1{2,}\s*")
_LIST_ITEM = re.compile(r"\s*(?:[-*+•・]|\d{1,3}[.)]|\[\d{1,3}\])\s+\S")
_REFERENCE_START = re.compile(r"(?m)^\s*(?=\[\d{1,3}\]\s|\(\d{1,3}\)\s|\d{1,3}[.)]\s)")
_TWO_SENTENCES = re.compile(r"[a-z0-9)]{2}[.!?]\s+[A-Z]|。")  # a title is one at most
_COLUMNS = re.compile(r"\t+| {2,}")
MAX_CELL = 40

_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?)\n(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_ATX = re.compile(r" {0,3}(#{1,6})(?:\s+(.*?))?(?:\s+#+)?\s*")
_TABLE_RULE = re.compile(r"\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*")
_INLINE = (
    (re.compile(r"<!--.*?-->", re.DOTALL), ""),
    (re.compile(r"!\[([^\]]*)\](?:\([^)]*\)|\[[^\]]*\])"), r"\1"),
    (re.compile(r"\[([^\]]+)\](?:\([^)\s]*(?:\s+\"[^\"]*\")?\)|\[[^\]]*\])"), r"\1"),
    (re.compile(r"<(https?://[^>\s]+)>"), r"\1"),
    (
        re.compile(r"</?(?:a|b|i|em|strong|sub|sup|span|br|p|div|img|code|kbd|u|small|center)\b[^>]*>", re.IGNORECASE),
        "",
    ),
    (re.compile(r"(\*\*|__)(?=\S)(.+?)(?<=\S)\1"), r"\2"),
    (re.compile(r"(?<![\w*])\*(?=[^\s*])(.+?)(?<=[^\s*])\*(?![\w*])"), r"\1"),
    (re.compile(r"(?<![\w_])_(?=[^\s_])(.+?)(?<=[^\s_])_(?![\w_])"), r"\1"),
    (re.compile(r"(?<!`)`([^`]+)`(?!`)"), r"\1"),
    (re.compile(r"\\([\\`*_{}\[\]()#+\-.!~|>])"), r"\1"),
)


def read_text(path: Path, *, options: ReadOptions) -> Document:
    """Read plain text; a first short paragraph above others is taken for the title."""
    outline = Outline()
    paragraphs = list(_paragraphs(decoded(path)))
    for number, paragraph in enumerate(paragraphs):
        _add_paragraph(outline, paragraph, first=number == 0 and len(paragraphs) > 1)
    return assemble(outline.pieces, metadata=Metadata(), format_name="text")


def read_markdown(path: Path, *, options: ReadOptions) -> Document:
    """Read Markdown (CommonMark's common part, pipe tables, front matter); a `# heading` at the top is the title."""
    text = decoded(path).replace("\r\n", "\n")
    front = _FRONT_MATTER.match(text)
    metadata = _front_matter(front.group(1)) if front else Metadata()
    outline = Outline()
    _Markdown(outline).read(text[front.end() :] if front else text)
    return assemble(outline.pieces, metadata=metadata, format_name="markdown")


def decoded(path: Path) -> str:
    """Return the file's text; raises `ReadError` (cause `malformed`) where the bytes are no text in any encoding."""
    data = path.read_bytes()
    text = decode(data)
    if len(_CONTROL.findall(text[:20_000])) > len(text[:20_000]) // 50:
        raise ReadError(
            f"{path.name!r} is not text, whatever its suffix says",
            cause="malformed",
            hint="Give it the suffix of its real format",
        )
    return text


def decode(data: bytes) -> str:
    """Decode text of unknown encoding: marks first, then what only fits one encoding, then what reads like language.

    UTF-8 and UTF-16 are recognised by their form; Shift_JIS (as cp932) and EUC-JP by the kana they give; the rest is
    left to charset-normalizer, and where that has no opinion the text is Western European (cp1252, else Latin-1).
    """
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return data.decode(encoding, errors="replace")
    if encoding := _unmarked_utf16(data):
        return data.decode(encoding, errors="replace")
    if _ISO_2022.search(data) and (text := _strictly(data, "iso2022_jp")):
        return text
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return _decode_legacy(data)


def _unmarked_utf16(data: bytes) -> str:
    sample = data[:4096]
    if len(sample) < 4 or len(data) % 2:
        return ""
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    if odd > len(sample) // 8 and even == 0:
        return "utf-16-le"
    return "utf-16-be" if even > len(sample) // 8 and odd == 0 else ""


def _decode_legacy(data: bytes) -> str:
    japanese = [text for encoding in ("cp932", "euc_jp") if (text := _strictly(data, encoding))]
    best = max(japanese, key=_kana_share, default="")
    if _kana_share(best) > 0.15:
        return best
    from charset_normalizer import from_bytes

    guess = from_bytes(data[:200_000]).best()
    if guess is not None and guess.encoding in _BELIEVED and (text := _strictly(data, guess.encoding)):
        return text
    if _mostly_utf8(data):
        return data.decode("utf-8", errors="replace")
    return _strictly(data, "cp1252") or data.decode("latin-1")


def _strictly(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return ""


def _mostly_utf8(data: bytes) -> bool:
    """Say whether a few broken bytes spoil what is otherwise UTF-8."""
    text = data.decode("utf-8", errors="replace")
    good = sum(1 for character in text if character > "\x7f" and character != "\ufffd")
    return good > 4 * text.count("\ufffd")


def _kana_share(text: str) -> float:
    """Return the share of kana among the characters beyond ASCII; half-width ones are the mark of a wrong guess."""
    beyond = sum(1 for character in text if character > "\x7f")
    return (len(_KANA.findall(text)) - 2 * len(_HALF_KANA.findall(text))) / beyond if beyond else 0.0


# Plain text.


def _paragraphs(text: str) -> Iterator[list[str]]:
    """Yield runs of lines between blank lines and page breaks."""
    lines: list[str] = []
    for line in text.replace("\f", "\n\n").splitlines():
        if line.strip():
            lines.append(line.rstrip())
        elif lines:
            yield lines
            lines = []
    if lines:
        yield lines


def _add_paragraph(outline: Outline, lines: list[str], *, first: bool) -> None:
    if first and _is_title(lines):
        lines = [line for line in lines if not _UNDERLINE.fullmatch(line)]
        outline.add("title", "\n".join(lines))
    elif len(lines) == 2 and _UNDERLINE.fullmatch(lines[1]):
        outline.heading(lines[0], level=1 if lines[1].startswith("=") else 2)
    elif _is_heading(lines[0]):
        outline.heading(lines[0].strip(), level=_heading_level(lines[0]))
        if lines[1:]:
            _add_paragraph(outline, lines[1:], first=False)
    elif outline.in_references:
        for entry in _REFERENCE_START.split("\n".join(lines)):
            outline.add("text", _unwrap(entry.splitlines()))
    elif _is_table(lines):
        outline.table(_COLUMNS.split(line.strip()) for line in lines)
    else:
        for item in _items(lines):
            outline.add("text", _unwrap(item))


def _is_title(lines: list[str]) -> bool:
    joined = " ".join(lines)
    short = len(lines) <= 3 and len(joined) <= MAX_TITLE and not joined.endswith((".", "。", ":"))
    return short and not _TWO_SENTENCES.search(joined)


def _is_heading(line: str) -> bool:
    line = line.strip()
    if len(line) > MAX_HEADING or line.endswith((".", "。", ",", ";", "、")):
        return False
    bare = re.sub(r"^(?:\d+(?:\.\d+)*\.?|[IVX]+\.)\s*", "", line)
    if is_reference_heading(line) or _KNOWN_HEADING.fullmatch(bare):
        return True
    shouted = line.isupper() and len(line.split()) <= 10 and sum(map(str.isalpha, line)) >= 5
    return shouted or (bool(_NUMBERED.fullmatch(line)) and bare[:1].isalpha() and not bare[:1].islower())


def _heading_level(line: str) -> int:
    numbers = re.match(r"\s*(\d+(?:\.\d+)*)", line)
    return numbers.group(1).count(".") + 1 if numbers else 1


def _is_table(lines: list[str]) -> bool:
    """Say whether every line has the same number of short cells, two at least, set apart by tabs or wide gaps."""
    rows = [_COLUMNS.split(line.strip()) for line in lines]
    short = all(len(cell) <= MAX_CELL for row in rows for cell in row)
    return len(rows) >= 2 and len(rows[0]) >= 2 and len({len(row) for row in rows}) == 1 and short


def _items(lines: list[str]) -> Iterator[list[str]]:
    """Yield the items of a list one by one, and a paragraph that is none as a whole."""
    if not _LIST_ITEM.match(lines[0]):
        yield lines
        return
    item: list[str] = []
    for line in lines:
        if item and _LIST_ITEM.match(line):
            yield item
            item = []
        item.append(line)
    yield item


def _unwrap(lines: Iterable[str]) -> str:
    """Join the lines of a paragraph, with words that were broken by a hyphen made whole."""
    return re.sub(r"(?<=[a-z])-\n\s*(?=[a-z])", "", "\n".join(lines))


# Markdown.


class _Markdown:
    """Reads Markdown line by line into an outline."""

    def __init__(self, outline: Outline) -> None:
        self._outline = outline
        self._paragraph: list[str] = []
        self._titled = False

    def read(self, text: str) -> None:
        lines = text.splitlines()
        position = 0
        while position < len(lines):
            position = self._take(lines, position)
        self._flush()

    def _take(self, lines: list[str], at: int) -> int:
        """Take in what begins at line `at` and return the line after it."""
        line = lines[at]
        if fence := _FENCE.match(line):
            return self._code(lines, at + 1, fence.group(1))
        if heading := _ATX.fullmatch(line):
            self._heading(heading.group(2) or "", len(heading.group(1)))
        elif self._paragraph and re.fullmatch(r" {0,3}(?:=+|-+)\s*", line):
            title = "\n".join(self._paragraph)
            self._paragraph = []
            self._heading(title, 1 if "=" in line else 2)
        elif "|" in line and at + 1 < len(lines) and "-" in lines[at + 1] and _TABLE_RULE.fullmatch(lines[at + 1]):
            return self._table(lines, at)
        elif not line.strip() or re.fullmatch(r"\s*(?:[-*_]\s*){3,}", line):
            self._flush()
        else:
            if _LIST_ITEM.match(line):
                self._flush()
            self._paragraph.append(re.sub(r"^\s*(?:>\s?)+", "", line))
        return at + 1

    def _heading(self, text: str, level: int) -> None:
        self._flush()
        text = flow(_plain(text))
        if level == 1 and not self._titled and not self._outline.pieces:
            self._titled = True
            self._outline.add("title", text)
        else:
            self._outline.heading(text, level=level)

    def _code(self, lines: list[str], at: int, fence: str) -> int:
        self._flush()
        end = at
        while end < len(lines) and not lines[end].lstrip().startswith(fence):
            end += 1
        self._outline.add("text", "\n".join(lines[at:end]), verbatim=True)
        return end + 1

    def _table(self, lines: list[str], at: int) -> int:
        self._flush()
        end = at + 2
        while end < len(lines) and "|" in lines[end] and lines[end].strip():
            end += 1
        self._outline.table(map(_cells, [lines[at], *lines[at + 2 : end]]))
        return end

    def _flush(self) -> None:
        text = "\n".join(self._paragraph)
        image = re.fullmatch(r"\s*!\[.*?\]\([^)]*\)\s*", text, re.DOTALL)
        self._outline.add("caption" if image else "text", _plain(text))
        self._paragraph = []


def _cells(line: str) -> list[str]:
    return [_plain(cell.replace("\\|", "|")) for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]


def _plain(text: str) -> str:
    """Return Markdown's inline text without its marks; formulas between dollar signs stay as they are."""
    return "".join(
        part if part.startswith("$") else _strip_marks(part) for part in re.split(r"(\$[^$\n]+\$)", text) if part
    )


def _strip_marks(text: str) -> str:
    for pattern, replacement in _INLINE:
        text = pattern.sub(replacement, text)
    return text


def _front_matter(text: str) -> Metadata:
    """Read the few keys that describe a paper from YAML front matter, one per line; lists in brackets or by dashes."""
    values: dict[str, list[str]] = {}
    key = ""
    for line in text.splitlines():
        if pair := re.fullmatch(r"([A-Za-z_-]+)\s*:\s*(.*)", line):
            key = pair.group(1).lower()
            values[key] = [_unquote(part) for part in pair.group(2).strip().strip("[]").split(",") if part.strip()]
        elif key and (item := re.fullmatch(r"\s*-\s+(?:name\s*:\s*)?(.+)", line)):
            values[key].append(_unquote(item.group(1)))
    year = re.search(r"\b(1[89]\d\d|20\d\d)\b", " ".join(values.get("year", []) + values.get("date", [])))
    return Metadata(
        title=", ".join(values.get("title", [])),
        authors=tuple(values.get("authors", []) or values.get("author", [])),
        year=int(year.group(1)) if year else None,
        doi=" ".join(values.get("doi", [])),
        journal=", ".join(values.get("journal", [])),
        language="".join(values.get("lang", []) or values.get("language", []))[:2].lower(),
    )


def _unquote(text: str) -> str:
    return text.strip().strip("\"'").strip()
