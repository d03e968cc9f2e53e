"""Offline mode, over real sockets, each case in a process of its own: the audit hook cannot be taken out again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from assistant.offline import is_loopback, refuse_remote
from ingest.errors import OfflineError
from ingest.minilm import NO_TELEMETRY

ROOT = Path(__file__).resolve().parents[1]
PREPARED = """
import _socket, asyncio, http.client, os, socket, threading, traceback, urllib.request
from ingest.errors import OfflineError
early = socket.socket.connect
from assistant.offline import enforce, in_force, refused as wrapped
guard = enforce()

def refused(call):
    try:
        call()
    except Exception as error:
        print("refused:", found) if (found := wrapped(error)) else traceback.print_exc()
    else:
        raise SystemExit("it was let through")

def sock(kind=socket.SOCK_STREAM, family=socket.AF_INET):
    made = socket.socket(family, kind)
    made.settimeout(2)
    return made
"""


def run(script: str) -> str:
    """Run `script` after offline mode began in a fresh process; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", PREPARED + script], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def test_every_way_out_is_refused_with_the_address() -> None:
    out = run("""
refused(lambda: sock().connect(("192.0.2.1", 80)))
refused(lambda: sock().connect_ex(("192.0.2.1", 80)))
refused(lambda: early(sock(), ("192.0.2.1", 80)))
refused(lambda: _socket.socket(socket.AF_INET, socket.SOCK_STREAM).connect(("192.0.2.1", 80)))
refused(lambda: socket.create_connection(("192.0.2.1", 80), timeout=2))
refused(lambda: sock(socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.1", 53)))
refused(lambda: sock(socket.SOCK_DGRAM).sendto(b"x", 0, ("192.0.2.1", 53)))
refused(lambda: sock(socket.SOCK_DGRAM).sendmsg([b"x"], [], 0, ("192.0.2.1", 53)))
refused(lambda: sock(family=socket.AF_INET6).connect(("2001:db8::1", 80, 0, 0)))
refused(lambda: sock(family=socket.AF_INET6).connect(("::ffff:192.0.2.1", 80, 0, 0)))
""")
    assert out.count("refused: offline mode refused a connection to") == 10
    assert out.count("192.0.2.1") == 9


def test_no_name_is_looked_up() -> None:
    out = run("""
refused(lambda: socket.getaddrinfo("example.org", 443))
refused(lambda: socket.gethostbyname("example.org"))
refused(lambda: socket.gethostbyaddr("example.org"))
refused(lambda: socket.create_connection(("example.org", 443), timeout=2))
refused(lambda: sock().connect(("example.org", 443)))
refused(lambda: sock(socket.SOCK_DGRAM).sendto(b"x", ("example.org", 53)))
refused(lambda: socket.getnameinfo(("192.0.2.1", 80), 0))
""")
    assert out.count("refused:") == 7


def test_clients_are_refused_too_asyncio_threads_and_proxies_included() -> None:
    out = run("""
refused(lambda: urllib.request.urlopen("http://192.0.2.1/", timeout=2))
refused(lambda: http.client.HTTPConnection("example.org", timeout=2).request("GET", "/"))
refused(lambda: asyncio.run(asyncio.open_connection("192.0.2.1", 80)))
refused(lambda: asyncio.run(asyncio.open_connection("example.org", 80)))
import httpx
refused(lambda: httpx.get("http://192.0.2.1/", timeout=2, trust_env=False))
async def get():
    async with httpx.AsyncClient(trust_env=False) as client:
        await client.get("http://192.0.2.1/", timeout=2)
refused(lambda: asyncio.run(get()))
thread = threading.Thread(target=lambda: refused(lambda: sock().connect(("192.0.2.1", 80))))
thread.start(); thread.join()
""")
    assert out.count("refused:") == 7


def test_loopback_and_unix_sockets_pass() -> None:
    out = run("""
import http.server
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
threading.Thread(target=server.serve_forever, daemon=True).start()
port = server.server_address[1]
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
print(opener.open(f"http://127.0.0.1:{port}/README.md").status, opener.open(f"http://localhost:{port}/README.md").status)
left, right = socket.socketpair()
left.sendmsg([b"hello"]); print(right.recv(5))
async def local():
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()
asyncio.run(local())
print("passed")
""")
    assert out.split() == ["200", "200", "b'hello'", "passed"]


def test_lifting_it_restores_everything() -> None:
    out = run("""
with enforce():
    guard.lift(); guard.lift()
    refused(lambda: sock().connect(("192.0.2.1", 80)))
print(in_force(), "connect" in vars(socket.socket), os.environ.get("HF_HUB_OFFLINE"))
""")
    assert out.splitlines()[-1] == "False False None"


def test_model_clients_say_offline_rather_than_unreachable() -> None:
    out = run("""
os.environ |= {f"{name}_API_KEY": "sk-none-of-your-business" for name in ("OPENAI", "GEMINI", "ANTHROPIC")}
from assistant.chat import ChatModel, Message
for spec in ("openai/gpt-4o-mini", "gemini/gemini-2.5-flash", "anthropic/claude-sonnet-5", "http://192.0.2.1/v1#m"):
    refused(lambda: ChatModel.from_spec(spec).chat([Message("user", "hi")]))
    refused(lambda: ChatModel.from_spec(spec, offline=True))
from assistant.llms import get_small
from pathlib import Path
import tempfile
refused(lambda: get_small(offline=True, folder=Path(tempfile.mkdtemp())))
""")
    assert out.count("refused:") == 9


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST.", "a.localhost", "127.0.0.1", "127.8.9.1", "::1", "[::1]", ""]
)
def test_these_are_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["example.org", "192.0.2.1", "localhost.example.org", "::ffff:192.0.2.1", "10.0.0.1"])
def test_these_are_not(host: str) -> None:
    assert not is_loopback(host)


def test_a_url_of_another_machine_is_refused_with_its_host() -> None:
    refuse_remote("http://localhost:8000/v1", what="the server")
    with pytest.raises(OfflineError, match=r"192\.0\.2\.1"):
        refuse_remote("https://192.0.2.1/v1", what="the server")


def can_trace() -> bool:
    """Say whether strace is here and allowed to trace, which in a container it may not be."""
    return bool(shutil.which("strace")) and not subprocess.run(["strace", "-qq", "-o", os.devnull, "true"]).returncode


@pytest.mark.skipif(not can_trace(), reason="needs strace, which sees what compiled code connects to")
def test_compiled_code_connects_to_no_other_machine_even_without_offline(tmp_path: Path) -> None:
    """ONNX Runtime reports to its makers unless told otherwise, past every guard of Python's sockets."""
    seen = tmp_path / "strace.txt"
    code = f"import sys; from ui.cli import main; sys.exit(main(['demo', {str(tmp_path / 'demo')!r}]))"
    environment = {name: value for name, value in os.environ.items() if name != NO_TELEMETRY}
    traced = [
        "strace",
        "-f",
        "-qq",
        "-e",
        "trace=connect,sendto,sendmsg,sendmmsg",
        "-o",
        str(seen),
        sys.executable,
        "-c",
    ]
    done = subprocess.run(
        [*traced, code], env=environment | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = seen.read_text(encoding="utf-8", errors="replace").splitlines()
    away = [line for line in lines if "AF_INET" in line and "127.0.0.1" not in line and '"::1"' not in line]
    assert away == []
