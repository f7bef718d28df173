"""A task takes cores that have none left, and finds the same."""

import gc
import select
import signal
import subprocess
import sys
import threading
import weakref

import pytest

from cxrfeat.evaluation.validation.side_by_side import in_threads
from cxrfeat.spare_cores import on_spare_cores

PATIENT = 30.0  # seconds; nothing here takes one


def test_the_last_task_shares_its_parts_with_a_core_that_has_none_left():
    seen: set[int] = set()

    def part(item: int) -> int:
        seen.add(threading.get_ident())
        if len(seen) < 2:  # the other core is about to end its own task
            threading.Event().wait(0.01)
        return item

    def work(number: int) -> list[int]:
        return on_spare_cores(part, range(500)) if number == 4 else []

    done = dict(in_threads(2)(work, [(number,) for number in range(5)]))
    assert done[4] == list(range(500))
    assert len(seen) == 2


def test_more_cores_than_tasks_are_taken_from_the_start():
    together = threading.Barrier(3)

    def work() -> list[int]:
        return on_spare_cores(lambda item: (together.wait(PATIENT), item)[1], range(9))

    assert dict(in_threads(3)(work, [()])) == {0: list(range(9))}


def test_no_more_threads_than_cores_work_at_a_time():
    counting, now, most = threading.Lock(), [0], [0]

    def part(item: int) -> int:
        with counting:
            now[0] += 1
            most[0] = max(most[0], now[0])
        threading.Event().wait(0.001)
        with counting:
            now[0] -= 1
        return item

    tasks = [(number,) for number in range(7)]
    done = dict(
        in_threads(3)(lambda number: on_spare_cores(part, range(number, number + 9)), tasks)
    )
    assert done == {number: list(range(number, number + 9)) for number in range(7)}
    assert most[0] <= 3


def test_an_error_of_a_part_is_raised_wherever_it_was_worked_on():
    def part(item: int) -> int:
        if item == 3:
            raise ValueError("part 3")
        return item

    with pytest.raises(ValueError, match="part 3"):
        list(in_threads(2)(lambda: on_spare_cores(part, range(8)), [()]))


def test_without_a_place_that_counts_cores_the_parts_are_worked_on_here():
    here = threading.get_ident()
    assert on_spare_cores(lambda item: (item, threading.get_ident()), range(3)) == [
        (item, here) for item in range(3)
    ]


def test_what_is_worked_on_is_let_go_at_once():
    """It may be some GB; the collector of cycles comes late, where few objects are made."""

    class Large:
        pass

    def work() -> weakref.ref:
        held = Large()
        on_spare_cores(lambda item: (held, item), range(50))
        return weakref.ref(held)

    gc.disable()
    try:
        ((_, left),) = in_threads(2)(work, [()])
        assert left() is None
    finally:
        gc.enable()


def test_an_interrupted_run_ends_while_its_helpers_are_at_work():
    script = """
import signal
import threading
from cxrfeat.evaluation.validation.side_by_side import in_threads
from cxrfeat.spare_cores import on_spare_cores

signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
together, never = threading.Barrier(2, lambda: print("both at work", flush=True)), threading.Event()
try:
    wait = lambda _: (together.wait(), never.wait())
    list(in_threads(2)(lambda: on_spare_cores(wait, range(4)), [()]))
except KeyboardInterrupt:
    print("interrupted")
"""
    run = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    with run:
        try:
            assert select.select([run.stdout], [], [], PATIENT)[0]
            assert run.stdout.readline() == "both at work\n"
            run.send_signal(signal.SIGINT)
            assert run.communicate(timeout=PATIENT)[0] == "interrupted\n"
        finally:
            run.kill()
    assert run.returncode == 0
