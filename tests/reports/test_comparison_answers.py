"""The answers in words at the head of a comparison page."""

import re
from itertools import permutations

import pytest
from run_folders import config_of, metrics_of

from condiff.reports.comparison import Comparison, Pairs
from condiff.reports.comparison_answers import answers, judging, leaders, recommended
from condiff.reports.comparison_axes import contrasts
from condiff.reports.over_seeds import Pair, over_seeds
from condiff.reports.paired import Difference
from condiff.reports.runs import Run

DIRECTIONS = {"class_accuracy": True, "fd_judge": False}
TARGETS = {"cfg": "ClassifierFree", "cfg_interval": "Interval"}
NUMBERS = {1.0: (0.80, 6.0), 2.0: (0.97, 2.0), 3.0: (0.99, 4.0)}


def compared(cells, interval=0.0, directions=DIRECTIONS, **pairs):
    """Cells: rule, scale, accuracy, distance."""
    runs = [
        Run(
            config_of(scale, target=TARGETS.get(rule, rule)),
            metrics_of(*numbers, interval=interval),
            {},
            (f"guidance={rule}",),
        )
        for rule, scale, *numbers in cells
    ]
    return Comparison("study", "", "", runs, directions, pairs=Pairs(**pairs))


def told(comparison):
    """The questions and their answers, as they are read."""
    page = answers(comparison)
    plain = [re.sub(r"<[^>]*>", "", part) for part in re.findall(r"<d[td]>.*?</d[td]>", page)]
    return plain, page


def one_rule(**more):
    return compared([("cfg", scale, *own) for scale, own in NUMBERS.items()], **more)


def test_a_scale_that_is_among_the_best_in_both_is_the_answer():
    """Accuracies of 0.97 and 0.99 with intervals of 0.015 to each side meet, distances do not."""
    (question, answer), page = told(one_rule(interval=0.015))
    assert question == "Which guidance.scale?"
    assert answer == (
        "2: best, or not told apart from it, in fd_judge and class_accuracy. fd_judge ↓ is best at 2 (2)."
        " class_accuracy ↑ is best at 3 (0.99), not told apart from 2."
    )
    assert "<b>2</b>: best" in page


def test_where_none_is_best_in_both_each_has_its_own_and_the_choice_is_left():
    (_, answer), _ = told(one_rule())
    assert answer.startswith("2 for fd_judge; 3 for class_accuracy: none is best, or not told apart")


def test_of_those_that_are_not_told_apart_in_one_metric_the_best_in_the_other_is_named():
    """Accuracies of 0.99 and 1 meet: scale 3 costs a distance of 3 where scale 4 costs 6."""
    cells = [("cfg", 1.5, 0.9, 1.0), ("cfg", 3.0, 0.99, 3.0), ("cfg", 4.0, 1.0, 6.0)]
    (_, answer), _ = told(compared(cells, interval=0.015))
    assert answer.startswith("1.5 for fd_judge; 3 for class_accuracy: none is best, or not told apart")


def test_a_difference_in_pairs_decides_before_intervals_do():
    """By intervals of 0.015 accuracies of scales 2 and 3 are alike; in pairs the one is surely the better."""
    sure = over_seeds([pair_of(0.02, 0.01)])
    comparison = one_rule(interval=0.015, references=[1], found={(2, 1): {"class_accuracy": sure}})
    assert leaders(comparison, "class_accuracy", [0, 1, 2]) == [2]
    assert comparison.best["class_accuracy"].near == frozenset()
    assert leaders(one_rule(interval=0.015), "class_accuracy", [0, 1, 2]) == [2, 1]


def pair_of(value, half, trained="a"):
    nothing = Run({}, {}, {})
    return Pair(nothing, nothing, value, Difference(value, value - half, value + half, 100), trained)


