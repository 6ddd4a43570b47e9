"""Names and axes of plots."""

import re

import pytest
from run_folders import config_of, metrics_of

from condiff.reports.comparison import Comparison
from condiff.reports.comparison_plots import legend_height, metric_plots
from condiff.reports.comparison_trade_offs import trade_off_plots
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


def test_a_plot_is_as_high_as_its_rows_and_their_lines_take():
    def of(count):
        return next(plot for plot in metric_plots(varied(count)) if plot.name.startswith("fd_judge"))

    few, many = height(of(4)), height(of(30))
    assert many - few > 26 * 0.24 * 72 - 1
    assert few / 4 > 0.24 * 72


def test_a_legend_takes_the_room_of_its_rows():
    assert legend_height([""]) == legend_height(["steps 8", "steps 16", "steps 32"]) == 0
    assert legend_height(["a name of some thirty letters, so " + str(k) for k in range(10)]) > 1
