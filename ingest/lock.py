"""The lock that lets one process at a time write to a library, and that tells who holds it.

The lock is the operating system's (it dies with its process, however that dies); a small file beside it names the
holder.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from ingest.errors import LibraryBusy, LibraryError

LOCK_FILE = "writer.lock"
HOLDER_FILE = "writer.json"


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that is writing: `since` is ISO 8601 in UTC, `command` what it was started as."""

    pid: int
    host: str
    since: str
    command: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since} ({self.command})"


class WriterLock:
    """Held by at most one process per library folder; not re-entrant.

    `acquire` raises `LibraryBusy` at once, with the holder in the message, when another holds it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = FileLock(folder / LOCK_FILE, timeout=0, thread_local=False)

    def acquire(self, command: str = "") -> None:
        """Take the lock and write down who holds it."""
        try:
            self._lock.acquire()
        except Timeout as error:
            raise LibraryBusy(f"{self._folder} is being written by {_named(self._folder)}") from error
        except OSError as error:
            raise unwritable(self._folder, error) from error
        try:
            _write_holder(self._folder, command or " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]).strip())
        except OSError as error:
            self._lock.release()
            raise unwritable(self._folder, error) from error

    def release(self) -> None:
        """Give the lock back, if it is held; the holder's name goes first, so that it never names one who has left."""
        if not self._lock.is_locked:
            return
        (self._folder / HOLDER_FILE).unlink(missing_ok=True)
        self._lock.release()


def holder(folder: Path) -> Holder | None:
    """Return the process that is writing to the library in `folder`, or None.

    A name left behind by a process that was killed is recognised by the lock being free.
    """
    if not (folder / HOLDER_FILE).exists():
        return None
    named = _read_holder(folder)
    probe = FileLock(folder / LOCK_FILE, timeout=0, thread_local=False)
    try:
        probe.acquire()
    except Timeout:
        return named
    except OSError:  # a read-only folder: nobody here can hold it
        return None
    probe.release()
    return None


def unwritable(folder: Path, error: OSError) -> LibraryError:
    """Return the error to raise when the library's folder cannot be written, with its usual causes told apart."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return disk_full(folder)
    reason = error.strerror or str(error)
    return LibraryError(
        f"cannot write to the library {folder}: {reason}",
        hint="Make the folder writable, or choose another one: --library DIR",
    )


def disk_full(folder: Path) -> LibraryError:
    """Return the error for a full disk."""
    return LibraryError(
        f"no space left on the disk of the library {folder}; what was complete is kept",
        hint="Free some space, then run the same command again: it goes on where it stopped",
        retryable=True,
    )


def _write_holder(folder: Path, command: str) -> None:
    named = Holder(os.getpid(), socket.gethostname(), datetime.now(UTC).isoformat(timespec="seconds"), command)
    partial = folder / f"{HOLDER_FILE}.part"
    partial.write_text(json.dumps(asdict(named)), encoding="utf-8")
    partial.replace(folder / HOLDER_FILE)


def _read_holder(folder: Path) -> Holder | None:
    try:
        return Holder(**json.loads((folder / HOLDER_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None  # it was released, or is being written, this very moment


def _named(folder: Path) -> str:
    named = _read_holder(folder)
    return str(named) if named else "another process"
