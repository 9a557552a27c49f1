"""Threads share work, whole and once; errors come out; several callers and forks do no harm."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import tinycnn as tc
from tinycnn import train
from tinycnn.kernels import threads

pytest.importorskip("numba", reason="the threads belong to the numba backend")
from numba import njit

from tinycnn.kernels import jit
from tinycnn.kernels.jit import team
from tinycnn.kernels.jit.atomic import add, load_now
from tinycnn.kernels.jit.compile import OPTIONS, part
from tinycnn.kernels.jit.together import INSIDE, together

LARGE = team.SHARED_FROM
PATIENCE = 60  # seconds, for machines that do much else


@njit(**OPTIONS)  # `compiled` would keep it in a cache that knows nothing of changes in this file
def meet(x, y, members, looks, memory, queue, mailbox):
    arguments = (x, y, members, looks, memory, queue)
    together(meet_part, arguments, mailbox)


@part
def meet_part(x, y, members, looks, memory, queue, member):
    """Double each chunk of x; within the first, wait for all members, as long as there are looks left."""
    memory = team.own(memory, queue, member)
    memory[:] = member
    for turn in range(queue[team.CHUNKS]):
        chunk = team.claim(queue, member, turn)
        if chunk >= 0:
            there = add(queue, np.intp(team.DONE), np.int64(1)) + 1
            while there < queue[team.MEMBERS] and looks > 0:
                there, looks = load_now(queue, np.intp(team.DONE)), looks - 1
            if x[chunk] == -1 - min(member, 1):
                raise ValueError("a number that fails")
            y[chunk] = 2 * x[chunk]
            members[chunk] = memory[turn % memory.size]


def shared_call(x, looks):
    """Return 2 x, and who computed each element."""
    y, members = np.empty_like(x), np.full(len(x), -1)
    team.share_call(meet, (x, y, members, looks), (100, np.dtype(np.int64)), len(x), LARGE)
    return y, members


@pytest.fixture(autouse=True, params=[1, 2, 4])
def thread_count(request):
    before = tc.get_threads()
    tc.set_threads(request.param)
    yield request.param
    tc.set_threads(before)


@pytest.mark.parametrize("n", [1, 3, 8, 100])
def test_every_item_is_done_once_in_the_same_chunks(n):
    seen = np.zeros(n, int)
    borders = []

    def work(chunk, start, stop):
        seen[start:stop] += 1
        borders.append((chunk, start, stop))

    team.for_chunks(n, work, LARGE)
    assert (seen == 1).all()
    chunks = threads.chunk_count(n)
    assert sorted(borders) == [(c, c * n // chunks, (c + 1) * n // chunks) for c in range(chunks)]


def test_parts_are_as_many_as_threads(thread_count):
    parts = []
    team.for_parts(np.empty(LARGE, np.uint8), lambda start, stop: parts.append((start, stop)))
    assert len(parts) == thread_count
    assert sum(stop - start for start, stop in parts) == LARGE


def test_work_is_spread_when_it_takes_time(thread_count):
    names, all_at_work = set(), threading.Event()

    def work(*_):
        names.add(threading.get_ident())
        if len(names) == thread_count:
            all_at_work.set()
        assert all_at_work.wait(PATIENCE)

    team.for_chunks(8, work, LARGE)
    assert len(names) == thread_count


def test_small_work_stays_in_the_calling_thread():
    names = set()
    team.for_chunks(8, lambda *_: names.add(threading.get_ident()), LARGE - 1)
    assert names == {threading.get_ident()}


def test_helpers_that_have_gone_to_sleep_wake_up(thread_count):
    for _ in range(3):
        time.sleep(0.05)
        test_work_is_spread_when_it_takes_time(thread_count)


def test_a_compiled_call_has_every_thread_and_each_its_own_memory(thread_count):
    for pause in (0, 0, 0.05):  # longer than a helper's patience
        time.sleep(pause)
        y, members = shared_call(np.arange(8.0), looks=10**10)
        np.testing.assert_array_equal(y, 2 * np.arange(8.0))
        assert set(members) == set(range(thread_count))


def test_an_error_in_any_thread_comes_out_and_the_team_goes_on(thread_count):
    with pytest.raises(ValueError, match="a number that fails"):
        shared_call(np.full(8, -1.0), looks=10**10)
    if thread_count > 1:
        with pytest.raises(RuntimeError, match="failed in a helper"):
            shared_call(np.full(8, -2.0), looks=10**10)
    test_a_compiled_call_has_every_thread_and_each_its_own_memory(thread_count)


def test_no_helper_comes_too_late():
    """Each call's arrays are gone after it, and others lie where they were."""
    for i in range(3000):
        x = np.arange(8.0) + i
        np.testing.assert_array_equal(shared_call(x, looks=0)[0], 2 * x)


