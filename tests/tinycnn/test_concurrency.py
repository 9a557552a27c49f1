"""Several Python threads at once, and forked children, get the bits that one alone gets."""

import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import tinycnn as tc

PATIENCE = 120  # seconds, for machines that do much else
IMAGES = np.random.default_rng(0).standard_normal((96, 12, 12, 1)).astype(np.float32)
LABELS = np.arange(96) % 3

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
forks = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


@pytest.fixture(autouse=True)
def three_threads():
    before = tc.get_threads()
    tc.set_threads(3)
    yield
    tc.set_threads(before)


def network(seed):
    rng = np.random.default_rng(seed)
    layers = [tc.Conv2D(1, 8, 3, rng=rng), tc.BatchNorm(8), tc.ReLU(), tc.SeparableConv2D(8, 16, 3, rng=rng)]
    layers += [tc.BatchNorm(16), tc.ReLU(), tc.MaxPool2D(2), tc.Flatten(), tc.Dropout(0.5, rng=rng)]
    return tc.Sequential([*layers, tc.Dense(256, 3, rng=rng), tc.Softmax()], input_shape=(12, 12, 1))


def trained(seed):
    """The bits of a trained model and of its predictions."""
    model = network(seed)
    model.fit(IMAGES, LABELS, epochs=2, batch_size=48, seed=seed, progress=False)
    return b"".join(array.tobytes() for array in [*model.params.values(), model.predict(IMAGES)])


def test_models_trained_in_four_threads_at_once(backend):
    alone = [trained(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(trained, [*range(4), *range(4)])) == alone * 2


def test_one_prepared_network_called_from_several_threads(backend):
    sizes = [1, 96, 17, 64] * 10
    expected = {n: tc.compile_for_inference(network(0))(IMAGES[:n]).tobytes() for n in set(sizes)}
    for _ in range(3):  # new each time: the first call makes the plan
        prepared = tc.compile_for_inference(network(0))
        with ThreadPoolExecutor(4) as pool:
            found = pool.map(lambda n: (n, prepared(IMAGES[:n]).tobytes()), sizes)  # noqa: B023
            assert all(bits == expected[n] for n, bits in found)


def exit_code(pid):
    """Wait for a child, which is killed if it takes too long."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@needs_fork
@forks
def test_a_forked_child_trains_and_predicts(backend):
    alone = trained(0)
    child = os.fork()
    if child == 0:
        os._exit(0 if trained(0) == alone else 1)
    assert exit_code(child) == 0
    assert trained(0) == alone  # the parent's threads are as they were


@needs_fork
@forks
def test_children_forked_while_another_thread_trains(backend):
    alone, stop = trained(0), threading.Event()

    def train_on():
        while not stop.is_set():
            trained(1)

    busy = threading.Thread(target=train_on)
    busy.start()
    try:
        for _ in range(5):
            child = os.fork()
            if child == 0:
                os._exit(0 if trained(0) == alone else 1)
            assert exit_code(child) == 0
    finally:
        stop.set()
        busy.join()


def end_as_trained(expected):
    os._exit(0 if trained(0) == expected else 1)


@needs_fork
@forks
def test_a_process_that_multiprocessing_forks(backend):
    child = multiprocessing.get_context("fork").Process(target=end_as_trained, args=(trained(0),))
    child.start()
    child.join(PATIENCE)
    assert child.exitcode == 0
