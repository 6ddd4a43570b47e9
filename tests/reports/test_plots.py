"""Names and axes of plots."""

import re

import pytest
from run_folders import config_of, metrics_of

from condiff.reports.comparison import Comparison
from condiff.reports.comparison_maps import maps
from condiff.reports.comparison_plots import legend_height, lines_over, metric_plots, over_numbers
from condiff.reports.comparison_trade_offs import draw, trade_off_plots, trade_offs
from condiff.reports.plots import drawn, log_ticks, wrapped
from condiff.reports.runs import Run


def varied(count, distance=lambda k: 3.0 * 2**k, **sampler):
    """Runs that differ in three choices at once, no two of them in one alone."""
    runs = []
    for k in range(count):
        config = config_of(2.0, target=f"a_very_long_name_of_a_rule_{k}")
        config["network"] = {"_target_": f"a.Network{k}"}
        config["sampler"] = {"_target_": f"a.Sampler{k}", **sampler}
        runs.append(Run(config, metrics_of(0.9 - 0.01 * k, distance(k)), {}))
    return Comparison("varied", "", "", runs, {"class_accuracy": True, "fd_judge": False})


def texts(svg):
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def height(plot):
    return float(re.findall(r'<svg[^>]* height="([\d.]+)pt"', plot.svg)[0])


def test_a_name_goes_on_below_at_a_space_and_only_a_long_word_after_an_underscore():
    assert wrapped("study_dit, cfg_interval, heun", 16) == "study_dit,\ncfg_interval,\nheun"
    assert wrapped("adaptive_projected_guidance", 12) == "adaptive_\nprojected_\nguidance"
    assert wrapped("short", 12) == "short"
    assert wrapped("  ", 12) == ""
    assert all(len(line) <= 8 for line in wrapped("x" * 30, 8).split("\n"))


@pytest.mark.parametrize("place", [0, 40, 79])
def test_names_that_are_too_long_still_differ_where_they_begin_and_end(place):
    name = list("abcdefgh" * 10)
    other = [*name]
    other[place] = "X"
    one, two = wrapped("".join(name), 20), wrapped("".join(other), 20)
    assert (one != two) == (place != 40)
    assert len(one) < 66
    assert "…" in one


@pytest.mark.parametrize(("values", "ticks"), [((2.2, 120), "2 5 10 20 50 100 200"), ((1e-4, 9), "1e-4")])
def test_a_logarithmic_axis_has_plain_numbers(values, ticks):
    def draw(axes):
        axes.plot(values, values)
        axes.set_xscale("log")
        log_ticks(axes.xaxis, values)
        axes.set_yticks([])

    found = texts(drawn("plot", "", "", draw, {}).svg)
    assert not [text for text in found if "$" in text or "^" in text]
    assert found == (ticks.split() if ticks != "1e-4" else ["0.0001", "0.001", "0.01", "0.1", "1", "10"])


def test_distances_over_decades_are_on_a_logarithmic_axis():
    (one,) = trade_off_plots(varied(6))
    assert {"5", "10", "20", "50"} <= {*texts(one.svg)}
    (near,) = trade_off_plots(varied(6, lambda k: 3.0 + k))
    assert {"4", "6", "8"} <= {*texts(near.svg)}


@pytest.mark.slow
def test_a_plot_is_as_high_as_its_rows_and_their_lines_take():
    def of(count):
        return next(plot for plot in metric_plots(varied(count)) if plot.name.startswith("fd_judge"))

    few, many = height(of(4)), height(of(30))
    assert many - few > 26 * 0.24 * 72 - 1
    assert few / 4 > 0.24 * 72


def test_a_legend_takes_the_room_of_its_rows():
    assert legend_height([""]) == legend_height(["steps 8", "steps 16", "steps 32"]) == 0
    assert legend_height(["a name of some thirty letters, so " + str(k) for k in range(10)]) > 1


def ruled():
    """Two rules at three scales and of two seeds, of which one is always right at the highest scale."""
    runs = []
    for rule in ("cfg", "cfg_interval"):
        for scale, accuracy in ((1.0, 0.9), (2.0, 0.97), (3.0, 0.98)):
            for seed in (0, 1):
                config = config_of(scale, seed, target=rule)
                right = accuracy + seed * (1 - accuracy) * (scale == 3.0)
                numbers = metrics_of(right, 3 + scale + (rule == "cfg") / 9)
                runs.append(Run(config, numbers, {}, (f"guidance={rule}",)))
    return Comparison("ruled", "", "", runs, {"class_accuracy": True, "fd_judge": False})


def test_bars_over_seeds_end_at_the_lowest_and_the_highest_run():
    """Mean and deviation of 0.98 and 1 would end at 1.004, and no accuracy is above 1."""
    comparison, seen = ruled(), {}
    (one,) = trade_offs(comparison)
    lines, _ = lines_over(comparison, "guidance.scale", "class_accuracy")

    def kept(axes, name):
        seen[name] = [
            [float(value) for value in line.get_ydata()]
            for line in axes.lines
            if "bar" in str(line.get_gid())
        ]

    drawn("a", "", "", lambda axes: (draw(comparison, one, axes), kept(axes, "front")), {})
    over = lambda axes: over_numbers(comparison, "guidance.scale", "class_accuracy", lines, axes)  # noqa: E731
    drawn("b", "", "", lambda axes: (over(axes), kept(axes, "over")), {})
    for bars in seen.values():
        assert max(end for bar in bars for end in bar) == 1.0
        assert [0.98, 1.0] in bars
    (plot,) = trade_off_plots(comparison)
    assert "from the lowest to the highest of the runs" in plot.caption


def test_names_on_a_front_of_several_lines_are_the_values_alone():
    (plot,) = trade_off_plots(ruled())
    found = texts(plot.svg)
    assert found.count("scale 3") == 2
    assert not [text for text in found if "cfg" in text and "scale" in text]
    assert {"cfg", "cfg_interval"} <= {*found}


def crossed(*pairs):
    """Runs of two numbers, with the first over the second as their accuracy."""
    runs = [
        Run(config_of(scale, steps=steps), metrics_of(scale / steps, steps), {}) for scale, steps in pairs
    ]
    return Comparison("crossed", "", "", runs, {"class_accuracy": True, "fd_judge": False})


def test_two_numbers_that_were_varied_with_each_other_make_a_map_of_each_metric():
    pairs = [(scale, steps) for scale in (1.0, 3.0, 2.0) for steps in (8, 4)]
    accuracy, distance = maps(crossed(*pairs))
    assert distance.title == "fd_judge ↓ over guidance.scale and sampler.steps"
    columns, rows = ["1", "2", "3"], ["4", "8"]
    shares = ["0.25", "0.125", "0.5", "0.25", "0.75", "0.375"]
    assert [text for text in texts(accuracy.svg) if not text.islower()] == [*columns, *rows, *shares]
    fills = re.findall(r'<g id="mark:s(\d):mean">\s*<path[^>]*opacity: ([\d.]+)', distance.svg)
    assert [float(opacity) for _, opacity in fills] == [0.75, 0] * 3  # four steps are better than eight


def test_what_was_not_run_in_full_or_differs_in_more_makes_no_map():
    pairs = [(1.0, 4), (1.0, 8), (2.0, 4)]
    assert not maps(crossed(*pairs))
    assert not maps(crossed(*pairs[:2]))
    assert not maps(varied(4))
