"""Work in other processes that end with this one; above all, an embedder that has an interpreter of its own.

Chroma holds the interpreter's lock for as long as it writes, a third of a millisecond a vector, and whatever is done in
Python beside the embedding holds it too. An embedder in the same process waits for that lock between two texts, with
all its threads; in a process of its own it never does.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from ingest.errors import EmbedderError

if TYPE_CHECKING:
    from ingest.embed import Embedder, Vectors


BEGIN = "A first sentence loads the model."
PART = 250  # texts handed over at once: what a Ctrl-C waits for, a second


def make_pool(workers: int, begin: Callable[..., None] | None = None, *arguments: object) -> ProcessPoolExecutor:
    """Return `workers` processes that first call `begin`, leave Ctrl-C to this process, and end when it is gone."""
    # A fresh interpreter each: a fork would copy the locks of whatever threads are running.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(begin, arguments))


def _begin(begin: Callable[..., None] | None, arguments: tuple[object, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_wait_for_parent, daemon=True).start()
    if begin:
        begin(*arguments)


def _wait_for_parent() -> None:
    """End this process when the one that started it is gone: killed, it could not tell its workers."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def can_be_apart(embedder: Embedder) -> bool:
    """Say whether an embedder computes on this machine's processor and can be sent to another process."""
    return bool(getattr(embedder, "computes_here", False))


@contextmanager
def apart(embedder: Embedder) -> Iterator[Callable[[Sequence[str]], Callable[[], Vectors]]]:
    """Give what hands texts to the embedder in a process of its own, and returns what waits for their vectors.

    The process begins with the first texts, which are embedded here: it needs a second or two until it can. As with all
    processes, a script that asks for this needs its `if __name__ == "__main__"`. What waits raises EmbedderError when
    the process has died.
    """
    with make_pool(1, _hold, embedder) as pool, ThreadPoolExecutor(1, thread_name_prefix="matlit-embed") as thread:
        begun = False

        def embed(texts: Sequence[str]) -> Callable[[], Vectors]:
            nonlocal begun
            parts = [list(texts[start : start + PART]) for start in range(0, len(texts), PART)] or [[]]
            if not begun:
                begun = True
                pool.submit(_embed, [BEGIN])
                futures = [thread.submit(embedder.embed_documents, part) for part in parts]
            else:
                futures = [_submitted(pool, part) for part in parts]
            return lambda: np.concatenate([_result(future) for future in futures])

        try:
            yield embed
        finally:
            thread.shutdown(wait=False, cancel_futures=True)
            pool.shutdown(wait=True, cancel_futures=True)


def _submitted(pool: ProcessPoolExecutor, texts: list[str]) -> Future[Vectors]:
    try:
        return pool.submit(_embed, texts)
    except BrokenProcessPool as error:
        raise _died(error) from error


def _result(future: Future[Vectors]) -> Vectors:
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise _died(error) from error


def _died(error: BrokenProcessPool) -> EmbedderError:
    message = f"the process that computes vectors has ended: {error}"
    return EmbedderError(message, hint="It may have run out of memory. The same command goes on where this one was")


_held: list[Embedder] = []  # in the process of its own


def _hold(embedder: Embedder) -> None:
    _held[:] = [embedder]


def _embed(texts: list[str]) -> Vectors:
    return _held[0].embed_documents(texts)
