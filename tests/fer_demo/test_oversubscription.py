"""As many threads are at work as were asked for, however many BLAS, OpenCV and numba would like to have."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = str(Path(__file__).parents[2])
LIBRARIES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's /proc")

#: Threads that worked are told by the processor time that each has had since.
COUNT = """
import json, sys
from pathlib import Path

def times():
    read = lambda task: int((task / "schedstat").read_text().split()[0])
    return {task.name: read(task) for task in Path("/proc/self/task").iterdir()}

def counted(train, *arguments):
    import cv2, threadpoolctl
    import tinycnn as tc
    before, within = times(), []
    class Watch(tc.Progress):
        def batch(self, *_):
            pools = threadpoolctl.threadpool_info()
            within.append(max(p["num_threads"] for p in pools if p["user_api"] == "blas"))
    train(Watch(), *arguments)
    spent = [time - before.get(name, 0) for name, time in times().items()]
    busy = sum(time > max(spent) / 20 for time in spent)
    return {"busy": busy, "blas": max(within), "opencv": cv2.getNumThreads(), "threads": tc.get_threads()}
"""

MAIN = """
import tinycnn as tc
from fer_demo.crossval import Protocol
from fer_demo.data.faces import synthetic_faces
from fer_demo.trial_files import TrialFiles
from fer_demo.jobs import train

def fold(progress, folder):
    train(faces, Protocol(2, 1, 0, 32), TrialFiles(Path(folder), "mini_xception", 0), progress, None)

tc.backend(sys.argv[1])
faces = synthetic_faces(140)
fold(tc.Progress(), "first")  # compiles
two = counted(fold, "second")
tc.set_threads(1)
print(json.dumps([two, counted(fold, "third")]))
"""

WORKER = """
import tinycnn as tc
from joblib import Parallel, delayed
from fer_demo import jobs
from fer_demo.crossval import Protocol
from fer_demo.data.faces import synthetic_faces
from fer_demo.trial_files import TrialFiles

def fold(progress, faces, fold, workers):
    jobs.tc.Progress = lambda: progress
    files = TrialFiles(Path("out"), "mini_xception", fold)
    jobs._train_in_process(faces, Protocol(2, 1, 0, 32), files, sys.argv[1], workers.threads, None)

def work(*arguments):
    tc.backend(sys.argv[1])
    tc.kernels.active()  # loads a BLAS, whose threads look out for work at first
    return counted(fold, *arguments)

workers = jobs.Workers(2)
parallel = Parallel(workers.jobs, "loky", batch_size=1, inner_max_num_threads=workers.threads)
faces = synthetic_faces(140)
print(json.dumps(parallel(delayed(work)(faces, index, workers) for index in range(2))))
"""


def run(code, backend, folder):
    """What a process prints that is offered four threads by each library, and told to use two."""
    environment = {**os.environ, "PYTHONPATH": ROOT, "TINYCNN_THREADS": "2"}
    environment |= dict.fromkeys(LIBRARIES, "4")
    command = [sys.executable, "-c", COUNT + code, backend]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=folder)
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


def test_in_the_main_process(backend, tmp_path):
    for threads, count in zip((2, 1), run(MAIN, backend, tmp_path), strict=True):
        assert 1 <= count.pop("busy") <= threads
        assert count == {"blas": 1, "opencv": 1, "threads": threads}


def test_in_each_of_two_processes(backend, tmp_path):
    for count in run(WORKER, backend, tmp_path):
        assert count == {"busy": 1, "blas": 1, "opencv": 1, "threads": 1}
