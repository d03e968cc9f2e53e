"""What a job's records become: CSV, BibTeX (an existing file merged), a summary of the corpus, and pictures of it."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assistant.keywords.keys import key
from assistant.keywords.meaning import meaning_key
from assistant.keywords.records import Record
from ingest.errors import BadInput

if TYPE_CHECKING:
    import networkx as nx

SUFFIXES = (".png", ".svg", ".html")
SHOWN = 30  # keywords in a picture
_ENTRY = re.compile(r"@(?P<kind>\w+)\s*\{\s*(?P<name>[^,\s]+)\s*,", re.IGNORECASE)
_KEYWORDS = re.compile(r"(?im)^[ \t]*keywords?[ \t]*=[ \t]*")
_ESCAPES = {"&": r"\&", "%": r"\%", "#": r"\#", "_": r"\_", "$": r"\$"}


def to_csv(records: Iterable[Record]) -> str:
    """Return one line per keyword: paper, title, rank, keyword, present, page; a failed paper has its error instead."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["id", "path", "title", "rank", "keyword", "present", "page", "model", "error"])
    for one in records:
        begin = [one.id, _inert(one.path), _inert(one.title)]
        for rank, keyword in enumerate(one.keywords, 1):
            page = "" if keyword.page is None else keyword.page
            found = [rank, _inert(keyword.keyword), str(keyword.present).lower(), page]
            writer.writerow([*begin, *found, one.model, ""])
        if one.error:
            writer.writerow([*begin, "", "", "", "", one.model, _inert(one.error)])
    return file.getvalue()


def to_bibtex(records: Iterable[Record], existing: str = "") -> str:
    """Return a BibTeX file with a `keywords` field for each paper.

    Entries of `existing` keep all they have; those whose title (or `file`) is that of a paper gain its keywords after
    their own. Papers that have none yet are added as `@misc`.
    """
    entries = _split_entries(existing)
    by_title = {key(title): place for place, entry in enumerate(entries) if (title := _field(entry, "title"))}
    by_file = {Path(name.split(":")[0]).name: at for at, entry in enumerate(entries) if (name := _field(entry, "file"))}
    names = {match["name"] for entry in entries if (match := _ENTRY.match(entry))}
    added = []
    for one in records:
        if not one.keywords:
            continue
        words = [keyword.keyword for keyword in one.keywords]
        place = by_title.get(key(one.title), by_file.get(Path(one.path).name))
        if place is None:
            added.append(_new_entry(one, words, names))
        else:
            entries[place] = _with_keywords(entries[place], words)
    return "".join(entries).rstrip() + ("\n\n" if entries and added else "") + "\n\n".join(added) + "\n"


@dataclass(frozen=True, slots=True)
class Summary:
    """Keywords over a corpus: in how many papers each stands, and which stand together."""

    papers: int
    failed: int
    counts: tuple[tuple[str, int], ...]
    pairs: tuple[tuple[str, str, int], ...]

    def to_json(self) -> dict[str, Any]:
        """Return the summary as plain data."""
        return {
            "papers": self.papers,
            "failed": self.failed,
            "keywords": [{"keyword": word, "papers": count} for word, count in self.counts],
            "together": [{"keywords": [one, other], "papers": count} for one, other, count in self.pairs],
        }


def summarise(records: Iterable[Record]) -> Summary:
    """Count keywords over papers; spellings that mean the same count as one, shown as written most often."""
    forms: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    pairs: Counter[tuple[tuple[str, ...], tuple[str, ...]]] = Counter()
    papers = failed = 0
    for one in records:
        papers, failed = papers + bool(one.keywords), failed + bool(one.error)
        keys = {meaning_key(keyword.keyword): keyword.keyword for keyword in one.keywords}
        for name, form in keys.items():
            forms[name][form] += 1
        pairs.update(combinations(sorted(keys), 2))
    shown = {name: min(spelt, key=lambda form: (-spelt[form], form)) for name, spelt in forms.items()}
    counts = sorted(((shown[name], spelt.total()) for name, spelt in forms.items()), key=lambda one: (-one[1], one[0]))
    together = sorted(
        ((shown[one], shown[other], count) for (one, other), count in pairs.items()),
        key=lambda pair: (-pair[2], pair[0], pair[1]),
    )
    return Summary(papers, failed, tuple(counts), tuple(together))


