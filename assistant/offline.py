"""Offline mode: refuses, at the socket, every connection that would leave this machine.

Two layers, because one is not enough. Python's socket methods are replaced, so that a host name is refused before the
C library would look it up; and an audit hook (PEP 578) sees what goes around them, in any thread and through any
reference taken earlier. Loopback addresses and Unix sockets pass. Compiled code that opens sockets by itself is out of
reach: of what matlit loads, llama.cpp and Chroma's store open none to other machines, and ONNX Runtime, which would,
is told not to (`ORT_DISABLE_TELEMETRY`, always).
"""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
import threading
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from ingest.errors import OfflineError

# What asks these before it connects: the Hugging Face libraries, the telemetry of Chroma and of ONNX Runtime, and
# matlit's own child processes.
VARIABLES = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "ANONYMIZED_TELEMETRY": "False",
    "ORT_DISABLE_TELEMETRY": "1",
    "MATLIT_OFFLINE": "true",
}

# Families whose addresses name something on this machine: files, the kernel, its cryptography.
_INSIDE = {getattr(socket, name) for name in ("AF_UNIX", "AF_NETLINK", "AF_ALG") if hasattr(socket, name)}
_METHODS = ("connect", "connect_ex", "sendto", "sendmsg")
_CONNECTS = {"socket.connect", "socket.sendto", "socket.sendmsg"}
_LOOKS_UP = {"socket.getaddrinfo", "socket.gethostbyname"}
_LOOKS_BACK = {"socket.gethostbyaddr", "socket.getnameinfo"}  # these ask a server even about an address


class Guard(AbstractContextManager["Guard"]):
    """Offline mode in force, until `lift` or the end of a `with` block."""

    def __init__(self) -> None:
        self._holds = True
        _state.begin()

    def lift(self) -> None:
        """Allow connections again, unless another guard is in force; calling it twice does nothing more."""
        if self._holds:
            self._holds = False
            _state.end()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.lift()


def enforce() -> Guard:
    """Refuse, from now on and in every thread, each connection that is not loopback.

    The guard holds for the rest of the process, or for the block: `with enforce(): …`. What is refused raises
    `OfflineError` with the address in it, before any byte leaves and before any name is looked up.
    """
    return Guard()


def in_force() -> bool:
    """Tell whether offline mode is in force in this process."""
    return _state.depth > 0


def is_loopback(host: str) -> bool:
    """Tell whether `host`, a name or an address, is this machine by definition.

    True for `localhost` and names under it (RFC 6761), 127.0.0.0/8, ::1, and the unspecified address, which a
    connection takes as this machine. A name that merely resolves to loopback is not: looking it up may ask a server.
    """
    name = host.rstrip(".").lower()
    if name in ("", "localhost") or name.endswith(".localhost"):
        return True
    address = _address(name.strip("[]"))
    return address is not None and (address.is_loopback or address.is_unspecified)


def refuse_remote(url: str, *, what: str) -> None:
    """Raise for a URL whose host is another machine.

    Raises:
        OfflineError: with `what` and the host in it.
    """
    host = urlsplit(url).hostname or ""
    if not host or not is_loopback(host):
        raise OfflineError(f"offline mode: {what} is at {host or url!r}, on another machine")


def refused(error: BaseException) -> OfflineError | None:
    """Return the `OfflineError` that a client library wrapped in errors or groups of its own, or None."""
    if isinstance(error, OfflineError):
        return error
    inside = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    wrapped = (*inside, error.__cause__ or error.__context__)
    return next(filter(None, (refused(one) for one in wrapped if one is not None)), None)


class _State:
    """How many guards are in force; the methods are replaced while there is one, the hook stays and looks here."""

    def __init__(self) -> None:
        self.depth = 0
        self._lock = threading.Lock()
        self._hooked = False
        self._originals: dict[str, Any] = {}
        self._variables: dict[str, str | None] = {}

    def begin(self) -> None:
        with self._lock:
            if not self._hooked:
                sys.addaudithook(_hook)
                self._hooked = True
            if not self.depth:
                self._variables = {name: os.environ.get(name) for name in VARIABLES}
                os.environ.update(VARIABLES)
                for name in _METHODS:
                    if hasattr(socket.socket, name):
                        self._originals[name] = vars(socket.socket).get(name)
                        setattr(socket.socket, name, _guarded(name))
            self.depth += 1

    def end(self) -> None:
        with self._lock:
            self.depth -= 1
            if self.depth:
                return
            for name, value in self._variables.items():
                os.environ.pop(name, None) if value is None else os.environ.update({name: value})
            for name, original in self._originals.items():
                if original is None:  # it was the C class's own
                    delattr(socket.socket, name)
                else:
                    setattr(socket.socket, name, original)


def _guarded(name: str) -> Any:
    method = getattr(socket.socket, name)
    place = {"sendto": -1, "sendmsg": 3}.get(name, 0)  # where the address stands among the arguments

    def guarded(self: socket.socket, *arguments: Any) -> Any:
        if place < len(arguments):
            _look(self, arguments[place])
        return method(self, *arguments)

    guarded.__name__ = name
    return guarded


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not event.startswith("socket.") or not _state.depth:
        return
    if event in _CONNECTS:
        _look(arguments[0], arguments[1])
    elif event in _LOOKS_UP:
        _look_at_name(arguments[0])
    elif event in _LOOKS_BACK:
        host = arguments[0] if isinstance(arguments[0], str) else arguments[0][0]
        if not is_loopback(host):
            raise OfflineError(f"offline mode refused to look up {host!r}")


def _look(sock: Any, address: Any) -> None:
    """Refuse `address` unless it is inside; a connected socket sends without one."""
    if address is None or sock.family in _INSIDE:
        return
    host = _text(address[0]) if isinstance(address, tuple) and address else None
    if host is None or not is_loopback(host):
        port = f":{address[1]}" if isinstance(address, tuple) and len(address) > 1 else ""
        raise OfflineError(f"offline mode refused a connection to {host or address}{port}")


def _look_at_name(host: Any) -> None:
    """Refuse to look a name up; an address is none, and takes no server to read."""
    name = _text(host)
    if name and not is_loopback(name) and _address(name) is None:
        raise OfflineError(f"offline mode refused to look up {name!r}")


def _text(host: Any) -> str | None:
    if isinstance(host, (bytes, bytearray)):
        return bytes(host).decode("idna" if host.isascii() else "utf-8", "replace")
    return host if isinstance(host, str) else None


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


_state = _State()
