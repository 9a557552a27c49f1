"""`python -m fer_demo.web`: a page in the browser that shows what the network makes of faces."""

import errno
import os
import socket
import sys
import webbrowser
from typing import Annotated

import typer

from fer_demo import cli
from tinycnn.optional import optional

#: The only address that is listened at: no other computer gets here.
HOST = "127.0.0.1"

EXAMPLES = """
Examples:

  python -m fer_demo.web                       opens the page in the browser

  python -m fer_demo.web --weights compact     the most accurate network

  python -m fer_demo.web --no-open             on a machine without a screen

  ssh -L 8000:127.0.0.1:8000 MACHINE           on your own, to see it there
"""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(epilog=EXAMPLES)
def main(
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="N", help="Where to listen; 0: any that is free.")
    ] = 8000,
    weights: cli.Weights = "mini_xception",
    open_page: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in the browser, where there is a screen.")
    ] = True,
) -> None:
    """Show on a local page what the network makes of faces: camera, photos, videos.

    The page is served from this package to this computer alone. No picture leaves it, or is kept.
    """
    for needed in ("fastapi", "uvicorn", "websockets"):
        optional(needed, "web")
    # The port comes first, since the imports and the weights take their time.
    with listen(port) as listener:
        from fer_demo.detector import EmotionDetector
        from fer_demo.sight import check_sight
        from fer_demo.web.app import serve

        address = f"http://{HOST}:{listener.getsockname()[1]}"
        detector = EmotionDetector(weights)
        check_sight(detector.classifier)
        print(f"{address}   Ctrl-C ends it", flush=True)
        if open_page and has_screen():
            webbrowser.open(address)  # which waits until the server is there
        serve(detector, listener)


def listen(port: int) -> socket.socket:
    """Return a socket that listens at a port of this computer.

    Raises:
        OSError: it is taken, or may not be used; the message says so and what helps.
    """
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        reasons = {errno.EADDRINUSE: "another program listens there", errno.EACCES: "it needs more rights"}
        reason = reasons.get(error.errno or 0, error.strerror)
        raise OSError(f"cannot listen at port {port}: {reason}. --port 0 takes one that is free") from error


def has_screen() -> bool:
    """Whether a browser would open a window; on a server it might take the terminal instead."""
    return sys.platform in ("win32", "darwin") or bool({"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys())


if __name__ == "__main__":
    cli.run(app)