def draw(summary: Summary, file: Path) -> None:
    """Draw the commonest keywords as bars beside the network of those that stand together, as PNG, SVG or HTML.

    Raises:
        BadInput: the suffix is none of these, or there is nothing to draw.
    """
    if file.suffix.lower() not in SUFFIXES:
        raise BadInput(f"cannot draw {str(file)!r}", hint=f"A picture's name ends in {', '.join(SUFFIXES)}")
    if not summary.counts:
        raise BadInput("there are no keywords to draw", hint="See why in the records: their `error`")
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix.lower() == ".html":
        _draw_html(summary, file)
    else:
        _draw_image(summary, file)


def _network(summary: Summary) -> nx.Graph:
    import networkx as nx

    graph = nx.Graph()
    counts = dict(summary.counts[:SHOWN])
    for word, count in counts.items():
        graph.add_node(word, papers=count)
    for one, other, count in summary.pairs:
        if one in counts and other in counts:
            graph.add_edge(one, other, papers=count)
    return graph


def _places(graph: nx.Graph) -> dict[str, tuple[float, float]]:
    """Return where each word stands: near those it occurs with, and in a row of its own, so that no two overlap."""
    import networkx as nx

    spread = nx.spring_layout(graph, seed=0, k=1.6 / max(len(graph), 1) ** 0.5)
    last = max(len(graph) - 1, 1)
    rows = {word: row / last for row, word in enumerate(sorted(spread, key=lambda word: (spread[word][1], word)))}
    columns = {word: at / last for at, word in enumerate(sorted(spread, key=lambda word: (spread[word][0], word)))}
    return {word: (columns[word], rows[word]) for word in graph}


def _draw_image(summary: Summary, file: Path) -> None:
    import networkx as nx
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patheffects import withStroke
    from matplotlib.ticker import MaxNLocator

    shown = summary.counts[:SHOWN][::-1]
    figure = Figure(figsize=(16, max(4.0, 0.32 * len(shown) + 1.5)), layout="constrained")
    FigureCanvasAgg(figure)
    bars, net = figure.subplots(1, 2, width_ratios=[1, 1.3])
    bars.barh([word for word, _ in shown], [count for _, count in shown], color="#4477aa")
    bars.set_xlabel("papers")
    bars.xaxis.set_major_locator(MaxNLocator(integer=True))
    bars.margins(y=0.01)
    bars.set_title(f"Keywords of {summary.papers} papers")
    graph = _network(summary)
    places = _places(graph)
    widths = [0.4 + data["papers"] ** 0.5 for _, _, data in graph.edges(data=True)]
    sizes = [40 + 60 * data["papers"] ** 0.5 for _, data in graph.nodes(data=True)]
    nx.draw_networkx_edges(graph, places, ax=net, width=widths, edge_color="#cccccc", alpha=0.7)
    nx.draw_networkx_nodes(graph, places, ax=net, node_size=sizes, node_color="#4477aa")
    for word, (x, y) in places.items():
        shown_at = {"xytext": (9, 0), "textcoords": "offset points", "va": "center", "fontfamily": _fonts()}
        halo = [withStroke(linewidth=3, foreground="white")]
        net.annotate(word, (x, y), fontsize=9, path_effects=halo, annotation_clip=False, **shown_at)
    net.set_xlim(-0.05, 1.35)  # room for the words on the right
    for label in bars.get_yticklabels():
        label.set_fontfamily(_fonts())
    net.set_title("Together in a paper")
    net.set_axis_off()
    figure.savefig(file, dpi=150)


def _fonts() -> list[str]:
    """Return fonts in the order to try: those with Japanese characters that are installed, then the default."""
    from matplotlib.font_manager import fontManager

    installed = {font.name for font in fontManager.ttflist}
    wanted = ("Noto Sans CJK JP", "IPAexGothic", "IPAGothic", "TakaoGothic", "Hiragino Sans", "Yu Gothic", "Meiryo")
    return ["DejaVu Sans", *(name for name in wanted if name in installed)]


