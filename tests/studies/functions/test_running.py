"""Work is done in order, in processes or not, and what was done before is not done again."""

import math

import pytest
from studies.functions import running
from studies.functions.running import Journal, run_all

from gradcheck.errors import RequestError


def square(number):
    return [{"of": number, "is": number * number}]


def run(journal, tasks, workers=0, seconds=60.0, work=square):
    shown = []
    rows = run_all(work, tasks, journal, workers, seconds, lambda *one: shown.append(one))
    return rows, shown


@pytest.mark.parametrize("workers", [0, 2])
def test_rows_come_in_the_order_of_the_tasks(tmp_path, workers, monkeypatch):
    monkeypatch.setattr(running, "RENEWED", 8)
    tasks = {f"task {n}": n for n in range(20)}
    rows, shown = run(Journal(tmp_path / "a.jsonl", {}, False), tasks, workers, work=math_rows)
    assert rows == [row for n in range(20) for row in math_rows(n)]
    assert shown == [(n, 20) for n in range(1, 21)]


def math_rows(number):
    return [{"root": math.sqrt(number)}, {"log": math.log1p(number)}]


def test_what_is_done_is_not_done_again_though_the_last_line_was_cut_off(tmp_path):
    path, tasks = tmp_path / "a.jsonl", {f"task {n}": n for n in range(4)}
    run(Journal(path, {"seed": 1}, False), {k: tasks[k] for k in list(tasks)[2:]})
    path.write_text(path.read_text()[:-5])
    done = []

    def work(number):
        done.append(number)
        return square(number)

    journal = Journal(path, {"seed": 1}, True)
    rows, _ = run(journal, tasks, work=work)
    assert done == [0, 1, 3]
    assert rows == [row for n in range(4) for row in square(n)]
    assert run(Journal(path, {"seed": 1}, True), tasks, work=None)[0] == rows


def test_rows_of_something_else_are_not_taken_over(tmp_path):
    path, tasks = tmp_path / "a.jsonl", {"one": 1}
    run(Journal(path, {"seed": 1}, False), tasks)
    with pytest.raises(RequestError, match="was made with"):
        Journal(path, {"seed": 2}, True)
    assert Journal(path, {"seed": 1}, True).rows
    assert not Journal(path, {"seed": 1}, False).rows


def test_no_more_are_begun_when_time_is_up(tmp_path):
    assert run(Journal(tmp_path / "a.jsonl", {}, False), {"one": 1}, seconds=-1) == ([], [])


def test_nothing_is_lost_when_it_is_stopped(tmp_path):
    path, tasks = tmp_path / "a.jsonl", {f"task {n}": n for n in range(4)}

    def work(number):
        if number == 2:
            raise KeyboardInterrupt
        return square(number)

    with pytest.raises(KeyboardInterrupt):
        run(Journal(path, {}, False), tasks, work=work)
    assert list(Journal(path, {}, True).rows) == ["task 0", "task 1"]
