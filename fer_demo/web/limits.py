"""How much the server takes: bytes a request, requests a second, and work at once."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from fastapi import HTTPException, Request
from starlette.requests import ClientDisconnect

#: Of one picture. The page sends some 50 kB for a frame, and less than 1 MB for a photo.
MAX_BYTES = 8 << 20
#: Requests a second, and how many may come at once after a pause; the page sends up to 32 a second.
RATE, BURST = 60, 60
#: Requests that wait while one is worked on.
MAX_WAITING = 8

Result = TypeVar("Result")


def check_size(size: int) -> None:
    """Refuse, with status 413, more than `MAX_BYTES`."""
    if size > MAX_BYTES:
        raise HTTPException(413, f"the picture has more than {MAX_BYTES >> 20} MiB: send a smaller one")


async def read_body(request: Request) -> bytes:
    """Return a request's body, or refuse it before it fills the memory."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal():
        check_size(int(declared))
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            check_size(len(body))
    except ClientDisconnect:
        raise HTTPException(400, "the connection was closed in the middle of the picture") from None
    return bytes(body)


class RateLimit:
    """A bucket of tokens: each request takes one, and `rate` a second are put back, up to `burst`.

    The server has one for all clients, since all of them are on this computer and share its processor.

    Args:
        rate: requests a second.
        burst: size of the bucket.
        clock: tells the time in seconds.
    """

    def __init__(
        self, rate: float = RATE, burst: int = BURST, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._tokens, self._time = float(burst), clock()

    def take(self) -> None:
        """Count a request; refuse it, with status 429, if there were too many."""
        now = self._clock()
        self._tokens = min(self._tokens + (now - self._time) * self._rate, self._burst)
        self._time = now
        if self._tokens < 1:
            reason = f"more than {self._rate} requests a second: send fewer"
            raise HTTPException(429, reason, {"Retry-After": "1"})
        self._tokens -= 1


class Worker:
    """One thread that does all the computing, so that requests do not slow one another down."""

    def __init__(self, max_waiting: int = MAX_WAITING) -> None:
        self._thread = ThreadPoolExecutor(1, "faces")
        self._max_waiting, self._unfinished = max_waiting, 0

    async def run(self, work: Callable[..., Result], *args: object) -> Result:
        """Return ``work(*args)``; refuse it, with status 503, if too many wait already."""
        if self._unfinished > self._max_waiting:
            raise HTTPException(503, "busy with earlier pictures: try again", {"Retry-After": "1"})
        future = asyncio.get_running_loop().run_in_executor(self._thread, work, *args)
        self._unfinished += 1
        future.add_done_callback(self._finished)  # which comes also if nobody waits for the result any more
        return await future

    def _finished(self, _: object) -> None:
        self._unfinished -= 1
