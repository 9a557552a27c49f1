"""Every route, and everything that is refused."""

import asyncio
import base64
import re
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

import tinycnn as tc

pytest.importorskip("fastapi", reason="the page needs FastAPI: pip install 'tinycnn[web]'")

from fastapi import HTTPException, Request
from fastapi.testclient import TestClient
from starlette.testclient import WebSocketDenialResponse

from fer_demo.data.dataset import EMOTIONS
from fer_demo.detector import UNSURE, EmotionDetector
from fer_demo.web.answers import drawn_faces
from fer_demo.web.app import STATIC, create_app
from fer_demo.web.limits import MAX_BYTES, RateLimit, Worker, read_body

ADDRESS, LIVE = "http://127.0.0.1:8000", "ws://127.0.0.1:8000/live"
JPEG = {"Content-Type": "image/jpeg"}


@pytest.fixture(scope="module", autouse=True)
def plain_backend():
    with tc.backend("numpy"):  # which has nothing to compile
        yield


@pytest.fixture(scope="module")
def detector():
    return EmotionDetector()


@pytest.fixture
def client(detector):
    return TestClient(create_app(detector, 8000), base_url=ADDRESS)


@pytest.fixture(scope="module")
def photo():
    return drawn_faces(0)


def numbers(text):
    return np.frombuffer(base64.b64decode(text), np.uint8)


def test_a_photo_is_answered_as_the_detector_would(client, detector, photo):
    answer = client.post("/faces", content=photo, headers=JPEG).json()
    picture = cv2.imdecode(np.frombuffer(photo, np.uint8), cv2.IMREAD_COLOR)
    assert (answer["height"], answer["width"]) == picture.shape[:2]
    expected = detector.faces(picture)
    assert len(expected) >= 2
    for told, face in zip(answer["faces"], expected, strict=True):
        assert tuple(told["box"]) == face.box
        assert told["label"] == face.label
        np.testing.assert_allclose(told["probabilities"], face.probabilities, atol=1e-4)
        np.testing.assert_array_equal(numbers(told["pixels"]), face.crop.ravel())


def test_in_a_film_faces_keep_their_numbers(client, photo, monkeypatch):
    monkeypatch.setattr("fer_demo.live.tracks.REMEMBERED", 60)  # seconds: machines are busy at times
    picture = cv2.imdecode(np.frombuffer(photo, np.uint8), cv2.IMREAD_COLOR)
    moved = cv2.imencode(".jpg", np.roll(picture, 5, axis=1))[1].tobytes()
    for _ in range(2):  # a connection knows nothing of the one before it
        with client.websocket_connect(LIVE) as socket:
            for frame in (photo, moved):
                socket.send_bytes(frame)
                faces = socket.receive_json()["faces"]
                assert sorted(face["id"] for face in faces) == [1, 2, 3]


def test_a_bad_frame_does_not_end_a_film(client, photo):
    with client.websocket_connect(LIVE) as socket:
        socket.send_bytes(b"no picture")
        assert socket.receive_json()["status"] == 415
        socket.send_text("no picture")
        assert socket.receive_json()["status"] == 400
        socket.send_bytes(b"\xff" * (MAX_BYTES + 1))
        assert socket.receive_json()["status"] == 413
        socket.send_bytes(photo)  # and goes on
        assert "faces" in socket.receive_json()


def test_a_picture_without_faces(client):
    grey = cv2.imencode(".jpg", np.full((90, 120), 128, np.uint8))[1].tobytes()
    assert client.post("/faces", content=grey, headers=JPEG).json()["faces"] == []


def test_a_look_inside(client, detector, photo):
    face = client.post("/faces", content=photo, headers=JPEG).json()["faces"][0]
    answer = client.post("/look", content=base64.b64decode(face["pixels"])).json()
    for block in answer["blocks"]:
        assert len(numbers(block["pixels"])) == block["maps"] * block["height"] * block["width"]
    assert list(answer["evidence"]) == list(EMOTIONS)
    heat = np.array([numbers(text) for text in answer["evidence"].values()])
    assert heat.shape == (7, 48 * 48)
    assert heat.max() == 255


@pytest.mark.parametrize("length", [0, 48 * 48 - 1, 48 * 48 + 1])
def test_a_look_at_something_else_is_refused(client, length):
    answer = client.post("/look", content=bytes(length))
    assert answer.status_code == 422
    assert f"found {length}" in answer.json()["detail"]


def test_about(client):
    about = client.get("/about").json()
    assert about["emotions"] == list(EMOTIONS)
    assert set(about["colours"]) == {*EMOTIONS, UNSURE}


def test_drawn_faces(client):
    answers = [client.get(f"/drawn.jpg?seed={seed}") for seed in (0, 0, 1)]
    assert answers[0].content == answers[1].content != answers[2].content
    assert answers[0].headers["content-type"] == "image/jpeg"
    assert client.get("/drawn.jpg?seed=-1").status_code == 422


def too_many_pixels(photo):
    """A JPEG that says it has 65,000 x 65,000 pixels."""
    place = photo.index(b"\xff\xc0") + 5
    return photo[:place] + b"\xfd\xe8\xfd\xe8" + photo[place + 4 :]


