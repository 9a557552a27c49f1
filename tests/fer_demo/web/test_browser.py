"""The page in a real browser, whose camera is a film of drawn faces."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip(
    "websockets", reason="the browser is spoken to over WebSockets: pip install 'tinycnn[web]'"
)

from benchmarks.chromium import chromium, find_chromium
from fer_demo.data.faces import draw_face
from fer_demo.detection.cascades import largest_face

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.skipif(find_chromium() is None, reason="no Chromium found")


@pytest.fixture(scope="module")
def frames():
    """Ten frames of a happy face, 320x240."""
    face = draw_face("happy", np.random.default_rng(0), difficulty=0)
    large = cv2.resize(face, (160, 160), interpolation=cv2.INTER_CUBIC)
    frame = cv2.copyMakeBorder(large, 40, 40, 80, 80, cv2.BORDER_REPLICATE)
    frames = [np.roll(frame, shift, axis=1) for shift in (0, 1, 2, 3, 4, 5, 4, 3, 2, 1)]
    assert all(map(largest_face, frames))
    return frames


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The command in a process of its own, on the backend that has nothing to compile."""
    log = tmp_path_factory.mktemp("server") / "log.txt"
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "fer_demo.web", "--no-open", "--port", "0"],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=ROOT,
            env={**os.environ, "TINYCNN_BACKEND": "numpy"},
        )
    process.address = process.stdout.readline().split()[0]
    process.log = log
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory, frames):
    """Chromium with the film as its camera."""
    folder = tmp_path_factory.mktemp("chromium")
    film = folder / "camera.mjpeg"
    film.write_bytes(b"".join(cv2.imencode(".jpg", frame)[1].tobytes() for frame in frames))
    (folder / "profile").mkdir()
    with chromium(
        folder / "profile",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={film}",
    ) as page:
        yield page


@pytest.fixture
def page(browser, server):
    """The page, newly opened; afterwards nothing may have gone wrong, or come from elsewhere."""
    browser.events.clear()
    browser.call(
        "Emulation.setDeviceMetricsOverride", width=1280, height=900, deviceScaleFactor=1, mobile=False
    )
    allow_camera(browser, "granted")
    browser.call("Page.navigate", url=server.address)
    browser.wait_for("document.querySelectorAll('#bars button').length === 7")
    yield browser
    browser.js("0")  # lets what is left of the events come
    for event in browser.events:
        kind, details = event["method"], json.dumps(event["params"])
        assert kind != "Runtime.exceptionThrown", details
        assert kind != "Log.entryAdded" or server.poll() is not None, details
        if kind == "Network.requestWillBeSent":
            assert event["params"]["request"]["url"].startswith((server.address, "blob:")), details


def text(selector):
    return f"document.querySelector({selector!r}).textContent"


def click(page, selector):
    page.js(f"document.querySelector({selector!r}).click()")


def test_the_camera_live(page):
    click(page, "#camera")
    page.wait_for(f"{text('#label')}.startsWith('happy')")
    assert page.js(text("#camera")) == "Stop the camera"
    page.wait_for(f"{text('#speed')}.includes('frames/s')")
    page.wait_for("document.querySelector('#timeline').ariaLabel.startsWith('On average happy')")
    page.wait_for(f"{text('#announcer')}.startsWith('1 face, happy')")
    click(page, "#pause")
    assert page.js(text("#pause")) == "Go on"
    assert any(not frames_are_sent(page) for _ in range(20))  # once the last one is answered
    assert not frames_are_sent(page)
    click(page, "#pause")
    assert any(frames_are_sent(page) for _ in range(20))
    click(page, "#camera")
    assert page.js("document.querySelector('#stage').className") == "empty"


def frames_are_sent(page):
    """Whether the page sends any in the next half second."""
    page.events.clear()
    page.js("new Promise(resolve => setTimeout(resolve, 500))")
    return "Network.webSocketFrameSent" in {event["method"] for event in page.events}


