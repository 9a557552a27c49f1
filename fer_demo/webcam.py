"""`python -m fer_demo.webcam`: one's own face, labelled live."""

import signal
import sys
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Annotated

import typer

from fer_demo import cli
from fer_demo.errors import DeviceError
from tinycnn.kernels.threads import get_threads

if TYPE_CHECKING:
    from fer_demo.detection import FaceDetector
    from fer_demo.detector import EmotionDetector
    from fer_demo.live.view import Explain
    from fer_demo.sight import Evidence

#: Frames are searched for faces at this size, and for faces of this share of their shorter side or more.
SEARCHED, MIN_SIZE = 320, 0.15

EXAMPLES = """
Keys: q quit, s snapshot, r record, m mirror, g evidence, b hide faces, h help

Examples:

  python -m fer_demo.webcam                      the first camera

  python -m fer_demo.webcam --mirror --save me.mp4

  python -m fer_demo.webcam --source talk.mp4 --headless --csv talk.csv

  python -m fer_demo.webcam --faces face_detection_yunet_2023mar.onnx

Nothing leaves this computer. In the browser: python -m fer_demo.web
"""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(epilog=EXAMPLES)
def main(
    source: Annotated[
        str, typer.Option(metavar="N|FILE|URL", help="A camera's number, a video, or a stream.")
    ] = "0",
    weights: cli.Weights = "mini_xception",
    save: Annotated[Path | None, typer.Option(help="Record what is shown: .mp4 or .avi.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write a row for each face of each frame.")] = None,
    headless: Annotated[bool, typer.Option("--headless", help="Open no window.")] = False,
    mirror: Annotated[bool, typer.Option("--mirror", help="Show the mirror image; m switches.")] = False,
    faces: cli.Faces = "haar",
    unsure: cli.Unsure = 0.4,
    max_frames: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="End after so many frames.")
    ] = None,
    list_cameras: Annotated[
        bool, typer.Option("--list-cameras", help="Say which cameras work, and end.")
    ] = False,
) -> None:
    """Find faces before a camera, and show what emotions strangers would read in them.

    Labels say how strangers read a picture, not what a person feels: see docs/responsible_use.md.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if list_cameras:
        _list_cameras()
        return
    from fer_demo.classifier import weights_path
    from fer_demo.detection.choose import detector_file

    inputs: list[str | Path | None] = [source, weights_path(weights), detector_file(faces)]
    cli.check_outputs({"--save": save, "--csv": csv}, inputs)
    import cv2
    import numpy as np

    from fer_demo.detector import EmotionDetector
    from fer_demo.live.log import Log
    from fer_demo.live.recorder import Recorder
    from fer_demo.live.session import Session
    from fer_demo.live.sources import open_source
    from fer_demo.live.window import Window

    cv2.setNumThreads(get_threads())  # one by default: training has no use for more
    with ExitStack() as stack:
        opened = stack.enter_context(open_source(source))
        screen = None if headless else Window()
        if screen is not None:
            stack.callback(screen.close)
        detector = EmotionDetector(weights, live_detector(faces), unsure)
        # The recorder first: it looks at its name before `Log` writes.
        recorder = None if save is None else Recorder(save, opened.rate)
        log = None if csv is None else stack.enter_context(Log(csv))
        compiling = Thread(target=detector.classifier, args=[np.zeros((1, 48, 48, 1), np.uint8)])
        if screen is not None:
            compiling.start()
        session = Session(
            detector,
            screen,
            recorder,
            log,
            explainer(detector),
            mirror,
            rate=opened.rate,
            starting=compiling.is_alive,
        )
        how = "Ctrl-C" if headless else "q"
        print(f"{opened.name}: {opened.size[0]}x{opened.size[1]}; {how} ends it", flush=True)
        try:
            session.run(opened, max_frames)
        except KeyboardInterrupt:
            print("Interrupted.", file=sys.stderr)
            raise typer.Exit(130) from None
        finally:
            kept = [f"written: {path}" for path in (save, csv) if path is not None and path.exists()]
            print("; ".join([f"{session.speed.frames} frames, {session.faces} faces", *kept]))


def live_detector(name: str) -> "FaceDetector":
    """Return the detector of that name, as quick as frames need it."""
    from fer_demo.detection.choose import face_detector

    return face_detector(name, SEARCHED, MIN_SIZE, quick=True)


def explainer(detector: "EmotionDetector") -> "Explain":
    """Return a `fer_demo.live.view.Explain`; what it needs is loaded when it is first asked."""
    from fer_demo.data.dataset import EMOTIONS

    @cache
    def evidence() -> "Evidence":
        from fer_demo.sight import Evidence

        return Evidence(detector.classifier)

    return lambda face: evidence()(face.crop)[EMOTIONS.index(face.emotion)]


def _list_cameras() -> None:
    from fer_demo.live.sources import list_cameras

    cameras = list_cameras()
    if not cameras:
        raise DeviceError(
            "no camera gives a picture. Is it connected, may programs use it (see the system's privacy "
            "settings; on Linux the group 'video'), and has no other program taken it? --source FILE takes "
            "a video instead"
        )
    for camera in cameras:
        with camera:
            width, height = camera.size
            print(f"--source {camera.name.rpartition(' ')[2]}   {width}x{height}   {camera.rate:g} frames/s")


if __name__ == "__main__":
    cli.run(app)
