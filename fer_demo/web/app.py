"""The server: its routes, and what each of them refuses."""

import asyncio
import contextlib
import mimetypes
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

import numpy as np
import uvicorn
from fastapi import FastAPI, HTTPException, Query, Request, Response, WebSocket, WebSocketDisconnect
from fastapi.staticfiles import StaticFiles

from fer_demo.data.dataset import IMAGE_SIZE
from fer_demo.detector import EmotionDetector
from fer_demo.live.tracks import Tracker
from fer_demo.sight import Evidence
from fer_demo.web import answers
from fer_demo.web.guard import Guard
from fer_demo.web.limits import RateLimit, Worker, check_size, read_body
from fer_demo.web.pictures import JPEG, decode, decode_face

#: The page: HTML, style and modules, as they are.
STATIC = Path(__file__).parent / "static"

mimetypes.add_type("text/javascript", ".js")  # Windows' registry may say otherwise; no browser then runs it


def serve(detector: EmotionDetector, listener: socket.socket) -> None:
    """Serve the page at a socket that listens already, until Ctrl-C."""
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(detector, listener.getsockname()[1]),
            ws="websockets-sansio",
            ws_per_message_deflate=False,  # JPEGs do not get smaller
            log_level="warning",
            proxy_headers=False,
            server_header=False,
            limit_concurrency=64,
            timeout_graceful_shutdown=10,  # seconds, for answers under way; a second Ctrl-C waits for none
        )
    )
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[listener])


def create_app(detector: EmotionDetector, port: int, limit: RateLimit | None = None) -> FastAPI:
    """Return the server, for `uvicorn` or a test to run.

    Nothing that it is sent is kept, or written to disk.

    Args:
        detector: finds faces and tells emotions.
        port: where it will listen, which requests must name.
        limit: of requests; the usual one by default.
    """
    service = _Service(detector, limit or RateLimit())
    # No pages that FastAPI makes of the routes: they load scripts from elsewhere.
    app = FastAPI(lifespan=service.lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Guard, port=port)
    app.get("/about")(service.about)
    app.get("/drawn.jpg")(service.drawn)
    app.post("/faces")(service.faces)
    app.post("/look")(service.look)
    app.websocket("/live")(service.live)
    app.mount("/", StaticFiles(directory=STATIC, html=True))
    return app


class _Service:
    """What the routes do."""

    def __init__(self, detector: EmotionDetector, limit: RateLimit) -> None:
        self._detector, self._limit = detector, limit
        self._evidence = Evidence(detector.classifier)
        self._faces, self._sight = Worker(), Worker()  # a look inside takes longer than a frame may

    @contextlib.asynccontextmanager
    async def lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        """Compile, or load, what the first frame and the first look would wait for, while the page loads."""
        blank = np.zeros((IMAGE_SIZE, IMAGE_SIZE), np.uint8)
        whole = (0, 0, IMAGE_SIZE, IMAGE_SIZE)
        warming = asyncio.gather(
            self._faces.run(self._detector.classify, blank, [whole]),
            self._sight.run(self._look, blank),
        )
        yield
        warming.cancel()

    async def about(self) -> answers.Json:
        """Tell what the page must know before it can show anything."""
        return answers.about(self._detector.classifier)

    async def drawn(self, seed: Annotated[int, Query(ge=0)] = 0) -> Response:
        """Draw three faces."""
        self._limit.take()
        return Response(await self._faces.run(answers.drawn_faces, seed), media_type=JPEG)

    async def faces(self, request: Request) -> answers.Json:
        """Find the faces of a photo."""
        self._limit.take()
        body = await read_body(request)
        return await self._faces.run(self._find, body, request.headers.get("content-type", ""))

    async def look(self, request: Request) -> answers.Json:
        """Look at a face with the network's eyes."""
        self._limit.take()
        face = decode_face(await read_body(request))
        return await self._sight.run(self._look, face)

    def _look(self, face: np.ndarray) -> answers.Json:
        return answers.look_inside(self._detector.classifier, self._evidence, face)

    async def live(self, socket: WebSocket) -> None:
        """Find the faces of a film: each frame is answered before the next one is looked at."""
        await socket.accept()
        tracker = Tracker()
        with contextlib.suppress(WebSocketDisconnect):  # while an answer was on its way
            while (message := await socket.receive())["type"] != "websocket.disconnect":
                await socket.send_json(await self._answer(message.get("bytes") or b"", tracker))

    async def _answer(self, frame: bytes, tracker: Tracker) -> answers.Json:
        try:
            self._limit.take()
            check_size(len(frame))
            return await self._faces.run(self._find, frame, JPEG, tracker)
        except HTTPException as refused:
            return {"status": refused.status_code, "detail": refused.detail}

    def _find(self, body: bytes, content_type: str, tracker: Tracker | None = None) -> answers.Json:
        return answers.find_faces(self._detector, decode(body, content_type), tracker)