def _draw_html(summary: Summary, file: Path) -> None:
    from plotly import graph_objects
    from plotly.subplots import make_subplots

    shown = summary.counts[:SHOWN][::-1]
    figure = make_subplots(1, 2, column_widths=[0.4, 0.6], subplot_titles=("Papers", "Together in a paper"))
    words, counts = [word for word, _ in shown], [count for _, count in shown]
    figure.add_trace(graph_objects.Bar(x=counts, y=words, orientation="h"), 1, 1)
    graph = _network(summary)
    places = _places(graph)
    xs: list[float | None] = []
    ys: list[float | None] = []
    for one, other in graph.edges:
        xs += [places[one][0], places[other][0], None]
        ys += [places[one][1], places[other][1], None]
    figure.add_trace(graph_objects.Scatter(x=xs, y=ys, mode="lines", line={"color": "#cccccc"}, hoverinfo="skip"), 1, 2)
    nodes = list(graph.nodes(data=True))
    figure.add_trace(
        graph_objects.Scatter(
            x=[places[word][0] for word, _ in nodes],
            y=[places[word][1] for word, _ in nodes],
            text=[word for word, _ in nodes],
            hovertext=[f"{word}: {data['papers']} papers" for word, data in nodes],
            mode="markers+text",
            textposition="middle right",
            marker={"size": [10 + 4 * data["papers"] ** 0.5 for _, data in nodes]},
        ),
        1,
        2,
    )
    figure.update_layout(
        title=f"Keywords of {summary.papers} papers", showlegend=False, height=max(500, 24 * len(shown))
    )
    figure.write_html(file, include_plotlyjs=True)  # the script too, so that it opens without a network


def _inert(text: str) -> str:
    """Return text that a spreadsheet does not take for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t") else text


def _split_entries(text: str) -> list[str]:
    found = [match.start() for match in _ENTRY.finditer(text)]
    starts = [start for start in found if not text[text.rfind("\n", 0, start) + 1 : start].strip(" \t")]
    if not starts:
        return [text] if text.strip() else []
    cuts = [0, *starts[1:], len(text)]
    return [text[begin:end] for begin, end in pairwise(cuts)]


def _field(entry: str, name: str) -> str:
    match = re.search(rf"(?im)^[ \t]*{name}[ \t]*=[ \t]*", entry) or re.search(rf"(?i)[,\s]{name}\s*=\s*", entry)
    if match is None:
        return ""
    begin, end = _value_span(entry, match.end())
    return re.sub(r"[{}]|\s+", lambda found: " " if found[0].isspace() else "", entry[begin:end]).strip()


def _value_span(entry: str, start: int) -> tuple[int, int]:
    """Return where the value that begins at `start` stands inside its braces or quotes."""
    opening = entry[start : start + 1]
    if opening not in ("{", '"'):
        end = re.compile(r"[,}\n]").search(entry, start)
        return start, end.start() if end else len(entry)
    depth = 0
    for place in range(start, len(entry)):
        char = entry[place]
        if char in "{}" and entry[place - 1] != "\\":
            depth += 1 if char == "{" else -1
        ends = depth == 0 and (char == "}" if opening == "{" else char == '"' and place > start)
        if ends:
            return start + 1, place
    raise BadInput(f"a BibTeX entry does not end: {entry[:60]!r}", hint="Mend its braces, or write to another file")


def _with_keywords(entry: str, words: Sequence[str]) -> str:
    match = _KEYWORDS.search(entry)
    if match is None:
        head = _ENTRY.search(entry)
        assert head is not None  # noqa: S101 - entries are cut where one begins
        return f"{entry[: head.end()]}\n  keywords = {{{_joined(words)}}},{entry[head.end() :]}"
    begin, end = _value_span(entry, match.end())
    own = [word.strip() for word in re.split(r"[;,]", entry[begin:end]) if word.strip()]
    known = {key(word) for word in own}
    more = [_escaped(word) for word in words if key(word) not in known]
    separator = "; " if ";" in entry[begin:end] else ", "
    return entry[:begin] + separator.join([*own, *more]) + entry[end:]


def _new_entry(one: Record, words: Sequence[str], names: set[str]) -> str:
    stem = re.sub(r"[^A-Za-z0-9]+", "-", Path(one.path).stem or one.title).strip("-") or one.id[:12]
    name = stem if stem not in names else f"{stem}-{one.id[:8]}"
    names.add(name)
    lines = [f"  title = {{{_escaped(one.title)}}},"] if one.title else []
    return "\n".join([f"@misc{{{name},", *lines, f"  keywords = {{{_joined(words)}}},", "}"])


def _joined(words: Sequence[str]) -> str:
    return ", ".join(_escaped(word.replace(",", " ")) for word in words)


def _escaped(text: str) -> str:
    return "".join(_ESCAPES.get(char, char) for char in text.replace("{", "").replace("}", "").replace("\\", ""))


def lines_of(records: Iterable[Record]) -> Iterator[str]:
    """Yield the records as JSON lines."""
    import json

    for one in records:
        yield json.dumps(one.to_json(), ensure_ascii=False)
