"""Starts the web app: one Streamlit server with our gate before it, bound to this machine unless told otherwise."""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
import threading
import webbrowser
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from ingest.errors import BadInput

SCRIPT = Path(__file__).with_name("pages") / "entry.py"
UPLOAD_MB = 100
OPEN_VARIABLE = "MATLIT_OPEN"  # set where other machines can reach the app: then no folder of this one is offered
SHORTEST_PASSWORD = 8
BROWSER_WAIT_S = 1.5

logger = logging.getLogger(__name__)

CONFIG: dict[str, Any] = {
    "browser.gatherUsageStats": False,
    "client.showErrorDetails": "none",
    "client.showErrorLinks": False,
    "client.toolbarMode": "minimal",
    "logger.hideWelcomeMessage": True,
    "server.fileWatcherType": "none",
    "server.headless": True,
    "server.maxUploadSize": UPLOAD_MB,
    "server.showEmailPrompt": False,
    "runner.magicEnabled": False,
    "theme.baseRadius": "0.6rem",
    "theme.headingFontSizes": ["2rem", "1.55rem", "1.2rem", "1.05rem", "1rem", "0.9rem"],
    "theme.light.primaryColor": "#1d5d86",
    "theme.light.backgroundColor": "#ffffff",
    "theme.light.secondaryBackgroundColor": "#f4f6f8",
    "theme.light.textColor": "#1c2733",
    "theme.light.linkColor": "#1d5d86",
    "theme.dark.primaryColor": "#7cc0e8",
    "theme.dark.backgroundColor": "#12171d",
    "theme.dark.secondaryBackgroundColor": "#1c242d",
    "theme.dark.textColor": "#e6ebf0",
    "theme.dark.linkColor": "#8ecbf0",
}


def serve(*, host: str = "127.0.0.1", port: int = 8501, browser: bool = True, password: str = "") -> None:
    """Serve the app until Ctrl-C.

    Raises:
        BadInput: other machines could reach it and there is no password, the password is short, or the port is taken.
    """
    check_reach(host, password)
    check_port(host, port)
    if not is_loopback(host):
        os.environ[OPEN_VARIABLE] = "1"
    from starlette.middleware import Middleware
    from streamlit.web.server.starlette.starlette_app import App

    from ui.gate import Gate

    app = App(
        SCRIPT,
        middleware=[Middleware(Gate, password=password)],
        lifespan=_lifespan,
        on_script_error=_log_error,
    )
    if browser:
        threading.Timer(BROWSER_WAIT_S, webbrowser.open, [address(host, port)]).start()
    hosts = ["127.0.0.1", "localhost", "[::1]", "::1"] if is_loopback(host) else []
    app.run(config={**CONFIG, "server.address": host, "server.port": port, "server.allowedHosts": hosts})


def address(host: str, port: int) -> str:
    """Return the address to open on this machine."""
    return f"http://{'127.0.0.1' if host in ('0.0.0.0', '::') else host}:{port}"  # noqa: S104 - compared only


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_reach(host: str, password: str) -> None:
    """Refuse to be reached from other machines without a password worth the name."""
    if not is_loopback(host) and not password:
        raise BadInput(
            f"on {host!r} other machines could read your library and use your models",
            hint="Set a password: matlit chat --host HOST --password, or MATLIT_PASSWORD; or leave --host out",
        )
    if password and len(password) < SHORTEST_PASSWORD:
        raise BadInput(f"a password of {len(password)} characters is guessed too soon", hint="Take 8 or more")


def check_port(host: str, port: int) -> None:
    """Refuse a port that is taken, naming one that is free."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise BadInput(
                f"cannot serve on {host}:{port}: {error.strerror}",
                hint=f"Take another port: matlit chat --port {free_port()}",
            ) from error


def free_port() -> int:
    """Return a port of this machine that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def _lifespan(app: Any) -> AsyncIterator[None]:
    from ui.jobs import JOBS
    from ui.resources import warm_up

    threading.Thread(target=warm_up, name="matlit-warm-up", daemon=True).start()
    yield
    JOBS.close()


def _log_error(error: Exception) -> bool:
    """Keep the traceback for whoever started the server; the page says only that something went wrong."""
    logger.error("the page could not be drawn", exc_info=error)
    return False
