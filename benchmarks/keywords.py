"""Keyword benchmarks: quality beside KeyBERT and TF-IDF, throughput against a slow server, memory, and every file.

python -m benchmarks.keywords [slow_baselines] [quality] [japanese] [throughput] [memory] [files]
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from assistant.chat import ChatModel
from assistant.keywords.evaluate import Example, is_development, part_of, read_examples, score
from assistant.keywords.extract import extract
from assistant.keywords.job import KeywordJob, Made, Report
from assistant.keywords.making import Source, ranking_embedder
from assistant.keywords.texts import Text, from_plain
from assistant.limits import Limits
from assistant.metrics import bootstrap_difference, bootstrap_mean
from benchmarks._machine import describe

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
AUTHORS = DATA / "keyphrases" / "author_keywords.jsonl"
EXPERTS = DATA / "keyphrases" / "scienceie.jsonl"
JAPANESE = Path(__file__).with_name("keywords_japanese.jsonl")
FULLTEXT = DATA / "fulltext" / "corpus.jsonl.gz"
SETS = (
    ("author keywords, title and abstract", AUTHORS, None),
    ("author keywords, full text", AUTHORS, FULLTEXT),
    ("ScienceIE", EXPERTS, None),
)
KEPT = Path.home() / ".cache" / "matlit-benchmarks" / "keybert.jsonl"
MOST = 10
LATENCY_S = 0.3
AT_ONCE = 32
KEYBERT_CHARACTERS = 4000  # its embedder reads 256 tokens; a whole paper only adds candidates and minutes

Method = Callable[[Text], Sequence[str]]


def main() -> None:
    chosen = sys.argv[1:] or ["quality", "japanese", "throughput", "memory", "files"]
    print(describe("scikit-learn", "keybert", "onnxruntime"))
    for name in chosen:
        RUNS[name]()


def quality() -> None:
    """F1@10 on the half of the ids that nothing was developed on."""
    for name, file, fulltext in SETS:
        everything = read_examples(file, fulltext=fulltext)
        examples = [one for one in everything if not is_development(one.id)]
        methods: dict[str, Method] = {
            "matlit": lambda text: extract(text, most=MOST, embedder=ranking_embedder()),
            "TF-IDF 1-3": tfidf([one.text for one in everything]),
        }
        rows = {method: [score(make(one.text), one.gold) for one in examples] for method, make in methods.items()}
        rows |= keybert_rows(name, examples)
        print(f"\n{name}, n = {len(examples)}")
        for method, scores in rows.items():
            shown = "  ".join(f"{metric} {bootstrap_mean([one[metric] for one in scores])}" for metric in scores[0])
            print(f"  {method:16} {shown}")
        best = max((m for m in rows if m != "matlit"), key=lambda m: np.mean([one["f1@10"] for one in rows[m]]))
        ours, theirs = ([one["f1@10"] for one in rows[method]] for method in ("matlit", best))
        print(
            f"  matlit / {best}: {np.mean(ours) / np.mean(theirs):.2f}; difference {bootstrap_difference(ours, theirs)}"
        )


def japanese() -> None:
    """F1@10 on the Japanese texts beside this file, both halves; the rules were mended by the development half alone.

    Titles, abstracts and keywords are ours: true statements in our words, annotated as an author would (all but one of
    eleven keywords stand in the text) before any output was looked at.
    """
    examples = read_examples(JAPANESE)
    methods: dict[str, Method] = {
        "matlit": lambda text: extract(text, most=MOST, embedder=ranking_embedder()),
        "TF-IDF 1-4": japanese_tfidf([one.text for one in examples]),
    }
    for part in ("development", "report"):
        chosen = [one for one in examples if part_of(one.id) == part]
        for method, make in methods.items():
            scores = [score(make(one.text), one.gold)["f1@10"] for one in chosen]
            print(f"Japanese, {part}, n = {len(chosen)}: {method:12} F1@10 {bootstrap_mean(scores)}")


def japanese_tfidf(texts: Sequence[Text]) -> Method:
    """Phrases of one to four nouns of the same tokeniser by TF-IDF over the texts of the file."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    from assistant.keywords.japanese import noun_runs

    def phrases(text: str) -> list[str]:
        return [
            "".join(run[start : start + size])
            for run in noun_runs(text)
            for size in range(1, 5)
            for start in range(len(run) - size + 1)
        ]

    vectorizer = TfidfVectorizer(analyzer=phrases)
    vectorizer.fit(text.whole for text in texts)
    names = vectorizer.get_feature_names_out()

    def make(text: Text) -> list[str]:
        row = vectorizer.transform([text.whole])
        return [names[row.indices[place]] for place in np.argsort(-row.data, kind="stable")[:MOST]]

    return make


