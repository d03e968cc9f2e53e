"""The reader pool: limits, crashes, interruption, order of work; with real processes and small real files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from ingest.errors import EmbedderError, ReadError
from ingest.readers import ReadOptions
from ingest.readers.isolated import ReaderPool, WorkerStartError
from ingest.records import Document, Metadata, Page


def odd_reader(path: Path, *, options: ReadOptions) -> Document:
    """Do what the file's name says: the misbehaviour that no real reader would own up to."""
    word = path.stem.split("-")[0]
    if word == "hang":
        time.sleep(600)
    elif word == "spawn":
        subprocess.run(["sleep", "600"])
    elif word == "abort":
        os.abort()
    elif word == "exit":
        os._exit(3)
    elif word == "bug":
        raise KeyError("no such key")
    elif word == "eat":
        _eat(slowly=True)
    elif word == "gulp":
        _eat(slowly=False)
    elif word == "deep":
        return odd_reader(path.with_stem("deep-" + str(options.max_pages)), options=options)
    elif word == "refuse":
        raise ReadError("cannot", cause="encrypted", hint="a password")
    elif word == "noise":
        os.write(1, b"a library prints to the standard output\n" * 1000)
    elif word == "slow":
        time.sleep(0.3)
    return Document(pages=(Page(1, path.stem),), metadata=Metadata(), format="odd")


def _eat(*, slowly: bool) -> None:
    eaten = []
    while True:
        eaten.append(b"x" * (20_000_000 if slowly else 4_000_000_000))
        time.sleep(0.02)


def worker_pid(path: Path, document: Document) -> int:
    return os.getpid()


def shout(path: Path, document: Document) -> str:
    return document.pages[0].text.upper()


def no_tokenizer(path: Path, document: Document) -> str:
    raise EmbedderError("no tokenizer here")


def pool(**changes):
    settings = {"workers": 2, "timeout_s": 20.0, "memory_mb": 400, "reader": odd_reader} | changes
    return ReaderPool(**settings)


def results(names, **changes):
    with pool(**changes) as readers:
        return {path.name: result for path, result in readers.map(Path(name) for name in names)}


def cause_beside_good_files(name: str, **changes) -> ReadError:
    """Read the bad file among good ones, check that every good one arrived, and return the bad one's error."""
    good = [f"good-{n}" for n in range(6)]
    got = results([*good[:3], name, *good[3:]], **changes)
    assert [got[each].pages[0].text for each in good] == good
    return got[name]


def test_a_hanging_file_costs_itself_alone_and_is_called_timeout():
    error = cause_beside_good_files("hang", timeout_s=1.0)
    assert error.cause == "timeout"
    assert "'hang'" in str(error)
    assert "1 s" in str(error)
    assert not error.retryable


def test_a_file_that_eats_memory_is_called_memory():
    error = cause_beside_good_files("eat")
    assert error.cause == "memory"
    assert "400 MB" in str(error)


def test_one_huge_allocation_is_called_memory():
    assert cause_beside_good_files("gulp").cause == "memory"


def test_an_aborting_reader_is_called_crashed_with_its_signal():
    error = cause_beside_good_files("abort")
    assert error.cause == "crashed"
    assert "signal 6" in str(error)


def test_a_reader_that_exits_is_called_crashed_with_its_code():
    error = cause_beside_good_files("exit")
    assert error.cause == "crashed"
    assert "exit code 3" in str(error)


def test_a_bug_in_a_reader_is_called_crashed_and_names_the_exception():
    error = cause_beside_good_files("bug")
    assert error.cause == "crashed"
    assert "KeyError: 'no such key'" in str(error)


def test_endless_nesting_is_called_malformed():
    assert cause_beside_good_files("deep").cause == "malformed"


def test_a_refusal_crosses_the_border_with_cause_and_hint():
    error = cause_beside_good_files("refuse")
    assert (error.cause, error.hint, str(error)) == ("encrypted", "a password", "cannot")


def test_what_a_library_prints_does_not_mix_with_the_answers(capfd):
    assert results(["noise"])["noise"].pages[0].text == "noise"
    assert capfd.readouterr().out == ""


def test_then_runs_in_the_worker():
    with pool(then=worker_pid) as readers:
        pids = {pid for _, pid in readers.map(Path(f"slow-{n}") for n in range(6))}
    assert os.getpid() not in pids
    assert len(pids) == 2


def test_what_then_returns_is_what_comes_back():
    with pool(then=shout) as readers:
        assert list(readers.map([Path("good")])) == [(Path("good"), "GOOD")]


def test_an_error_that_is_not_about_the_file_is_raised():
    with pool(then=no_tokenizer) as readers, pytest.raises(EmbedderError, match="no tokenizer here"):
        list(readers.map([Path("good")]))


def test_a_then_that_workers_cannot_import_is_refused_at_the_first_file(monkeypatch):
    monkeypatch.setattr(shout, "__module__", "nowhere")
    monkeypatch.setitem(sys.modules, "nowhere", sys.modules[__name__])
    with pool(then=shout) as readers, pytest.raises(WorkerStartError, match="nowhere"):
        list(readers.map([Path("good")]))