@pytest.mark.parametrize(
    ("change", "kind", "status", "reason"),
    [
        (lambda _: b"", "image/jpeg", 400, "no picture"),
        (lambda photo: photo, "image/png", 415, "found image/png"),
        (lambda photo: photo, "", 415, "found no content type"),
        (lambda _: b"GIF89a", "image/jpeg", 415, "something else under that name"),
        (lambda _: b"\xff\xd8\xff\xe0 and nonsense", "image/jpeg", 422, "damaged"),
        (lambda photo: photo[: len(photo) // 2], "image/jpeg", 422, "cut short"),
        (too_many_pixels, "image/jpeg", 422, "too many pixels"),
        (lambda photo: photo + bytes(MAX_BYTES), "image/jpeg", 413, "more than 8 MiB"),
    ],
)
def test_bad_pictures_get_a_reason(client, photo, change, kind, status, reason):
    answer = client.post("/faces", content=change(photo), headers={"Content-Type": kind})
    assert answer.status_code == status
    assert reason in answer.json()["detail"]


def test_a_body_is_refused_before_it_fills_the_memory():
    asked = []

    async def receive():
        asked.append("")
        return {"type": "http.request", "body": bytes(MAX_BYTES // 4), "more_body": True}

    for headers, chunks in (([], 5), ([(b"content-length", b"99999999999")], 0)):
        asked.clear()
        request = Request({"type": "http", "method": "POST", "headers": headers}, receive)
        with pytest.raises(HTTPException) as refused:
            asyncio.run(read_body(request))
        assert refused.value.status_code == 413
        assert len(asked) == chunks


def test_a_browser_that_goes_away_is_no_error_of_the_server():
    async def receive():
        return {"type": "http.disconnect"}

    request = Request({"type": "http", "method": "POST", "headers": []}, receive)
    with pytest.raises(HTTPException, match="the connection was closed"):
        asyncio.run(read_body(request))


def test_too_many_requests_are_refused(detector, photo):
    now = [0.0]
    limit = RateLimit(rate=10, burst=2, clock=lambda: now[0])
    client = TestClient(create_app(detector, 8000, limit), base_url=ADDRESS)
    face = bytes(48 * 48)
    assert [client.post("/look", content=face).status_code for _ in range(3)] == [200, 200, 429]
    answer = client.post("/faces", content=photo, headers=JPEG)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    assert client.get("/about").status_code == 200
    with client.websocket_connect(LIVE) as socket:
        socket.send_bytes(photo)
        assert socket.receive_json()["status"] == 429
        now[0] += 0.1
        socket.send_bytes(photo)
        assert "faces" in socket.receive_json()


def test_too_much_work_is_refused():
    async def scene():
        worker, door = Worker(max_waiting=1), threading.Event()
        first, second = (asyncio.create_task(worker.run(door.wait)) for _ in range(2))
        await asyncio.sleep(0)
        with pytest.raises(HTTPException) as refused:
            await worker.run(door.wait)
        assert refused.value.status_code == 503
        second.cancel()  # nobody waits for it any more
        door.set()
        assert await first
        assert await worker.run(int, "7") == 7

    asyncio.run(scene())


FOREIGN = [
    {"Host": "evil.example:8000"},  # DNS rebinding: a name of somebody else's that leads here
    {"Host": "127.0.0.1"},
    {"Host": "127.0.0.1:8001"},
    {"Host": "127.0.0.1:8000.evil.example"},
    {"Host": ""},
    {"Origin": "http://evil.example"},
    {"Origin": "https://127.0.0.1:8000"},
    {"Origin": "http://127.0.0.1:8001"},
    {"Origin": "http://127.0.0.1:8000.evil.example"},
    {"Origin": "null"},
    {"Origin": ""},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_other_pages_are_refused(client, headers):
    for method, path in (("GET", "/"), ("GET", "/about"), ("POST", "/faces"), ("OPTIONS", "/faces")):
        answer = client.request(method, path, headers=headers)
        assert answer.status_code == 403
        assert next(iter(headers)) in answer.json()["detail"]
    with pytest.raises(WebSocketDenialResponse) as denied, client.websocket_connect(LIVE, headers=headers):
        pass
    assert denied.value.status_code == 403


@pytest.mark.parametrize("name", ["127.0.0.1:8000", "localhost:8000", "LOCALHOST:8000"])
def test_the_own_page_is_answered(client, name):
    headers = {"Host": name, "Origin": f"http://{name}"}
    assert client.get("/about", headers=headers).status_code == 200
    with client.websocket_connect(LIVE, headers=headers):
        pass


def test_a_browser_leaves_port_80_out(detector):
    client = TestClient(create_app(detector, 80), base_url="http://localhost")
    assert client.get("/about").status_code == 200


KINDS = {
    "": "text/html",
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}


@pytest.mark.parametrize("path", ["/", *sorted(f"/{file.name}" for file in STATIC.iterdir())])
def test_the_page_and_its_parts(client, path):
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(KINDS[Path(path).suffix])
    assert not re.search(r"(https?:)?//(?!www\.w3\.org/2000/svg)\w", answer.text)  # nothing from elsewhere
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "*" not in policy
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/nothing", "/../app.py", "/%2e%2e/app.py"])
def test_nothing_else_is_served(client, path):
    assert client.get(path).status_code == 404