def test_a_dropped_photo_and_what_the_network_sees(page):
    page.js("""fetch('drawn.jpg?seed=0').then(answer => answer.blob()).then(blob => {
        const dataTransfer = new DataTransfer();
        dataTransfer.items.add(new File([blob], 'photo.jpg', { type: 'image/jpeg' }));
        document.body.dispatchEvent(new DragEvent('drop', { dataTransfer, bubbles: true, cancelable: true }));
    })""")
    page.wait_for("document.querySelectorAll('#chips button').length === 3")
    click(page, "#chips button:last-child")
    page.hover("#bars li:nth-child(1) button")
    page.wait_for(f"document.querySelector('#layers') && {text('#layers')}.includes('evidenceangry')")
    page.hover("#layers button:nth-child(2)")
    assert page.js(text("#caption")).startswith("8 maps of 46 × 46.")
    assert page.js("document.querySelector('#detail').ariaLabel") == "conv 1: 8 of 46 × 46"
    assert page.js("document.querySelector('#detail').width") > 300


def test_a_video_file(page, tmp_path, frames):
    file = tmp_path / "film.webm"
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter_fourcc(*"VP80"), 10, (320, 240))
    if not writer.isOpened():
        pytest.skip("this OpenCV cannot write WebM")
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR))
    writer.release()
    choose(page, file)
    page.wait_for(f"{text('#label')}.startsWith('happy')")


def test_files_that_are_no_pictures(page, tmp_path):
    for name in ("photo.jpg", "film.mp4", "letter.txt"):
        (tmp_path / name).write_bytes(b"nothing of the kind")
        choose(page, tmp_path / name)
        page.wait_for(f"{text('#note')}.startsWith('{name} cannot be shown')")
    assert page.js("document.querySelector('#note').className") == "alarm"


def choose(page, file):
    number = page.call("DOM.getDocument")["root"]["nodeId"]
    node = page.call("DOM.querySelector", nodeId=number, selector="#file")["nodeId"]
    page.call("DOM.setFileInputFiles", files=[str(file)], nodeId=node)


def test_by_keyboard_alone(page):
    for _ in range(3):
        page.press("Tab")
    assert page.js("document.activeElement.id") == "draw"
    page.press("Enter")
    page.wait_for("document.querySelectorAll('#chips button').length === 3")
    for _ in range(2):
        page.press("Tab")
    page.press(" ")
    assert page.js("document.querySelector('#chips [aria-pressed=true]').textContent").startswith("2 ")
    for _ in range(2):
        page.press("Tab")
    page.wait_for(f"{text('#layers')}.includes('evidenceangry')")
    assert page.js("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    for _ in range(8):  # six more bars, the link, and the first tile
        page.press("Tab")
    assert page.js(text("#caption")).startswith("All that the network gets")


def test_on_a_phone_nothing_is_cut_off(page):
    page.call("Emulation.setDeviceMetricsOverride", width=375, height=812, deviceScaleFactor=2, mobile=True)
    click(page, "#draw")
    page.wait_for("document.querySelectorAll('#chips button').length === 3")
    page.js("document.querySelector('#sight').scrollIntoView()")
    page.wait_for("document.querySelectorAll('#layers button').length > 3")
    assert page.js("document.documentElement.scrollWidth") == 375


def test_it_follows_the_system(page):
    seen = []
    for scheme, motion in (("light", "no-preference"), ("dark", "reduce")):
        features = {"prefers-color-scheme": scheme, "prefers-reduced-motion": motion}
        page.call(
            "Emulation.setEmulatedMedia", features=[{"name": n, "value": v} for n, v in features.items()]
        )
        seen.append(page.js("getComputedStyle(document.body).backgroundColor"))
        seen.append(page.js("getComputedStyle(document.querySelector('.fill')).transitionProperty"))
    assert seen == ["rgb(251, 251, 250)", "transform", "rgb(21, 25, 29)", "none"]
    page.call("Emulation.setEmulatedMedia", features=[])


def test_a_camera_that_is_refused(page):
    allow_camera(page, "denied")
    click(page, "#camera")
    page.wait_for(f"{text('#note')}.startsWith('The browser may not use the camera')")


def allow_camera(page, setting):
    page.call("Browser.setPermission", permission={"name": "camera"}, setting=setting)


def test_a_server_that_goes_away(page, server):
    click(page, "#camera")
    page.wait_for(f"{text('#label')}.startsWith('happy')")
    server.send_signal(signal.SIGINT)
    assert server.wait(30) == 0
    page.wait_for(f"{text('#note')}.startsWith('The server has stopped')")
    assert server.log.read_text() == ""  # over all that was done above
