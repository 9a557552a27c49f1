"""Whom the server answers, and what a browser may do with the answer.

Binding to 127.0.0.1 keeps other computers out, but not other pages: whatever a browser on this computer has
open can send requests here. A page gives itself away by the header Origin. One that has its own name point
to 127.0.0.1 ("DNS rebinding") counts as the same origin for the browser, but gives itself away by Host.
"""

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Sent with every answer. The page may load from here alone, be framed by nobody, and use the camera.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; media-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=(), display-capture=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",  # faces and what is said of them stay out of the browser's cache
}


class Guard:
    """Refuses requests and WebSockets that are not from the server's own page, and adds `HEADERS`.

    Programs other than browsers send no Origin, and are let through: they run on this computer already.

    Args:
        app: what answers the others.
        port: where the server listens.
    """

    def __init__(self, app: ASGIApp, port: int) -> None:
        self._app = app
        end = "" if port == 80 else f":{port}"  # browsers leave out the default
        self._hosts = [f"127.0.0.1{end}", f"localhost{end}"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, as ASGI has it."""

        async def send_guarded(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        refused = None if scope["type"] == "lifespan" else self._refuse(Headers(scope=scope))
        answer = self._app if refused is None else JSONResponse({"detail": refused}, 403)
        await answer(scope, receive, send_guarded)

    def _refuse(self, headers: Headers) -> str | None:
        """Say why a request is not answered, None if it is."""
        host, origin = headers.get("host", ""), headers.get("origin")
        expected = " or ".join(self._hosts)
        if host.lower() not in self._hosts:
            return f"Host is {host!r}, expected {expected}: forward the port, if you do, to the same number"
        if origin is not None and origin.lower() not in {f"http://{name}" for name in self._hosts}:
            return f"Origin is {origin!r}: pages other than this server's own are not answered"
        return None
