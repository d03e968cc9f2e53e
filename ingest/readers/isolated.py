"""Reading in worker processes: a file that hangs, eats memory or crashes its reader costs itself and nothing else.

Workers are fresh interpreters that import only the readers. They are started with exec, never by a bare fork, so a
parent full of threads (ONNX Runtime, torch, Streamlit) is safe, and its main module is not imported again.
"""

from __future__ import annotations

import gc
import json
import os
import pickle
import signal
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from queue import LifoQueue, SimpleQueue
from time import monotonic, sleep
from types import TracebackType
from typing import IO, Any, Generic, Self, TypeVar, overload

import psutil  # type: ignore[import-untyped, unused-ignore]

from ingest.errors import MatlitError, ReadError
from ingest.readers import DEFAULT_OPTIONS, MEGABYTE, ReadOptions, read
from ingest.records import Document

T = TypeVar("T")

WATCH_INTERVAL_S = 0.05
START_TIMEOUT_S = 120.0
OCR_SHARE = 0.7  # of a file's time, after which the pages recognised so far must do
ORPHAN_GRACE_S = 30.0  # how long past its limit a worker may live whose parent no longer watches
MEMORY_EXIT = 77
STDERR_TAIL_BYTES = 4000

_HEADER = struct.Struct("!Q")  # length of the pickle that follows
_BOOT = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from ingest.readers.isolated import _serve; _serve()"
# One core per worker: the pool is what runs in parallel, not the libraries inside it.
_ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OMP_THREAD_LIMIT": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


class WorkerStartError(RuntimeError):
    """A worker could not even start, for example because `then` is not importable from a module."""


class ReaderPool(Generic[T]):
    """Long-lived worker processes that read files.

    Each file is read, described (`ingest.metadata.describe`) and handed to `then(path, document)` inside the worker;
    what `then` returns is what `map` yields. `then` and `reader` must be picklable: functions or objects of an
    importable module. They are unpickled once per worker, so an object may keep a tokenizer between files.

    `timeout_s` is the wall time one file may take, OCR_SHARE of it for OCR; `memory_mb` the resident memory a worker
    may reach. A worker over a limit is killed with the programs it started, and replaced.
    """

    @overload
    def __init__(
        self: ReaderPool[Document],
        *,
        workers: int = ...,
        timeout_s: float = ...,
        memory_mb: int = ...,
        options: ReadOptions = ...,
        then: None = ...,
        reader: Callable[..., Document] = ...,
    ) -> None: ...

    @overload
    def __init__(
        self,
        *,
        workers: int = ...,
        timeout_s: float = ...,
        memory_mb: int = ...,
        options: ReadOptions = ...,
        then: Callable[[Path, Document], T],
        reader: Callable[..., Document] = ...,
    ) -> None: ...

    def __init__(
        self,
        *,
        workers: int = 0,
        timeout_s: float = 300.0,
        memory_mb: int = 2048,
        options: ReadOptions = DEFAULT_OPTIONS,
        then: Callable[[Path, Document], Any] | None = None,
        reader: Callable[..., Document] = read,
    ) -> None:
        count = workers or os.cpu_count() or 1
        options = replace(options, ocr_budget_s=min(options.ocr_budget_s, OCR_SHARE * timeout_s))
        job = pickle.dumps((reader, options, then, timeout_s, memory_mb), protocol=5)
        self._workers = [_Worker(job, timeout_s=timeout_s, memory_mb=memory_mb) for _ in range(count)]
        self._idle: LifoQueue[_Worker] = LifoQueue()  # last in, first out: a few files never start every worker
        for worker in self._workers:
            self._idle.put(worker)
        self._look_ahead = 2 * count + 2
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="matlit-read")
        self._closed = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="matlit-watch", daemon=True)

    def __enter__(self) -> Self:
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        while self._idle.qsize() < len(self._workers):  # again and again: one may just have been about to start
            self._kill_busy()
            sleep(WATCH_INTERVAL_S)
        self._threads.shutdown(wait=True)
        self._closed.set()
        self._watcher.join()
        for worker in self._workers:
            worker.stop()

    def map(self, paths: Iterable[Path]) -> Iterator[tuple[Path, T | ReadError]]:
        """Yield each path with what became of it, in the order in which files finish.

        At most a few results per worker wait for a slow consumer, and `paths` is consumed no further ahead than that.
        A `MatlitError` that is not about the file (say, a missing tokenizer in `then`) is raised here. Closing the
        generator stops the files that are being read.
        """
        if not self._watcher.is_alive():
            raise RuntimeError("use ReaderPool in a `with` statement: without it nothing watches the workers")
        todo = iter(paths)
        running: set[Future[tuple[Path, Any]]] = set()
        try:
            while True:
                running.update(
                    self._threads.submit(self._read, path) for path in islice(todo, self._look_ahead - len(running))
                )
                if not running:
                    return
                finished = wait(running, return_when=FIRST_COMPLETED).done.pop()
                running.remove(finished)
                yield finished.result()
        finally:
            self._abandon(running)

    def interrupt(self) -> None:
        """Kill the processes that are reading, from any thread; `map` then yields a `ReadError` for their files."""
        self._kill_busy()

    def _read(self, path: Path) -> tuple[Path, Any]:
        worker = self._idle.get()
        try:
            return path, worker.run(path)
        finally:
            self._idle.put(worker)

    def _abandon(self, running: set[Future[tuple[Path, Any]]]) -> None:
        left = {future for future in running if not future.cancel()}
        while left:
            self._kill_busy()
            left = wait(left, timeout=WATCH_INTERVAL_S).not_done

    def _kill_busy(self) -> None:
        for worker in self._workers:
            worker.kill("closed")

    def _watch(self) -> None:
        while not self._closed.wait(WATCH_INTERVAL_S):
            for worker in self._workers:
                worker.check()