CASES = {
    "better at both": ({1.0: (0.0, 0.1), 2.0: (-1.0, 0.1)}, "Yes, for the models trained here.", [
        "better here at 2", "the same at 1",
    ]),
    "worse": ({1.0: (0.5, 0.1), 2.0: (0.5, 0.1)}, "No, for the models trained here.", [
        "worse here everywhere",
    ]),
    "worse at one": (
        {1.0: (0.1, 0.5), 2.0: (0.5, 0.1)},
        "At scale 1, the one to take: not told apart. Worse only at 2, for the models trained here.",
        ["worse here at 2", "not told apart at 1"],
    ),
    "better at one": (
        {1.0: (0.1, 0.5), 2.0: (-0.5, 0.1)},
        "At scale 1, the one to take: not told apart. Only at 2: yes, for the models trained here.",
        ["better here at 2", "not told apart at 1"],
    ),
    "both": (
        {1.0: (0.5, 0.1), 2.0: (-0.5, 0.1)},
        "At scale 1, the one to take: no. It depends: yes at 2; no at 1, for the models trained here.",
        ["better here at 2", "worse here at 1"],
    ),
    "one not measured": (
        {2.0: (-0.5, 0.1)},
        "At scale 1, the one to take: not told apart. Only at 2: yes, for the models trained here.",
        ["better here at 2"],
    ),
    "neither": ({1.0: (0.1, 0.5), 2.0: (0.1, 0.5)}, "It cannot be told.", ["not told apart everywhere"]),
    "the same": ({1.0: (0.0, 0.1), 2.0: (0.0, 0.1)}, "No difference.", ["the same everywhere"]),
}  # fmt: skip


def two_rules(differences, trainings=1, names=tuple(TARGETS)):
    cells = [(rule, scale, 0.9, 3.0 + scale) for rule in names for scale in (1.0, 2.0)]
    (contrast,) = contrasts(compared(cells))
    found = {
        contrast.at[f"scale {scale:g}"]: {
            "fd_judge": over_seeds(
                [pair_of(value and value + k / 100, half, str(k)) for k in range(trainings)]
            )
        }
        for scale, (value, half) in differences.items()
    }
    return compared(cells, found=found, references=[0])


@pytest.mark.parametrize("case", CASES)
def test_whether_a_choice_is_better_is_told_at_the_same_value_of_the_rest(case):
    differences, lead, where = CASES[case]
    lines, _ = told(two_rules(differences))
    answer = lines[lines.index("Is cfg_interval better than cfg?") + 1]
    assert answer.startswith(f"{lead} At the same guidance.scale, fd_judge is {', '.join(where)}")


def test_better_in_one_metric_and_worse_in_another_is_no_yes():
    sides = {
        "fd_judge": over_seeds([pair_of(-1.0, 0.1)]),
        "class_accuracy": over_seeds([pair_of(-0.1, 0.01)]),
    }
    cells = [("cfg", 2.0, 0.99, 3.0), ("cfg_interval", 2.0, 0.89, 2.0)]
    lines, _ = told(compared(cells, found={(1, 0): sides}, references=[0]))
    assert lines[lines.index("Is cfg_interval better than cfg?") + 1].startswith("It depends, for the models")


def test_what_holds_over_trainings_is_said_without_here():
    lines, page = told(two_rules({1.0: (0.0, 0.1), 2.0: (-1.0, 0.1)}, trainings=3))
    answer = lines[lines.index("Is cfg_interval better than cfg?") + 1]
    assert answer.startswith("Yes. At the same guidance.scale, fd_judge is better at 2")
    assert "on samples of 3 trainings" in page


def test_several_rules_have_a_line_each_and_the_settings_one_for_all():
    cells = [("cfg", s, *own) for s, own in NUMBERS.items()] + [("cfg_interval", 2.0, 0.98, 1.0)]
    cells += [("cfg_interval", 3.0, 0.985, 3.0)]
    lines, _ = told(compared(cells))
    assert lines[:2] == [
        "Which setting?",
        "cfg_interval, scale 2 for fd_judge; cfg, scale 3 for class_accuracy: none is best, or not told apart"
        " from it, in both. fd_judge ↓ is best at cfg_interval, scale 2 (1). class_accuracy ↑ is best at"
        " cfg, scale 3 (0.99). To choose among: cfg_interval, scale 2; cfg_interval, scale 3; cfg, scale 3,"
        " which no other passes in both.",
    ]
    assert [line[:16] for line in lines[2:5]] == ["Which guidance.s", "cfg: 2 for fd_ju", "cfg_interval: 2 "]


