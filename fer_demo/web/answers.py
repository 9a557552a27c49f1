"""What the page is told, as JSON: who is in a picture, and what the network sees in a face."""

import time
from typing import Any

import cv2
import numpy as np

from fer_demo.classifier import EmotionClassifier
from fer_demo.data.dataset import EMOTIONS
from fer_demo.data.faces import draw_face
from fer_demo.detector import EmotionDetector, Face
from fer_demo.live.tracks import Tracker
from fer_demo.palette import COLOURS
from fer_demo.sight import Evidence, block_maps
from fer_demo.web.pictures import pixels

Json = dict[str, Any]

#: Side of a drawn face in pixels, and the room around it: enough of both for a detector of faces.
_DRAWN, _ROOM = 240, 48


def about(classifier: EmotionClassifier) -> Json:
    """Say what the page must know before it can show anything."""
    return {"model": classifier.name, "emotions": EMOTIONS, "colours": COLOURS}


def find_faces(detector: EmotionDetector, picture: np.ndarray, tracker: Tracker | None = None) -> Json:
    """Say whose faces are in a picture, uint8 (H, W, 3), and how long it took to find and to read them.

    With the tracker of a film, faces keep their numbers, and what is said of them is smoothed over time.
    """
    began = time.perf_counter()
    boxes = detector.find_faces(picture)
    found = time.perf_counter()
    faces = detector.classify(picture, boxes)
    predicted = time.perf_counter()
    if tracker is None:
        numbered = list(enumerate(faces, start=1))
    else:
        tracker.update(faces, predicted, picture.shape[:2])
        numbered = [(track.number, track.face) for track in tracker.shown(predicted)]
    return {
        "width": picture.shape[1],
        "height": picture.shape[0],
        "detection_ms": round((found - began) * 1000, 1),
        "prediction_ms": round((predicted - found) * 1000, 1),
        "faces": [_describe(face, number) for number, face in numbered],
    }


def _describe(face: Face, number: int) -> Json:
    return {
        "id": number,
        "box": face.box,
        "label": face.label,
        "probabilities": [round(float(p), 4) for p in face.probabilities],
        "pixels": pixels(face.crop),
    }


def look_inside(classifier: EmotionClassifier, evidence: Evidence, face: np.ndarray) -> Json:
    """Say what the network sees in a face, uint8 (48, 48); maps come one under the other."""
    blocks = [
        {
            "name": name,
            "maps": len(maps),
            "height": maps.shape[1],
            "width": maps.shape[2],
            "pixels": pixels(maps),
        }
        for name, maps in block_maps(classifier, face).items()
    ]
    heat = dict(zip(EMOTIONS, map(pixels, evidence(face)), strict=True))
    return {"blocks": blocks, "evidence": heat}


def drawn_faces(seed: int) -> bytes:
    """Return the JPEG of three faces that this program draws, for those without camera and photo."""
    rng = np.random.default_rng(seed)
    faces = [draw_face(emotion, rng, difficulty=0) for emotion in rng.choice(EMOTIONS, 3, replace=False)]
    large = [cv2.resize(face, (_DRAWN, _DRAWN), interpolation=cv2.INTER_CUBIC) for face in faces]
    wide = [cv2.copyMakeBorder(face, _ROOM, _ROOM, _ROOM, _ROOM, cv2.BORDER_REPLICATE) for face in large]
    return cv2.imencode(".jpg", np.hstack(wide))[1].tobytes()