class _Worker:
    """One worker process as its parent sees it; used by one thread at a time, and watched by another."""

    def __init__(self, job: bytes, *, timeout_s: float, memory_mb: int) -> None:
        self._job = job
        self._timeout_s = timeout_s
        self._memory_bytes = memory_mb * MEGABYTE
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._stderr: IO[bytes] | None = None
        self._deadline: float | None = None  # None while idle
        self._verdict = ""  # why the process was killed
        self._fresh_bytes = 0  # resident memory after its first file

    def run(self, path: Path) -> object:
        """Have the worker read one file; a dead worker gives a `ReadError` and is replaced at the next call."""
        process = self._process or self._start()
        with self._lock:
            self._deadline, self._verdict = monotonic() + self._timeout_s, ""
        self._clear_stderr()
        try:
            _send(process.stdin, path)
            kind, value = _receive(process.stdout)
        except (EOFError, BrokenPipeError):
            return self._post_mortem(path)
        finally:
            with self._lock:
                self._deadline = None
        if self._verdict or self._has_grown():
            self.stop()
        if kind == "raise":
            raise value
        return value

    def check(self) -> None:
        """Kill the worker when the file in hand is over a limit."""
        process, deadline = self._process, self._deadline
        if process is None or deadline is None:
            return
        if monotonic() > deadline:
            self.kill("timeout")
        elif self._resident_bytes() > self._memory_bytes:
            self.kill("memory")

    def kill(self, verdict: str) -> None:
        """Kill the process and all it started, if it is at work, and remember why."""
        with self._lock:
            if self._process is not None and self._deadline is not None and not self._verdict:
                self._verdict = verdict
                _kill_group(self._process)

    def stop(self) -> None:
        """End the process, if there is one."""
        process, stderr = self._process, self._stderr
        with self._lock:
            self._process = self._stderr = None
        if process is None:
            return
        _kill_group(process)
        process.wait()
        for pipe in (process.stdin, process.stdout, stderr):
            if pipe is not None:
                with suppress(BrokenPipeError):  # unsent bytes of a task that the dead worker never took
                    pipe.close()

    def _start(self) -> subprocess.Popen[bytes]:
        stderr = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the process, closed in stop()
        process = subprocess.Popen(
            [sys.executable, "-c", _BOOT, json.dumps([entry or str(Path.cwd()) for entry in sys.path])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env={**os.environ, **_ONE_THREAD},
            start_new_session=True,  # Ctrl-C in the terminal reaches the parent alone, which then decides
        )
        with self._lock:
            self._process, self._stderr = process, stderr
            self._deadline, self._verdict, self._fresh_bytes = monotonic() + START_TIMEOUT_S, "", 0
        try:
            process.stdin.write(_HEADER.pack(len(self._job)) + self._job)  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
            _receive(process.stdout)
        except (EOFError, BrokenPipeError) as error:
            tail = self._stderr_tail()
            self.stop()
            raise WorkerStartError(f"a reader process could not start: {tail or 'no message'}") from error
        return process

    def _resident_bytes(self) -> int:
        process = self._process
        if process is None:
            return 0
        try:
            return int(psutil.Process(process.pid).memory_info().rss)
        except psutil.Error:  # it has just died, which its own thread will notice
            return 0

    def _has_grown(self) -> bool:
        """Say whether libraries leaked so much that the next file would pay for it."""
        resident = self._resident_bytes()
        self._fresh_bytes = self._fresh_bytes or resident
        return resident - self._fresh_bytes > self._memory_bytes / 2

    def _clear_stderr(self) -> None:
        if self._stderr is not None:
            self._stderr.seek(0)
            self._stderr.truncate()

    def _stderr_tail(self) -> str:
        if self._stderr is None:
            return ""
        size = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, size - STDERR_TAIL_BYTES))
        lines = self._stderr.read().decode(errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else ""

    def _post_mortem(self, path: Path) -> ReadError:
        process = self._process
        if process is None:
            raise RuntimeError("a worker without a process was given a file")
        _await_exit(process)
        _kill_group(process)  # what it started; before wait(), which would free the group's number for others
        code = process.wait()
        tail = self._stderr_tail()
        verdict = self._verdict or _verdict_of(code)
        self.stop()
        if verdict == "timeout":
            return timed_out(path, self._timeout_s)
        if verdict == "memory":
            return out_of_memory(path, self._memory_bytes // MEGABYTE)
        return crashed(path, code, tail)


def timed_out(path: Path, timeout_s: float) -> ReadError:
    """Return the error for a file that took longer than its limit."""
    return ReadError(
        f"{path.name!r} was not read within {timeout_s:g} s",
        cause="timeout",
        hint='Raise timeout_s in the table [reading] of the settings file, or leave OCR out: ocr = "never"',
    )


def out_of_memory(path: Path, memory_mb: int) -> ReadError:
    """Return the error for a file whose reader reached the memory limit."""
    return ReadError(
        f"reading {path.name!r} needs more than {memory_mb} MB of memory",
        cause="memory",
        hint="Raise memory_mb in the table [reading] of the settings file",
    )


def crashed(path: Path, code: int, detail: str) -> ReadError:
    """Return the error for a file that brought its reader down; `detail` is the last line the reader wrote."""
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    return ReadError(
        f"the reader crashed on {path.name!r} ({how}{': ' if detail else ''}{detail})",
        cause="crashed",
        hint="Open it in a PDF viewer and print it to a new PDF; if that reads, the file was damaged",
    )


def _verdict_of(code: int) -> str:
    """Name the cause of a death the parent did not order; a stray SIGKILL is most likely the kernel short of memory."""
    if code == MEMORY_EXIT or code == -getattr(signal, "SIGKILL", 9):
        return "memory"
    return "timeout" if code == -getattr(signal, "SIGALRM", 14) else "crashed"


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a process that was not waited for yet, and what it started: a worker leads a group of its own."""
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


def _await_exit(process: subprocess.Popen[bytes]) -> None:
    """Wait until the process is dead, without reaping it: its pipes close a moment before it has its exit code."""
    if hasattr(os, "waitid"):
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)


def _send(pipe: IO[bytes] | None, value: object) -> None:
    assert pipe is not None  # noqa: S101  # opened with PIPE
    data = pickle.dumps(value, protocol=5)
    pipe.write(_HEADER.pack(len(data)))
    pipe.write(data)
    pipe.flush()


def _receive(pipe: IO[bytes] | None) -> Any:  # whatever the other side sent
    """Return the next message; both ends are this program, so unpickling is safe."""
    assert pipe is not None  # noqa: S101  # opened with PIPE
    header = pipe.read(_HEADER.size)
    if len(header) < _HEADER.size:
        raise EOFError
    (length,) = _HEADER.unpack(header)
    data = pipe.read(length)
    if len(data) < length:
        raise EOFError
    return pickle.loads(data)  # noqa: S301


# What runs inside the worker.


def _serve() -> None:
    """Be a worker: take the job, then answer one path after another until the parent goes away."""
    tasks, answers = _take_pipes()
    reader, options, then, timeout_s, memory_mb = _receive(tasks)
    _limit_memory(memory_mb)
    # A page is thousands of short-lived objects without cycles; looking for cycles took a twelfth of the reading.
    gc.set_threshold(50_000, 20, 100)
    inbox = _listen(tasks)
    _send(answers, "ready")
    while True:
        path = inbox.get()
        _alarm(timeout_s + ORPHAN_GRACE_S)
        _send(answers, _answer(path, reader=reader, options=options, then=then))
        _alarm(0)


def _answer(
    path: Path,
    *,
    reader: Callable[..., Document],
    options: ReadOptions,
    then: Callable[[Path, Document], object] | None,
) -> tuple[str, object]:
    from ingest.metadata import describe

    try:
        document = reader(path, options=options)
        document = replace(document, metadata=describe(document, path))
        return "value", document if then is None else then(path, document)
    except ReadError as error:
        return "value", error
    except MatlitError as error:
        return "raise", error
    except RecursionError:
        return "value", ReadError(f"{path.name!r} nests its objects without end", cause="malformed")
    except MemoryError:
        os._exit(MEMORY_EXIT)  # what is left of this process is not worth keeping


def _take_pipes() -> tuple[IO[bytes], IO[bytes]]:
    """Move the pipes off the standard streams, so that nothing a library prints can mix with the answers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tasks, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return tasks, answers


def _listen(tasks: IO[bytes]) -> SimpleQueue[Path]:
    """Receive tasks in a thread, which ends the worker and its children when the parent's end of the pipe closes."""
    inbox: SimpleQueue[Path] = SimpleQueue()

    def receive() -> None:
        try:
            while True:
                inbox.put(_receive(tasks))
        except EOFError:
            if hasattr(os, "killpg"):
                os.killpg(0, signal.SIGKILL)
            os._exit(0)

    threading.Thread(target=receive, daemon=True).start()
    return inbox


def _alarm(seconds: float) -> None:
    """Let the kernel end a worker that hangs without releasing the interpreter after its parent was killed."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _limit_memory(memory_mb: int) -> None:
    """Refuse single huge allocations, which would outrun the parent's watch.

    The data segment (Linux counts private writable mappings there) is limited rather than the address space: numpy,
    fonts and mapped files reserve gigabytes of the latter without using them.
    """
    if sys.platform != "linux":
        return
    import resource

    limit = memory_mb * MEGABYTE * 3 // 2 + 512 * MEGABYTE
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