def test_a_slow_consumer_is_not_overrun():
    taken = []

    def paths():
        for n in range(200):
            taken.append(n)
            yield Path(f"good-{n}")

    with pool() as readers:
        stream = readers.map(paths())
        for _ in range(5):
            next(stream)
            time.sleep(0.1)
        assert len(taken) <= 5 + 2 * 2 + 2
        stream.close()


def test_one_pool_maps_twice_with_the_same_workers():
    with pool(workers=1, then=worker_pid) as readers:
        first = dict(readers.map([Path("good")]))
        second = dict(readers.map([Path("good")]))
    assert first == second


def test_a_dead_worker_is_replaced_by_another():
    with pool(workers=1, then=worker_pid) as readers:
        before = dict(readers.map([Path("good")]))[Path("good")]
        assert dict(readers.map([Path("abort")]))[Path("abort")].cause == "crashed"
        after = dict(readers.map([Path("good")]))[Path("good")]
    assert before != after


def test_closing_the_generator_stops_what_is_being_read():
    with pool() as readers:
        stream = readers.map([Path("good"), Path("hang-1"), Path("hang-2")])
        next(stream)
        begun = time.monotonic()
        stream.close()
        assert time.monotonic() - begun < 5
        assert [path.name for path, _ in readers.map([Path("good-again")])] == ["good-again"]


def test_leaving_the_pool_leaves_no_process():
    before = set(psutil.Process().children(recursive=True))  # an earlier test may have left Python's resource tracker
    with pool() as readers:
        next(readers.map([Path("good"), Path("spawn-1"), Path("spawn-2")]))
        time.sleep(0.3)
    assert set(psutil.Process().children(recursive=True)) <= before


def test_a_pool_outside_a_with_statement_is_refused():
    with pytest.raises(RuntimeError, match="with"):
        next(pool().map([Path("good")]))


def test_a_missing_file_is_a_result_and_not_an_exception(tmp_path):
    with ReaderPool(workers=1) as readers:
        [(_, error)] = readers.map([tmp_path / "none.pdf"])
    assert error.cause == "missing"


def test_threads_in_the_parent_do_no_harm():
    stop = threading.Event()
    threads = [threading.Thread(target=stop.wait) for _ in range(20)]
    for thread in threads:
        thread.start()
    try:
        assert len(results([f"good-{n}" for n in range(4)])) == 4
    finally:
        stop.set()


def test_good_files_land_among_hard_ones(shared_data, tmp_path):
    good = []
    for number in range(10):
        good.append(tmp_path / f"good{number}.txt")
        good[-1].write_text(f"Good file number {number} says that steel creeps.")
    hard = [
        path for path in (shared_data / "papers_hard").glob("*.pdf") if path.name.startswith(("bad_", "enc_", "junk_"))
    ]
    mixed = [path for pair in zip(hard, good * 2, strict=False) for path in pair]
    with ReaderPool(workers=2, timeout_s=60, options=ReadOptions(ocr="never")) as readers:
        got = dict(readers.map(dict.fromkeys(mixed)))
    assert set(got) == set(mixed)
    assert all(isinstance(got[path], Document) for path in good)
    assert {got[path].cause for path in hard if path.name.startswith("enc_") and isinstance(got[path], ReadError)} == {
        "encrypted"
    }
    assert not {result.cause for result in got.values() if isinstance(result, ReadError)} & {
        "crashed",
        "timeout",
        "memory",
    }


SCRIPT = """
import sys
from pathlib import Path
from ingest.readers.isolated import ReaderPool
from test_isolated import odd_reader
with ReaderPool(workers=2, timeout_s=60, memory_mb=400, reader=odd_reader) as pool:
    for path, result in pool.map([Path("good"), Path("hang"), Path("spawn")]):
        print(path, flush=True)
"""


@pytest.fixture
def busy_parent():
    """A separate program whose pool has one worker asleep and one waiting for a program it started."""
    here = Path(__file__).parent
    env = os.environ | {"PYTHONPATH": f"{here.parent}{os.pathsep}{here}"}
    process = subprocess.Popen([sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)
    assert process.stdout.readline() == b"good\n"
    deadline = time.monotonic() + 20
    while len(family := psutil.Process(process.pid).children(recursive=True)) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    yield process, family
    process.kill()
    process.communicate()


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
def test_kill_9_of_the_parent_leaves_no_worker_behind(busy_parent):
    process, family = busy_parent
    assert len(family) == 3
    process.send_signal(signal.SIGKILL)
    process.wait()
    _, alive = psutil.wait_procs(family, timeout=5)
    assert alive == []


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
def test_ctrl_c_ends_parent_and_workers(busy_parent):
    process, family = busy_parent
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=10)
    assert b"KeyboardInterrupt" in errors
    _, alive = psutil.wait_procs(family, timeout=5)
    assert alive == []