def keybert_rows(name: str, examples: Sequence[Example]) -> dict[str, list[dict[str, float]]]:
    """Return KeyBERT's scores, plain and diverse; kept in a file text by text, for it takes seconds for each."""
    KEPT.parent.mkdir(parents=True, exist_ok=True)
    lines = KEPT.read_text(encoding="utf-8").splitlines() if KEPT.exists() else []
    kept = {(row["set"], row["id"]): row["lists"] for row in map(json.loads, lines)}
    make = keybert()
    with KEPT.open("a", encoding="utf-8") as file:
        for one in examples:
            if (name, one.id) not in kept:
                kept[name, one.id] = make(one.text)
                file.write(json.dumps({"set": name, "id": one.id, "lists": kept[name, one.id]}) + "\n")
                file.flush()
    return {
        method: [score(kept[name, one.id][place], one.gold) for one in examples]
        for place, method in enumerate(("KeyBERT 1-3", "KeyBERT 1-3 MMR"))
    }


def slow_baselines() -> None:
    """Let KeyBERT find its keywords ahead of `quality`."""
    for name, file, fulltext in SETS:
        chosen = [one for one in read_examples(file, fulltext=fulltext) if not is_development(one.id)]
        started = time.monotonic()
        keybert_rows(name, chosen)
        print(f"{name}: {len(chosen)} texts, {time.monotonic() - started:.0f} s", flush=True)


def tfidf(texts: Sequence[Text]) -> Method:
    """Phrases of one to three words by TF-IDF over the texts of the file."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(ngram_range=(1, 3), stop_words="english")
    vectorizer.fit(text.whole for text in texts)
    names = vectorizer.get_feature_names_out()

    def make(text: Text) -> list[str]:
        row = vectorizer.transform([text.whole])
        order = np.argsort(-row.data, kind="stable")[: 3 * MOST]
        return [names[row.indices[place]] for place in order]

    return make


def keybert() -> Callable[[Text], tuple[list[str], list[str]]]:
    """KeyBERT with the same embedder as ours: its lists without and with maximal marginal relevance."""
    from keybert import KeyBERT
    from keybert.backend import BaseEmbedder

    class Backend(BaseEmbedder):  # type: ignore[misc]
        def embed(self, documents: Sequence[str], verbose: bool = False) -> np.ndarray:
            return ranking_embedder().embed_documents(list(documents))

    model = KeyBERT(Backend())
    phrases: dict[str, Any] = {"keyphrase_ngram_range": (1, 3), "stop_words": "english"}

    def make(text: Text) -> tuple[list[str], list[str]]:
        shown = text.whole[:KEYBERT_CHARACTERS]
        whole, each = model.extract_embeddings(shown, **phrases)
        known = phrases | {"top_n": MOST, "doc_embeddings": whole, "word_embeddings": each}
        plain = model.extract_keywords(shown, **known)
        diverse = model.extract_keywords(shown, use_mmr=True, diversity=0.5, **known)
        return [phrase for phrase, _ in plain], [phrase for phrase, _ in diverse]

    return make


def throughput(papers: int = 1000) -> float:
    """Papers per second against a server that takes 300 ms and 32 calls at once, beside the ideal rate."""
    with SlowServer() as server:
        limits = Limits(concurrent=AT_ONCE)
        chat = ChatModel.from_spec(f"{server.url}/v1#tiny", limits=limits, context_tokens=16_000)
        chat.chat([_hello()])  # the client's modules are loaded
        ranking_embedder().embed_documents(["warm"])
        job = KeywordJob(sources=made_up(papers), chat=chat, workers=AT_ONCE)
        bare_s = bare(server.url, papers // 2)
        started, spent = time.monotonic(), time.process_time()
        done = sum(isinstance(event, Made) and bool(event.record.keywords) for event in job.run())
        seconds, spent = time.monotonic() - started, time.process_time() - spent
        bare_s += bare(server.url, papers - papers // 2)
    ideal = papers / AT_ONCE * LATENCY_S
    print(f"\nthroughput: {done} papers in {seconds:.2f} s, {1000 * spent / done:.1f} ms of processor each")
    print(f"  ideal {ideal:.2f} s: {ideal / seconds:.1%} of the ideal rate")
    print(f"  {AT_ONCE} bare threads, half before, half after: {bare_s:.2f} s; {bare_s / seconds:.1%} of theirs")
    return ideal / seconds


def bare(url: str, calls: int) -> float:
    """Return the seconds that `calls` calls take from threads that do nothing else: what this machine allows now."""
    from concurrent.futures import ThreadPoolExecutor
    from http.client import HTTPConnection
    from urllib.parse import urlsplit

    body = json.dumps({"messages": [{"role": "user", "content": "x" * 2000}]})

    def several(count: int) -> None:
        connection = HTTPConnection(urlsplit(url).netloc)
        for _ in range(count):
            connection.request("POST", "/v1/chat/completions", body)
            json.loads(connection.getresponse().read())
        connection.close()

    shares = [calls // AT_ONCE + (place < calls % AT_ONCE) for place in range(AT_ONCE)]
    started = time.monotonic()
    with ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(several, shares))
    return time.monotonic() - started


def memory() -> None:
    """Peak memory of a job of 1,000 and of 10,000 papers, each in a process of its own."""
    for papers in (1000, 10_000):
        code = f"from benchmarks.keywords import peak; peak({papers})"
        print(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip())


def peak(papers: int) -> None:
    """Run a job against a server without delay and print this process's peak memory."""
    import resource
    import tempfile

    with SlowServer(seconds=0.0) as server, tempfile.TemporaryDirectory() as folder:
        chat = ChatModel.from_spec(f"{server.url}/v1#tiny", limits=Limits(concurrent=8), context_tokens=16_000)
        job = KeywordJob(sources=made_up(papers), chat=chat, workers=8, output=Path(folder) / "k.jsonl")
        made = sum(isinstance(event, Made) for event in job.run())
    mebibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"memory: {made} papers, peak {mebibytes:.0f} MiB")


