"""The two commands as their users run them."""

import csv
import json
import os
import signal
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from fer_demo import cli, predict, webcam
from fer_demo import media as predict_media
from fer_demo.live.sources import open_video
from fer_demo.results import COLUMNS
from tests.fer_demo.live.conftest import frame, write


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Run a command in an empty folder; return exit code, output and errors."""
    monkeypatch.chdir(tmp_path)

    def run(app, *arguments):
        monkeypatch.setattr("sys.argv", ["command", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.run(app)
        return end.value.code or 0, *capsys.readouterr()

    return run


@pytest.fixture
def media(tmp_path):
    """A photo, one on its side as a camera notes it, one without a face, a video, and four damaged files."""
    folder = tmp_path / "media"
    (folder / "sub").mkdir(parents=True)
    photo = frame("happy", "surprise")
    cv2.imwrite(str(folder / "a.png"), photo)
    _, jpeg = cv2.imencode(".jpg", cv2.rotate(photo, cv2.ROTATE_90_COUNTERCLOCKWISE))
    orientation = struct.pack("<2sHIHHHIHHI", b"II", 42, 8, 1, 0x112, 3, 1, 6, 0, 0)
    exif = b"Exif\0\0" + orientation
    content = jpeg.tobytes()
    turned = content[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + content[2:]
    (folder / "sub" / "türned [b].jpg").write_bytes(turned)
    cv2.imwrite(str(folder / "none.bmp"), frame())
    write(folder / "film.mp4", [frame("happy")] * 3 + [frame()], "mp4v")
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.mp4").write_text("no video")
    (folder / "text.jpg").write_text("no photo")
    cut = (folder / "film.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(cut[: len(cut) // 2])
    (folder / "notes.txt").write_text("left alone")
    return folder


def test_folders_with_everything_in_them(run, media, tmp_path):
    options = [
        "--json-lines",
        "out/faces.jsonl",
        "--csv",
        "out/faces.csv",
        "--annotate",
        "copies",
        "--unsure",
        0,
    ]
    code, output, error = run(predict.app, "media", *options, "--unsure", 0)
    assert code == 1
    assert "3 in 4 frames" in output
    assert "No face found in 1 of 8 files:\n  media/none.bmp" in error
    assert "4 of 8 files are damaged" in error
    assert all(f"  media/{name}: " in error for name in ("empty.png", "text.mp4", "text.jpg", "cut.mp4"))

    lines = [json.loads(line) for line in (tmp_path / "out" / "faces.jsonl").read_text("utf-8").splitlines()]
    found = {(line["file"], line["frame"]): [face["label"] for face in line["faces"]] for line in lines}
    assert found["media/none.bmp", None] == found["media/film.mp4", 3] == []
    assert found["media/film.mp4", 1] == ["happy"]
    assert sorted(found["media/a.png", None]) == sorted(found["media/sub/türned [b].jpg", None])
    assert [line["seconds"] for line in lines if line["frame"] == 1] == [0.1]

    with (tmp_path / "out" / "faces.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == 2 + 2 + 1 + 3 + 1
    copies = {path.relative_to(tmp_path / "copies").as_posix() for path in (tmp_path / "copies").rglob("*.*")}
    assert copies == {"a.png", "sub/türned [b].jpg", "none.bmp", "film.mp4"}
    with open_video(tmp_path / "copies" / "film.mp4") as copy:
        assert len(list(copy)) == 4


def test_what_one_file_lacks_does_not_end_the_run(run, media, tmp_path):
    (media / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (tmp_path / "copies" / "film.mp4").mkdir(parents=True)  # where the copy shall be
    code, output, error = run(predict.app, "media", "--annotate", "copies")
    assert code == 1
    assert "media/film.mp4: OpenCV cannot write it" in error.replace("copies/", "media/")
    assert "media/phone.heic: is a HEIC picture, which OpenCV cannot read; save it as JPEG" in error
    assert "media/empty.png: the file is empty" in error
    assert "6 of 9 files are damaged" in error
    assert "media/sub/türned [b].jpg" in output  # which comes after them


def test_a_copy_that_cannot_be_written_costs_no_result(run, media, tmp_path):
    (tmp_path / "copies" / "a.png").mkdir(parents=True)  # where the copy shall be
    code, output, error = run(
        predict.app, "media/a.png", "media/sub", "--annotate", "copies", "--csv", "f.csv"
    )
    assert code == 1
    assert "media/a.png: no copy of it can be written: " in error
    assert "media/a.png" in output
    assert "media/a.png" in (tmp_path / "f.csv").read_text()
    assert (tmp_path / "copies" / "türned [b].jpg").is_file()


def test_a_video_without_a_copy_is_looked_at_to_its_end(run, media, tmp_path):
    (tmp_path / "copies" / "film.mp4").mkdir(parents=True)  # where the copy shall be
    counts = []
    for annotate in ([], ["--annotate", "copies"]):
        code, _, error = run(predict.app, "media/film.mp4", "--json-lines", "frames.jsonl", *annotate)
        counts.append(len((tmp_path / "frames.jsonl").read_text().splitlines()))
        assert code == len(counts) - 1
    assert "OpenCV cannot write it" in error
    assert counts[0] == counts[1] > 1


@pytest.mark.skipif(os.name == "nt", reason="names are Unicode on Windows")
def test_names_that_opencv_cannot_take_are_refused_and_end_nothing(run, media):
    """OpenCV ends the program at them."""
    strange = os.fsdecode(b"bad\xff")
    (media.parent / f"{strange}.xml").write_text("no cascade")
    (media / f"{strange}.mp4").write_bytes((media / "film.mp4").read_bytes())
    code, output, error = run(predict.app, "media/a.png", f"media/{strange}.mp4")
    assert code == 1
    assert "media/bad?.mp4: its name is not UTF-8, which OpenCV cannot open; rename it" in error
    assert "media/a.png" in output
    for options in (
        ["--faces", f"{strange}.xml"],
        ["--source", f"rtsp://{strange}"],
        ["--save", f"{strange}.mp4"],
    ):
        module = webcam if options[0] != "--faces" else predict
        arguments = ["media/a.png"] if module is predict else ["--source", "media/film.mp4", "--headless"]
        code, _, error = run(module.app, *arguments, *options)
        assert code in (1, 2)
        assert "not UTF-8" in error


@pytest.mark.skipif(os.name == "nt", reason="no name has a colon on Windows")
def test_a_name_with_a_colon_is_a_file_and_no_protocol(run, media):
    """FFmpeg would take what stands before it for one, and `file:` as the way to another file."""
    for name in ("18:05.mp4", "hidden.mp4"):
        Path(name).write_bytes((media / "film.mp4").read_bytes())
    Path("file:hidden.mp4").write_text("no video")
    code, _, error = run(predict.app, "18:05.mp4", "--annotate", "marked")
    assert (code, error) == (0, "")
    assert Path("marked/18:05.mp4").stat().st_size > 0
    code, _, error = run(webcam.app, "--source", "18:05.mp4", "--headless", "--save", "a:b.mp4")
    assert code == 0, error
    assert Path("a:b.mp4").stat().st_size > 0
    code, _, error = run(predict.app, "file:hidden.mp4")
    assert code == 1
    assert "file:hidden.mp4: is no video" in error


def test_intact_files_give_exit_code_0(run, media):
    code, output, error = run(predict.app, "media/a.png", "media/sub")
    assert (code, error) == (0, "")
    assert "media/a.png" in output


def test_a_copy_does_not_take_the_name_of_another_original(run, tmp_path):
    (tmp_path / "in").mkdir()
    for number, name in enumerate(("a.pgm", "a.png")):  # a copy of the first is a PNG file too
        cv2.imwrite(str(tmp_path / "in" / name), np.full((30, 30 + number), 99, np.uint8))
    code, _, error = run(predict.app, "in", "--annotate", "copies")
    assert code == 0, error
    widths = {path.name: cv2.imread(str(path)).shape[1] for path in (tmp_path / "copies").iterdir()}
    assert widths == {"a-2.png": 30, "a.png": 31}


def test_a_copy_never_replaces_its_original(run, media):
    (media / "film.avi").write_bytes((media / "film.mp4").read_bytes())
    for name in ("a.png", "film.avi"):  # a copy of the second would be called film.mp4
        before = {path: path.read_bytes() for path in media.iterdir() if path.is_file()}
        code, _, error = run(predict.app, f"media/{name}", "--annotate", "media")
        assert code == 2
        assert "media: originals lie in it" in error
        assert {path: path.read_bytes() for path in media.iterdir() if path.is_file()} == before


def test_a_copy_never_replaces_another_original(run, media, tmp_path):
    (tmp_path / "other" / "sub").mkdir(parents=True)
    name = "türned [b].jpg"
    content = (media / "sub" / name).read_bytes()
    (tmp_path / "other" / "sub" / name).write_bytes(content)
    code, _, error = run(predict.app, "media", f"other/sub/{name}", "--annotate", "other")
    assert code == 1
    assert f"the copy would replace other/sub/{name}, an original" in error
    assert (tmp_path / "other" / "sub" / name).read_bytes() == content


def test_copies_are_not_written_where_the_next_run_would_read_them(run, media):
    code, _, error = run(predict.app, "media", "--annotate", "media/sub/copies")
    assert code == 2
    assert "--annotate media/sub/copies lies in media, which is read" in error
    assert not (media / "sub" / "copies").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.png"], "nothing.png: no such file or folder"),
        (["empty"], "empty: no picture or video in it"),
        (["media/a.png", "--weights", "nothing"], "weights='nothing'"),
        (["media/a.png", "--faces", "mtcnn"], "faces='mtcnn'"),
        (["media/a.png", "--unsure", "2"], "--unsure"),
        (["media/a.png", "--csv", "media"], "media"),
    ],
)
def test_mistakes_of_predict(run, media, tmp_path, arguments, message):
    (tmp_path / "empty").mkdir()
    code, output, error = run(predict.app, *arguments)
    assert code == 2
    assert message in error
    assert "Traceback" not in output + error


def test_webcam_over_a_video(run, media, tmp_path):
    options = ["--source", "media/film.mp4", "--headless", "--csv", "log.csv", "--save", "out.avi"]
    code, output, error = run(webcam.app, *options, "--max-frames", 3)
    assert (code, error) == (0, "")
    assert "media/film.mp4: 320x160" in output
    assert "3 frames, 3 faces; written: out.avi; written: log.csv" in output
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 4
    with open_video(tmp_path / "out.avi") as saved:
        assert saved.size == (1160, 544)
        assert len(list(saved)) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--source", "97", "--headless"], "camera 97: there is none"),
        (["--source", "nothing.mp4"], "nothing.mp4: no such file"),
        (["--source", "media/text.mp4", "--headless"], "is no video that OpenCV can read"),
        (["--source", "media/film.mp4"], "there is no display here"),
        (["--source", "media/film.mp4", "--headless", "--save", "a.gif"], "a.gif: expected a name"),
        (["--source", "media/film.mp4", "--headless", "--faces", "x.onnx"], "x.onnx: no such file"),
    ],
)
def test_mistakes_of_webcam(run, media, monkeypatch, arguments, message):
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    code, output, error = run(webcam.app, *arguments)
    assert code == 2
    assert message in error
    assert "Traceback" not in output + error


def test_no_cameras_to_list(run, monkeypatch):
    monkeypatch.setattr("fer_demo.live.sources.MAX_CAMERAS", 0)
    code, _, error = run(webcam.app, "--list-cameras")
    assert code == 2
    assert "no camera gives a picture" in error


@pytest.mark.parametrize("command", [predict, webcam])
def test_help_fits_a_screen(run, command):
    code, output, _ = run(command.app, "--help")
    assert code == 0
    assert "Examples:" in output
    assert len(output.splitlines()) < 50
    for line in command.EXAMPLES.strip().splitlines():
        assert line in output  # not broken


def test_links_are_followed_but_not_round_for_ever(run, tmp_path):
    album = tmp_path / "album"
    album.mkdir()
    cv2.imwrite(str(album / "a.png"), frame("happy"))
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "linked").symlink_to(album)
    (tmp_path / "photos" / "dead.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (album / "up").symlink_to(tmp_path / "photos")
    code, _, error = run(predict.app, "photos", "--csv", "faces.csv")
    assert code == 1
    assert "photos/dead.jpg" in error
    with (tmp_path / "faces.csv").open(newline="") as table:
        assert [row["file"] for row in csv.DictReader(table)] == ["photos/linked/a.png"]


def test_files_are_whole_when_the_system_ends_the_program(run, media, monkeypatch, tmp_path):
    def stopped(detector, path, watch):
        yield from analyse(detector, path, watch)
        os.kill(os.getpid(), signal.SIGTERM)

    analyse, before = predict_media.analyse, signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(predict_media, "analyse", stopped)
    try:
        code, output, error = run(predict.app, "media/a.png", "media/film.mp4", "--csv", "faces.csv")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert code == 130
    assert "media/a.png" in output
    assert error.endswith("Interrupted.\n")
    with (tmp_path / "faces.csv").open(newline="") as table:
        assert {row["file"] for row in csv.DictReader(table)} == {"media/a.png"}