def test_after_an_interruption_callers_work_alone_until_the_helpers_are_out(thread_count):
    if thread_count == 1:
        pytest.skip("one thread has no helpers")
    shared_call(np.arange(8.0), looks=0)
    ours = team._current_team()
    ours._held, ours.mailbox[INSIDE] = (), ours.mailbox[INSIDE] + 1
    try:
        assert set(shared_call(np.arange(8.0), looks=10**6)[1]) == {0}
    finally:
        ours.mailbox[INSIDE] -= 1
    assert len(set(shared_call(np.arange(8.0), looks=10**10)[1])) == thread_count


def test_an_error_comes_out_and_the_team_goes_on():
    def work(chunk, start, stop):
        if chunk == 5:
            raise ValueError("chunk 5")

    with pytest.raises(ValueError, match="chunk 5"):
        team.for_chunks(8, work, LARGE)
    test_every_item_is_done_once_in_the_same_chunks(100)


def test_several_callers_at_once():
    x = np.random.default_rng(0).standard_normal((16, 20, 20, 8)).astype(np.float32)
    expected = [a.tobytes() for a in (*jit.batch_norm_statistics(x), jit.relu(x))]
    wrong = []

    def call():
        for _ in range(20):
            if [a.tobytes() for a in (*jit.batch_norm_statistics(x), jit.relu(x))] != expected:
                wrong.append(1)

    callers = [threading.Thread(target=call) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_forked_child_gets_a_team_of_its_own():
    x = np.ones((16, 20, 20, 8), np.float32)
    jit.relu(x)
    child = os.fork()
    if child == 0:
        os._exit(0 if (jit.relu(x) == 1).all() else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


@pytest.mark.parametrize("count", [0, -1, 1.5, "2"])
def test_bad_counts(count):
    with pytest.raises(tc.ConfigError, match="expected a positive whole number"):
        tc.set_threads(count)


def test_the_environment_variable(monkeypatch):
    monkeypatch.setattr(threads, "_count", None)
    monkeypatch.setenv("TINYCNN_THREADS", "3")
    assert tc.get_threads() == 3
    monkeypatch.setattr(threads, "_count", None)
    monkeypatch.setenv("TINYCNN_THREADS", "all")
    with pytest.raises(tc.ConfigError, match="TINYCNN_THREADS is 'all'"):
        tc.get_threads()


def blas():
    """The number of threads of every BLAS that is loaded."""
    threadpoolctl = pytest.importorskip("threadpoolctl")
    return [pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]


def test_blas_is_limited_within_and_restored_after(backend):
    tc.kernels.active()  # brings a BLAS of its own
    before = blas()
    with tc.kernels.one_thread_pool():
        with tc.kernels.one_thread_pool():
            assert set(blas()) == {1}
        assert set(blas()) == {1}
    assert blas() == before


def test_blas_is_limited_in_a_layer_alone_and_in_a_step(monkeypatch):
    """Without it a user's own loop over layers or steps takes two to three times as long."""
    found = []
    monkeypatch.setattr(train, "all_finite", lambda array: found.append(set(blas())) or True)
    model = tc.Sequential([tc.Dense(2, 2, rng=0)])
    tc.train_step(model, np.eye(2, dtype=np.float32), np.arange(2), tc.SoftmaxCrossEntropy(), tc.SGD(0.1))
    team.for_chunks(2, lambda *_: found.append(set(blas())), size=1)
    assert len(found) > 3
    assert all(pools == {1} for pools in found)


def test_blas_is_limited_from_any_python_thread(backend):
    def within():
        with tc.kernels.one_thread_pool():
            return set(blas())

    with ThreadPoolExecutor(1) as other:
        assert [within(), other.submit(within).result(), within()] == [{1}] * 3


def test_ctrl_c_leaves_neither_the_team_nor_blas_taken(monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    model, x = tc.Sequential([tc.Conv2D(8, 8, 3, rng=0)]), np.ones((8, 32, 32, 8), np.float32)
    before = tc.get_threads()
    tc.set_threads(2)
    try:
        with tc.backend("numba"):
            expected, ours = model.predict(x), team._current_team()
            for name in ("_wake", "is_free"):
                with monkeypatch.context() as patch:
                    patch.setattr(ours, name, interrupt)
                    with pytest.raises(KeyboardInterrupt):
                        model.predict(x)
                assert (ours.busy.locked(), ours._held) == (False, None)
            with monkeypatch.context() as patch:
                patch.setattr(threads, "_blas_libraries", interrupt)
                with pytest.raises(KeyboardInterrupt), threads.single_threaded_blas():
                    pass
            assert not threads._blas_users
            np.testing.assert_array_equal(model.predict(x), expected)
    finally:
        tc.set_threads(before)
