"""The way of a search over spaces whose answers are known: no point is run twice."""

from types import SimpleNamespace

import pytest

from condiff.config.compose import Planned
from condiff.config.spaces import Axis
from condiff.errors import ConfigError
from condiff.sweeps.ledger import DONE, FAILED, WAITING, Entry, open_ledger
from condiff.sweeps.searching import num_jobs, searched


class Toy:
    """Runs points by a formula; ``ran`` has what was run, in its order."""

    def __init__(self, folder, formula, parallel=1):
        self.ledger = open_ledger(folder, True, "toy", "python run.py", 0)
        self.launcher = SimpleNamespace(parallel=parallel)
        self.formula, self.ran = formula, []

    def enter(self, place, run):
        if place == len(self.ledger.entries):
            self.ledger.entries.append(Entry(str(place), run.overrides))
        elif self.ledger.entries[place].status != DONE:
            self.ledger.entries[place] = Entry(str(place), run.overrides)
        assert self.ledger.entries[place].overrides == run.overrides

    def run_at(self, places, runs, total):
        for place, run in zip(places, runs, strict=True):
            self.enter(place, run)
            if self.ledger.entries[place].status != DONE:
                self.ran.append(tuple(run.overrides))
                value = self.formula(**run.cfg)
                changes = {"status": FAILED} if value is None else {"status": DONE, "metrics": {"fd": value}}
                self.ledger.set(place, **changes)
        return [self.ledger.entries[place] for place in places]


def space(*axes, num_trials=10, at=float, refused=()):
    """A search of these axes; ``refused`` are words that make no run."""

    def run(words):
        if {*words.values()} & {*refused}:
            raise ConfigError(f"x: must not be {', '.join(words.values())}")
        cfg = {key: at(word) for key, word in words.items()}
        return Planned([f"{key}={word}" for key, word in words.items()], cfg)

    node = {"_target_": "condiff.sweeps.search.Optuna", "num_trials": num_trials}
    return SimpleNamespace(axes=[*axes], sweeper={**node, "minimize": ["fd"], "maximize": []}, at=run)


SMALL = Axis("x", ["1", "2", "3"])


@pytest.mark.parametrize("parallel", [1, 2, 8])
def test_a_choice_is_run_once_and_a_space_that_is_tried_out_ends_the_search(tmp_path, capsys, parallel):
    toy = Toy(tmp_path, lambda x: (x - 2) ** 2, parallel)
    best = searched(toy, space(SMALL, num_trials=10))
    assert sorted(toy.ran) == [("x=1",), ("x=2",), ("x=3",)]
    assert [toy.ledger.entries[place].overrides for place in best] == [["x=2"]]
    said = "search: every point of this space has been tried, 3 in all; it ends after 3 of 10 trials\n"
    assert capsys.readouterr().out == said


def test_a_known_point_is_told_and_no_trial_is_lost_to_it(tmp_path, capsys):
    """Twelve points of which one is far better than all others: TPE comes back to it."""
    axes = (Axis("x", (), 1, 4, 1), Axis("y", ["1", "2", "3"]))
    toy = Toy(tmp_path, lambda x, y: 0.0 if (x, y) == (1, 1) else 9.0 + x + y)
    (best,) = searched(toy, space(*axes, num_trials=11))
    assert len(toy.ran) == len({*toy.ran}) == 11
    assert toy.ledger.entries[best].overrides == ["x=1", "y=1"]
    assert capsys.readouterr().out == ""


def test_two_words_for_one_run_are_one_point(tmp_path):
    toy = Toy(tmp_path, lambda x: x)
    searched(toy, space(Axis("x", ["2", "2.0", "3"])))
    assert sorted(float(words[0][2:]) for words in toy.ran) == [2.0, 3.0]


def test_what_an_earlier_attempt_measured_is_not_run_again_and_counts(tmp_path):
    first = Toy(tmp_path, lambda x: x)
    searched(first, space(Axis("x", (), 0.0, 1.0), num_trials=4))
    first.ledger.close()
    found = [*first.ledger.entries]
    again = Toy(tmp_path, lambda x: x)
    searched(again, space(Axis("x", (), 0.0, 1.0), num_trials=6))
    assert len(again.ran) == 2
    assert again.ledger.entries[:4] == found
    whole = Toy(tmp_path / "whole", lambda x: x)
    searched(whole, space(Axis("x", (), 0.0, 1.0), num_trials=6))
    assert whole.ran == first.ran + again.ran


def test_what_was_begun_elsewhere_keeps_its_place_and_is_finished(tmp_path):
    """Its points are none that this search would ask for."""
    toy = Toy(tmp_path, lambda x: x)
    toy.ledger.entries = [
        Entry("0", ["x=0.5"], DONE, metrics={"fd": -1.0}),
        Entry("1", ["x=0.25"], FAILED),
    ]
    assert searched(toy, space(Axis("x", (), 0.0, 1.0), num_trials=4)) == [0]
    assert len(toy.ran) == 3
    assert toy.ran[-1] == ("x=0.25",)
    assert [entry.status for entry in toy.ledger.entries] == [DONE] * 4
    assert WAITING not in [entry.status for entry in toy.ledger.entries]


def test_a_failed_point_is_run_once_in_an_attempt_and_is_none_of_the_best(tmp_path):
    toy = Toy(tmp_path, lambda x: None if x == 1 else x)
    best = searched(toy, space(SMALL))
    assert sorted(toy.ran) == [("x=1",), ("x=2",), ("x=3",)]
    assert [toy.ledger.entries[place].overrides for place in best] == [["x=2"]]


def test_a_point_that_cannot_be_run_is_told_once_and_another_is_asked_for(tmp_path, capsys):
    toy = Toy(tmp_path, lambda x: x, parallel=2)
    searched(toy, space(Axis("x", (), 1, 4, 1), refused=["2"]))
    assert sorted(toy.ran) == [("x=1",), ("x=3",), ("x=4",)]
    said = capsys.readouterr()
    assert said.err == "error[2]: x: must not be 2\n"
    assert "has been tried, 4 in all; it ends after 3 of 10 trials" in said.out


def test_a_space_without_end_in_which_nothing_runs_ends_the_search(tmp_path, capsys):
    toy = Toy(tmp_path, lambda x: x)
    search = space(Axis("x", (), 0.0, 1.0))

    def at(words):
        raise ConfigError("x: never")

    search.at = at
    assert searched(toy, search) == []
    assert (
        "100 points in a row were tried before or cannot be run; it ends after 0 of"
        in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("axes", "num"),
    [
        ([SMALL], 3),
        ([SMALL, Axis("y", ["a", "b", "a"])], 6),
        ([Axis("x", (), 8, 32, 8)], 4),
        ([Axis("x", (), 0.1, 0.3, 0.1)], 3),
        ([Axis("x", (), 1, 8, 1, log=True)], 8),
        ([SMALL, Axis("y", (), 0.0, 1.0)], 10),
    ],
)
def test_a_search_has_no_more_jobs_than_points(axes, num):
    assert num_jobs(space(*axes)) == num  # pyright: ignore[reportArgumentType]
    for axis in axes:
        assert axis.size is None or len(axis.values()) == axis.size
