"""What stands between a browser and the web app: who a browser is, the password, and what a page may load.

Everything is plain ASGI in front of Streamlit. Each browser gets a random name in a cookie that no script can read, by
which its chats are kept apart from everybody else's. With a password nothing of the app, not even its files, answers
before it was given. The content policy lets a page load from this server only, so nothing is fetched from the internet.
"""

from __future__ import annotations

import hmac
import secrets
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

from ui.texts import LANGUAGES, Language, say

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

BROWSER_COOKIE = "matlit_browser"
ENTRY_COOKIE = "matlit_entry"
YEAR_S = 365 * 24 * 3600
ENTRY_S = 12 * 3600  # how long a password lasts
LOGIN_PATH = "/login"
TRIES = 10  # wrong passwords in a minute, from all browsers together
MINUTE_S = 60.0
MOST_FORM_BYTES = 4096

POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",  # Streamlit's page and plotly's shaders need these
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "media-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self' ws: wss: blob: data:",
        "worker-src 'self' blob:",
        "frame-src 'self' blob:",
        "frame-ancestors 'self'",
        "form-action 'self'",
        "base-uri 'self'",
    )
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)


class Gate:
    """The ASGI middleware; `password` "" asks for none."""

    def __init__(self, app: App, *, password: str = "") -> None:
        self._app = app
        self._password = password.encode()
        self._entries: dict[str, float] = {}  # what browsers that gave the password hold, and until when
        self._wrong: list[float] = []
        self._lock = threading.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or hand it on."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
        elif self._password and not self._may_enter(scope):
            await self._ask(scope, receive, send)
        else:
            await self._app(scope, receive, _marking(scope, send))

    def _may_enter(self, scope: Scope) -> bool:
        until = self._entries.get(cookies(scope).get(ENTRY_COOKIE, ""), 0.0)
        return until > time.monotonic()

    async def _ask(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 4401})
        elif scope["path"] == LOGIN_PATH and scope["method"] == "POST":
            await self._check(scope, await _body(receive), send)
        elif scope["path"] == LOGIN_PATH:
            await _respond(send, 200, login_page(_language(scope)))
        else:
            await _respond(send, 303, "", location=LOGIN_PATH)

    async def _check(self, scope: Scope, body: bytes, send: Send) -> None:
        language = _language(scope)
        if not self._has_tries():
            await _respond(send, 429, login_page(language, say("login_wait", language)))
            return
        given = parse_qs(body.decode("utf-8", "replace")).get("password", [""])[0]
        if hmac.compare_digest(given.encode(), self._password):
            await _respond(send, 303, "", location="/", cookie=_cookie(scope, ENTRY_COOKIE, self._enter(), ENTRY_S))
        else:
            with self._lock:
                self._wrong.append(time.monotonic())
            await _respond(send, 403, login_page(language, say("login_wrong", language)))

    def _has_tries(self) -> bool:
        with self._lock:
            self._wrong = [when for when in self._wrong if when > time.monotonic() - MINUTE_S]
            return len(self._wrong) < TRIES

    def _enter(self) -> str:
        token, now = secrets.token_urlsafe(32), time.monotonic()
        with self._lock:
            self._entries = {held: until for held, until in self._entries.items() if until > now}
            self._entries[token] = now + ENTRY_S
        return token


def cookies(scope: Scope) -> dict[str, str]:
    """Return the cookies of a request."""
    lines = [value.decode("latin-1") for name, value in scope["headers"] if name == b"cookie"]
    try:
        jar: SimpleCookie = SimpleCookie("; ".join(lines))
    except CookieError:
        return {}
    return {name: morsel.value for name, morsel in jar.items()}


def login_page(language: Language, error: str = "") -> str:
    """Return the page that asks for the password."""
    alert = f'<p role="alert">{error}</p>' if error else ""
    return f"""<!doctype html><html lang="{language}"><head><meta charset="utf-8"><title>matlit</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>
:root {{ color-scheme: light dark; font: 1rem/1.6 system-ui, sans-serif }}
body {{ min-height: 90vh; display: grid; place-items: center; margin: 0 }}
main {{ width: min(20rem, 85vw) }} h1 {{ font-weight: 600 }} [role=alert] {{ font-weight: 600 }}
input, button {{ font: inherit; width: 100%; box-sizing: border-box; padding: .6rem .8rem; margin-top: .4rem;
  border-radius: .5rem; border: 1px solid GrayText }} button {{ margin-top: 1rem; cursor: pointer }}
</style></head><body><main><h1>matlit</h1>{alert}<form method="post" action="{LOGIN_PATH}">
<label for="password">{say("login_password", language)}</label>
<input id="password" name="password" type="password" autocomplete="current-password" required autofocus>
<button type="submit">{say("login_enter", language)}</button></form></main></body></html>"""


def _language(scope: Scope) -> Language:
    header = next((value for name, value in scope["headers"] if name == b"accept-language"), b"").decode("latin-1")
    return next((code for code in LANGUAGES if header.lower().startswith(code)), "en")


def _marking(scope: Scope, send: Send) -> Send:
    """Return a `send` that adds our headers, and the browser's name to a page if it has none yet."""
    named = BROWSER_COOKIE in cookies(scope)

    async def marked(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", []))
            kind = next((value for name, value in headers if name.lower() == b"content-type"), b"")
            headers += HEADERS
            if not named and kind.startswith(b"text/html"):
                value = _cookie(scope, BROWSER_COOKIE, secrets.token_urlsafe(24), YEAR_S)
                headers.append((b"set-cookie", value))
            message = {**message, "headers": headers}
        await send(message)

    return marked


def _cookie(scope: Scope, name: str, value: str, seconds: int) -> bytes:
    secure = "; Secure" if scope.get("scheme") == "https" else ""
    return f"{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}".encode()


async def _body(receive: Receive) -> bytes:
    body, more = b"", True
    while more and len(body) <= MOST_FORM_BYTES:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body[:MOST_FORM_BYTES]


async def _respond(send: Send, status: int, text: str, *, location: str = "", cookie: bytes = b"") -> None:
    headers = [(b"content-type", b"text/html; charset=utf-8"), (b"cache-control", b"no-store"), *HEADERS]
    headers += [(b"location", location.encode())] if location else []
    headers += [(b"set-cookie", cookie)] if cookie else []
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})
