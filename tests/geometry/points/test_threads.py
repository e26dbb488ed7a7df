"""Work in threads: in order, cancelled, and no further ahead than it says."""

from __future__ import annotations

import threading

import pytest
import torch

from exo2ego.common.cancel import cancel_point, cancellable
from exo2ego.geometry.points.threads import map_in_threads, n_threads_on


@pytest.mark.parametrize("n_threads", [1, 3])
def test_results_come_in_the_order_of_the_items(n_threads):
    first = threading.Event()

    def work(item):
        if n_threads > 1:  # the first is finished after the second
            first.wait() if item == 0 else first.set()
        return item * item

    assert list(map_in_threads(work, range(20), n_threads)) == [item * item for item in range(20)]


@pytest.mark.parametrize("n_threads", [1, 2])
def test_what_the_work_raises_is_raised_and_nothing_more_begins(n_threads):
    begun = []

    def work(item):
        begun.append(item)
        if item == 1:
            raise ValueError("no")
        return item

    with pytest.raises(ValueError, match="no"):
        list(map_in_threads(work, range(1000), n_threads))
    assert len(begun) < 100


def test_a_thread_whose_work_has_failed_begins_nothing_more():
    def items():
        for item in range(100):
            if item == 4:  # the caller is about to wait, and others lie ready
                go_on.set()
            yield item

    def work(item):
        begun.append(item)
        go_on.wait()
        raise ValueError(f"of {item}")

    for _ in range(100):  # which thread is first is a matter of moments
        begun, go_on = [], threading.Event()
        with pytest.raises(ValueError, match=r"of [01]"):
            list(map_in_threads(work, items(), 2))
        assert len(begun) <= 2


@pytest.mark.parametrize("n_threads", [1, 2])
def test_the_callers_question_whether_to_go_on_is_asked_in_the_threads(n_threads):
    asked = []

    def check():
        asked.append(threading.current_thread())
        if len(asked) == 3:
            raise InterruptedError

    with cancellable(check), pytest.raises(InterruptedError):
        list(map_in_threads(lambda item: cancel_point(), range(1000), n_threads))
    assert 3 <= len(asked) < 100
    assert (threading.current_thread() in asked) == (n_threads == 1)


@pytest.mark.parametrize(("most_ahead", "fetched_at_first"), [(None, 5), (1, 2), (100, 5)])
def test_items_are_not_fetched_far_ahead(most_ahead, fetched_at_first):
    fetched = []

    def items():
        for item in range(1000):
            fetched.append(item)
            yield item

    results = map_in_threads(lambda item: item, items(), 2, most_ahead)
    assert next(results) == 0
    assert len(fetched) == fetched_at_first
    results.close()
    assert len(fetched) == fetched_at_first


@pytest.mark.parametrize("is_inference", [True, False])
def test_threads_are_in_the_callers_inference_mode(is_inference):
    with torch.inference_mode(is_inference):
        made = list(map_in_threads(lambda item: torch.ones(1).is_inference(), range(4), 2))
    assert made == [is_inference] * 4


def test_a_gpu_has_one_thread_and_a_cpu_those_of_torch():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert (n_threads_on("cpu"), n_threads_on("cuda")) == (2, 1)
        torch.set_num_threads(1)
        assert n_threads_on(torch.device("cpu")) == 1
    finally:
        torch.set_num_threads(before)
