"""What scoring one file of weights shows and writes.

The results are plain dicts, lists, strings and numbers; scores lie between 0 and 1, None is unknown::

    weights      name, sha256 (of the file), temperature, flip_average, trained_on_these (whether some of the
                 faces are, as far as the file says, among those that the model has learnt)
    data         name, sha256, part
    images       how many faces were scored
    accuracy, interval (its 95 % interval: low, high), macro_f1
    per_class    {emotion: {precision, recall, f1, support}}
    confusion    counts, rows true, columns predicted
    ece          expected calibration error
    reliability  count, confidence, accuracy: a list of one number per bin each
    no_face      how many photographs have none that was found; no_face_files names them
    skipped      how many files are damaged or missing; skipped_files gives [file, reason] of each
    left_out, left_out_files  {other reason: how many photographs, and which}
    environment  as in `fer_demo.report.results`
"""

from pathlib import Path

import numpy as np
from rich.console import Console
from rich.text import Text

from fer_demo.calibration import Reliability
from fer_demo.data.dataset import EMOTIONS
from fer_demo.report.content import RESPONSIBLE_USE, confusion_table, emotion_table
from fer_demo.report.results import Results, write_results
from fer_demo.report.tables import print_parts, rich_table

TRAINED_ON = (
    "As far as the files tell, the model has learnt some of these faces: the scores say how well it "
    "remembers, not how good it is."
)


def print_evaluation(results: Results, console: Console) -> None:
    """Print the tables and the scores; all fits 80 columns and reads without colour."""
    weights, data, (low, high) = results["weights"], results["data"], results["interval"]
    part = "" if data["part"] == "all" else f"{data['part']} of "
    averaged = ", averaged over mirror images" if weights["flip_average"] else ""
    faces = "1 face" if results["images"] == 1 else f"{results['images']:,} faces"
    heading = f"{weights['name']}{averaged}, on {faces}: {part}{data['name']}"
    scores = (
        f"Accuracy {results['accuracy']:.3f}, 95 % interval {low:.3f} to {high:.3f}; "
        f"macro F1 {results['macro_f1']:.3f}"
    )
    calibration = (
        f"Expected calibration error {results['ece']:.3f} in {len(results['reliability']['count'])} bins, "
        f"at temperature {weights['temperature']:.3g}"
    )
    warning = [Text(TRAINED_ON, style="bold")] if weights["trained_on_these"] else []
    print_parts(
        console,
        Text(heading, style="bold"),
        rich_table(emotion_table(results["per_class"], results["macro_f1"], "Per emotion")),
        rich_table(confusion_table(results["confusion"], EMOTIONS)),
        Text.assemble((scores, "bold"), f"\n{calibration}"),
        *warning,
        Text(RESPONSIBLE_USE, style="dim"),
    )


#: What `write_evaluation` writes into a folder.
FILES = ("evaluation.json", "confusion.png", "reliability.png", "mistakes.png")


def write_evaluation(
    results: Results, images: np.ndarray, labels: np.ndarray, probabilities: np.ndarray, out_dir: Path
) -> list[Path]:
    """Write `FILES`; return those that there are.

    Args:
        results: as above.
        images: uint8, (N, 48, 48, 1), the faces.
        labels: integers, (N,), indices into `EMOTIONS`.
        probabilities: float, (N, 7), what the model gave. Without a mistake there is no picture of them.
        out_dir: an existing folder.
    """
    # Matplotlib takes a second to load, for which those who want no picture shall not wait.
    from fer_demo.report.figures import confusion, mistakes, reliability_diagram, save_all

    write_results(results, out_dir / "evaluation.json")
    name, synthetic = results["weights"]["name"], False
    taken_for = f"{name}: what each emotion was taken for"
    sure = f"{name}: how sure, and how often right; calibration error {results['ece']:.3f}"
    figures = {
        "confusion": confusion(taken_for, results["confusion"], EMOTIONS, synthetic),
        "reliability": reliability_diagram(sure, Reliability(**results["reliability"]), synthetic),
    }
    if results["accuracy"] == 1:
        (out_dir / "mistakes.png").unlink(missing_ok=True)  # of an earlier evaluation
    else:
        figures["mistakes"] = mistakes(name, images, labels, probabilities, synthetic)
    return [out_dir / "evaluation.json", *save_all(figures, out_dir).values()]
