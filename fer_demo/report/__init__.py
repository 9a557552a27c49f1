"""What cross-validation shows and writes: tables in the terminal, `results.json`, pictures, one HTML page."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fer_demo.report.results import Results, environment, read_results, write_results
from fer_demo.report.tables import print_results

__all__ = ["Results", "environment", "print_results", "read_results", "write_all", "write_results"]


def write_all(
    results: Results,
    images: np.ndarray,
    labels: np.ndarray,
    out_dir: Path,
    probabilities: Mapping[str, np.ndarray] | None = None,
) -> Path:
    """Write `results.json`, the pictures as PNG and `report.html` into one folder, over an earlier run's.

    Args:
        results: as `fer_demo.report.results` describes them; models and folds may be missing.
        images: uint8, (N, 48, 48, 1), the data set.
        labels: integers, (N,), indices into `EMOTIONS`.
        out_dir: where to write; made if missing.
        probabilities: per model, float, (N, 7), what it gave each image while that was held out, NaN for
            images of folds that did not finish; the page then shows the most confident mistakes.

    Returns:
        The page's path.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    write_results(results, out_dir / "results.json")  # first, lest a failing picture cost hours of training
    # Matplotlib and Jinja2 take a second to load, which the start of a training shall not wait for.
    from fer_demo.report.figures import save_figures
    from fer_demo.report.html import write_report

    figures = save_figures(results, images, labels, out_dir, probabilities)
    return write_report(results, figures, out_dir / "report.html")
