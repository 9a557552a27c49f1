"""The page in a real browser: frames that are answered a second, and milliseconds from question to answer.

Run as ``python -m benchmarks.web``; it needs Chromium and the extra ``web``. The page's camera is the film of
drawn faces that `benchmarks.webcam` goes over, and server and browser share the machine, as they do at home.
The last line is one JSON object; `benchmarks/README.md` explains its keys.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import cv2
import typer

from benchmarks import cli
from benchmarks.chromium import Page, chromium
from benchmarks.machine import pause
from benchmarks.timing import ROOT, thread_variables
from benchmarks.webcam import FRAMES, RATE, frame

COLUMNS = {
    "frames/s": "frames_per_s",
    "answer": "ms_median",
    "detection": "detection_ms_median",
    "prediction": "prediction_ms_median",
    "faces": "faces_per_frame",
}
#: Notes in the page when a frame is sent, and when and what is answered.
NOTES = """
    const notes = window.notes = [];
    const { send } = WebSocket.prototype;
    WebSocket.prototype.send = function (data) {
        const sent = performance.now();
        const note = ({ data }) => notes.push([sent, performance.now(), JSON.parse(data)]);
        this.addEventListener("message", note, { once: true });
        send.call(this, data);
    };
"""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    faces: Annotated[int, typer.Option(min=0, max=3, help="In every frame.")] = 3,
    seconds: Annotated[float, typer.Option(min=1, help="For which frames are counted.")] = 20,
    weights: Annotated[str, typer.Option(help="A shipped model, or a file.")] = "mini_xception",
    threads: cli.Threads = 2,
    save: cli.JsonFile = None,
) -> None:
    """Measure the page in Chromium."""
    with tempfile.TemporaryDirectory() as folder, serving(weights, threads) as address:
        film, profile = Path(folder) / "camera.mjpeg", Path(folder) / "profile"
        film.write_bytes(b"".join(jpeg(number / RATE, faces) for number in range(FRAMES)))
        profile.mkdir()
        camera = ("--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={film}")
        pause()  # before the browser, which is no other program but a part of what is measured
        with chromium(profile, *camera) as page:
            row = figures(answers(page, address, seconds))
    cli.show(f"Page, milliseconds, {threads} threads", [row], COLUMNS)
    cli.finish("web", [row], threads, None, save)


@contextmanager
def serving(weights: str, threads: int) -> Iterator[str]:
    """Start the server, give its address, and end it."""
    command = [sys.executable, "-m", "fer_demo.web", "--no-open", "--port", "0", "--weights", weights]
    environment = os.environ | thread_variables(threads)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().split()[0]
        finally:
            server.terminate()


def jpeg(seconds: float, faces: int) -> bytes:
    """Return a frame of the film."""
    return cv2.imencode(".jpg", frame(seconds, faces))[1].tobytes()


def answers(page: Page, address: str, seconds: float) -> list[tuple[float, float, dict[str, Any]]]:
    """Return of each frame the milliseconds at which it was sent and answered, and the answer."""
    page.call("Network.disable")  # or every frame would be reported to us, too
    page.call("Page.addScriptToEvaluateOnNewDocument", source=NOTES)
    page.call("Browser.setPermission", permission={"name": "camera"}, setting="granted")
    page.call("Page.navigate", url=address)
    page.wait_for("document.querySelectorAll('#bars button').length === 7")
    page.js("document.querySelector('#camera').click()")
    page.wait_for("notes.length > 30", 120)
    page.js("notes.splice(0)")
    time.sleep(seconds)
    return page.js("notes")


def figures(noted: list[tuple[float, float, dict[str, Any]]]) -> dict[str, Any]:
    """Return the row of the table."""
    _, ends, said = zip(*noted, strict=True)
    return {
        "frames": len(noted),
        "frames_per_s": 1000 * (len(noted) - 1) / (ends[-1] - ends[0]),
        "ms_median": median(end - sent for sent, end, _ in noted),
        "detection_ms_median": median(answer["detection_ms"] for answer in said),
        "prediction_ms_median": median(answer["prediction_ms"] for answer in said),
        "faces_per_frame": sum(len(answer["faces"]) for answer in said) / len(said),
    }


if __name__ == "__main__":
    app()