def test_the_answer_is_the_best_of_those_alike_whatever_the_order_of_the_table():
    """Distances whose intervals meet; the nearest has too few right to be among the best in both."""
    cells = [("cfg", 2.0, 0.998, 3.4), ("cfg_interval", 2.0, 0.996, 2.6), ("cfg_interval", 3.0, 0.9, 2.5)]
    for order in (cells, cells[::-1], [cells[1], cells[0], cells[2]]):
        names = [setting.label for setting in compared(order).settings]
        ranked = [names.index(f"{rule}, scale {scale:g}") for rule, scale, *_ in reversed(cells)]
        alike, sure = over_seeds([pair_of(0.1, 5.0)]), over_seeds([pair_of(0.1, 0.01)])
        found = {
            (place, less): {
                "fd_judge": alike,
                "class_accuracy": sure if ranked[0] in (place, less) else alike,
            }
            for place, less in permutations(range(3), 2)
        }
        comparison = compared(order, found=found)
        assert leaders(comparison, "fd_judge", [0, 1, 2]) == ranked
        lines, page = told(comparison)
        assert lines[1].startswith("cfg_interval, scale 2 (or cfg, scale 2): best, or not told apart")
        assert "<b>cfg_interval, scale 2</b> (or" in page


def test_where_all_lead_in_every_metric_none_is_named_as_the_one_to_take():
    (_, answer), page = told(one_rule(interval=3.0))
    assert answer.startswith("None is told apart; more samples or seeds would tell. fd_judge ↓ is best at 2")
    assert "<b>" not in page
    comparison = one_rule(interval=3.0)
    assert recommended(comparison, judging(comparison)) is None
    assert recommended(one_rule(interval=0.015), judging(comparison)) == 1


@pytest.mark.parametrize(("trainings", "word"), [(3, "is best here at 2 (2)"), (1, "is best at 2 (2)")])
def test_a_best_one_of_these_trainings_alone_is_best_here(trainings, word):
    """Its differences from the next are sure over samples, but three trainings scatter as much."""
    pairs = [pair_of(2.0 + 3 * (k - (trainings - 1) / 2), 0.1, str(k)) for k in range(trainings)]
    told_apart = {(2, 1): {"fd_judge": over_seeds(pairs)}}
    (_, answer), _ = told(one_rule(found=told_apart))
    assert f"fd_judge ↓ {word}" in answer


def test_a_best_one_that_holds_over_trainings_is_best():
    pairs = [pair_of(2.0 + k / 100, 0.1, str(k)) for k in range(3)]
    (_, answer), _ = told(one_rule(found={(2, 1): {"fd_judge": over_seeds(pairs)}}))
    assert "fd_judge ↓ is best at 2 (2)" in answer


def test_a_choice_whose_name_is_a_word_is_said_with_its_group():
    lines, _ = told(two_rules({1.0: (0.0, 0.1), 2.0: (-1.0, 0.1)}, names=("none", "cfg_interval")))
    assert "Is cfg_interval better than guidance=none?" in lines
    assert not any(re.search(r"(?<!=)\bnone,", line) for line in lines)


def test_questions_and_lines_beyond_the_first_few_are_counted():
    rules = ("cfg", "a", "b", "c", "d", "e", "f")
    cells = [(rule, scale, 0.9, 3.0 + scale) for rule in rules for scale in (1.0, 2.0)]
    found = {
        places: {"fd_judge": over_seeds([pair_of(-1.0, 0.1)])}
        for contrast in contrasts(compared(cells))
        for places in contrast.at.values()
    }
    lines, _ = told(compared(cells, found=found))
    assert sum(line.startswith("Is ") for line in lines) == 4
    assert lines[-1] == "And 2 more such questions, below."
    scales = lines.index("Which guidance.scale?")
    assert [line.partition(":")[0] for line in lines[scales + 1 : scales + 5]] == [*rules[:4]]
    assert lines[scales + 5] == "And 3 more, below."
    few, _ = told(compared(cells[:8], found={}))
    assert not any(line.startswith("And ") for line in few)


def test_nothing_is_said_where_it_is_not_known_what_is_better():
    comparison = one_rule(directions={"class_accuracy": None})
    assert judging(comparison) == []
    assert answers(comparison) == ""
