"""The page's server: for this machine only, and there only for whoever has the address.

It listens on 127.0.0.1, where every user of the machine can knock: so each request needs the token that the printed
address holds. It answers to no other name, so that no website reaches it through a browser. Whoever knocks and asks
nothing is let go, so that nobody without the token keeps out who has it, nor fills the disk with complaints.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import secrets
import socket
from collections.abc import Callable
from importlib import resources
from typing import Any, Final

from leanthink.core.errors import ConfigError, DataError, DependencyError
from leanthink.reporting.live.follow import Followed, dumps

LOOPBACK: Final = "127.0.0.1"
NAMES: Final = [LOOPBACK, "localhost"]
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
CONNECTIONS: Final = 64
"""The most connections at once; a page needs one or two."""
HEAD_S: Final = 10.0
"""Seconds in which the head of a request has to be whole."""
BACKLOG: Final = 8  # of connections that are taken at once, before any of them counts
FILES: Final = {
    "/": ("page.html", "text/html"),
    "/page.js": ("page.js", "text/javascript"),
    "/page.css": ("page.css", "text/css"),
}


NO_TOKEN: Final = (
    "Open the whole address that `leanthink watch` printed: it ends in a token, without which this says nothing."
)


def new_token() -> str:
    """What only the terminal that started the server knows."""
    return secrets.token_urlsafe(32)


def application(followed: Followed, token: str) -> Any:
    """The page and its data as a Starlette application, for requests with the token: ``?token=``, or a header.

    Raises:
        DependencyError: Starlette is not installed.
    """
    try:
        from starlette.applications import Starlette
        from starlette.middleware import Middleware
        from starlette.middleware.base import BaseHTTPMiddleware
        from starlette.middleware.trustedhost import TrustedHostMiddleware
        from starlette.requests import Request
        from starlette.responses import Response
        from starlette.routing import Route
    except ImportError as error:
        raise DependencyError("watch needs starlette and uvicorn; run `pip install 'leanthink[watch]'`") from error

    def file(path: str) -> Callable[[Request], Response]:
        name, kind = FILES[path]
        content = (resources.files("leanthink.reporting.live") / name).read_bytes()
        content = content.replace(b"?token=", f"?token={token}".encode()) if name.endswith(".html") else content
        return lambda request: Response(content, media_type=kind, headers=HEADERS)

    def answer(content: Callable[[], Any]) -> Response:
        try:
            return Response(dumps(content()), media_type="application/json", headers=HEADERS)
        except (DataError, ValueError, OSError) as error:  # a half-written or damaged file; the page shows the message
            return Response(dumps({"error": str(error)}), 500, media_type="application/json", headers=HEADERS)

    def state(request: Request) -> Response:
        return answer(followed.state)

    def rollouts(request: Request) -> Response:
        given = request.query_params
        return answer(
            lambda: followed.rollouts(
                given.get("kind", "training"),
                int(given.get("step", 0)),
                given.get("verdict", ""),
                given.get("difficulty", ""),
                max(0, int(given.get("offset", 0))),
            )
        )

    async def only_with_token(request: Request, answer_to: Callable[[Request], Any]) -> Any:
        header = request.headers.get("Authorization", "").removeprefix("token ")
        given = request.query_params.get("token", header)
        if not hmac.compare_digest(given.encode("utf-8", "replace"), token.encode()):
            return Response(NO_TOKEN, 403, media_type="text/plain", headers=HEADERS)
        return await answer_to(request)

    routes = [Route(path, file(path)) for path in FILES]
    routes += [Route("/api/state", state), Route("/api/rollouts", rollouts)]
    guards = [
        Middleware(TrustedHostMiddleware, allowed_hosts=NAMES),
        Middleware(BaseHTTPMiddleware, dispatch=only_with_token),
    ]
    return Starlette(routes=routes, middleware=guards)


def listening(port: int) -> socket.socket:
    """A socket on this machine's own address; port 0 takes a free one.

    Raises:
        ConfigError: the port cannot be had.
    """
    if not 0 <= port <= 65535:
        raise ConfigError(f"--port is {port}; give 0 (any free one) to 65535")
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((LOOPBACK, port))
        sock.listen()  # whoever reads the address may come before the server is up
    except OSError as error:
        sock.close()
        raise ConfigError(f"--port {port}: {error.strerror}; give another, or 0 for any free one") from error
    return sock


def serve(
    followed: Followed, sock: socket.socket, token: str, *, connections: int = CONNECTIONS, head_s: float = HEAD_S
) -> None:
    """Answer until interrupted.

    Args:
        followed: the run.
        sock: where to listen; closed at the end.
        token: what every request has to bring.
        connections: the most at once; one more takes the place of the oldest that has not asked yet.
        head_s: seconds after which a connection without the whole head of a request is closed.

    Raises:
        DependencyError: Starlette or uvicorn is not installed.
    """
    app = application(followed, token)
    try:
        import uvicorn
    except ImportError as error:
        raise DependencyError("watch needs starlette and uvicorn; run `pip install 'leanthink[watch]'`") from error
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # like uvicorn's warnings, what anybody can cause
    config = uvicorn.Config(
        app,
        http=_guarded(connections, head_s),
        ws="none",
        backlog=BACKLOG,
        headers=[("Connection", "close")],  # one request each: none is kept open for a second that never comes
        log_level="error",
        access_log=False,
    )
    with contextlib.closing(sock):
        uvicorn.Server(config).run(sockets=[sock])


def _guarded(most: int, head_s: float) -> type[asyncio.Protocol]:
    """uvicorn's HTTP, which by itself waits for ever, and for any number of connections."""
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Guarded(H11Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self.deadline = self.loop.call_later(head_s, self.let_go)
            if len(self.connections) > most:  # the oldest, for whoever has the token asks at once
                waiting = [one for one in self.connections if isinstance(one, Guarded) and one.cycle is None]
                min(waiting, key=lambda one: one.deadline.when()).let_go()

        def connection_lost(self, exc: Exception | None) -> None:
            self.deadline.cancel()
            super().connection_lost(exc)

        def let_go(self) -> None:
            if self.cycle is None:  # no request yet
                self.connections.discard(self)
                self.transport.abort()

    return Guarded