def every_file() -> None:
    """Keywords of all files of papers/ and papers_hard/ together: each has keywords or a reason."""
    started = time.monotonic()
    records: list = []
    for event in KeywordJob([DATA / "papers", DATA / "papers_hard"], timeout_s=120).run():
        if isinstance(event, Made):
            records.append(event.record)
        elif isinstance(event, Report):
            print(f"\nfiles: {event.made} with keywords, {len(event.failed)} failed, {event.skipped} twice")
    for record in sorted(records, key=lambda one: one.path):
        print(f"  {Path(record.path).name}: {record.error or '; '.join(one.keyword for one in record.keywords)}")
    counted = Counter(bool(record.keywords) == bool(record.error) for record in records)
    print(f"  without keywords and without a reason: {counted[True]}; {time.monotonic() - started:.0f} s")


def made_up(count: int):
    """Yield papers, made one by one as a reader would hand them over."""
    sentence = "The garnet conducts lithium ions, and the solid electrolyte was sintered at 1200 degrees. "
    for number in range(count):
        text = from_plain(f"Paper {number} on garnet electrolytes", sentence * 14)
        yield Source(f"{number:064x}", f"{number}.pdf", f"Paper {number}", text)


class SlowServer:
    """OpenAI's protocol in a process of its own: every answer takes `seconds`."""

    def __init__(self, seconds: float = LATENCY_S) -> None:
        self._seconds = seconds

    def __enter__(self) -> SlowServer:
        code = f"from benchmarks.keywords import serve; serve({self._seconds})"
        self._process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = f"http://127.0.0.1:{self._process.stdout.readline().strip()}"
        return self

    def __exit__(self, *error: object) -> None:
        self._process.terminate()
        self._process.wait()


def serve(seconds: float) -> None:
    """Answer every call after `seconds`, with asyncio: 32 sleeping threads would cost the job its processor."""
    import asyncio

    answer = json.dumps({"keywords": ["garnet", "solid electrolyte", "sintering", "lithium ion conductor"]})
    reply = json.dumps(
        {
            "id": "c",
            "object": "chat.completion",
            "created": 1,
            "model": "tiny",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": answer}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 900, "completion_tokens": 40, "total_tokens": 940},
        }
    ).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(reply)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                request = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                length = next((line[15:] for line in request.split("\r\n") if line.startswith("content-length:")), "0")
                await reader.readexactly(int(length))
                await asyncio.sleep(seconds)
                writer.write(head + reply)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def run() -> None:
        server = await asyncio.start_server(handle, "127.0.0.1", 0, backlog=256)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

    asyncio.run(run())


def _hello():
    from assistant.chat import Message

    return Message("user", "Hello")


RUNS: dict[str, Callable[[], object]] = {
    "slow_baselines": slow_baselines,
    "quality": quality,
    "japanese": japanese,
    "throughput": throughput,
    "memory": memory,
    "files": every_file,
}

if __name__ == "__main__":
    main()
