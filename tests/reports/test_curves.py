import math
import re
import xml.etree.ElementTree as ET

import pytest

from condiff.reports.axes import linear_axis, log_axis, nice_step, short
from condiff.reports.curves import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Curve,
    Series,
    loss_curves,
    series_of,
    smooth,
    svg,
    thin,
)


def test_a_plot_for_each_stage_and_a_line_for_each_loss():
    rows = [
        {"stage": "autoencoder", "step": 1, "loss": 2.0, "kl_loss": 0.5, "lr": 1e-3},
        {"stage": "denoiser", "step": 1, "loss": 1.0, "seconds": 3.0},
        {"stage": "autoencoder", "step": 2, "loss": 1.5, "kl_loss": 0.7, "lr": 1e-3},
        {"stage": "judge", "step": 1, "accuracy": 0.5},
    ]
    first, second = loss_curves(rows)
    assert (first.title, second.title) == ("autoencoder", "denoiser")
    assert first.series == [
        Series("loss", [(1.0, 2.0), (2.0, 1.5)]),
        Series("kl_loss", [(1.0, 0.5), (2.0, 0.7)]),
    ]
    assert second.series == [Series("loss", [(1.0, 1.0)])]


def test_of_a_step_logged_twice_the_later_row_counts_and_steps_are_in_order():
    rows = [{"step": 2, "loss": 5.0}, {"step": 1, "loss": 4.0}, {"step": 2, "loss": 3.0}]
    assert series_of(rows, "loss").points == [(1.0, 4.0), (2.0, 3.0)]


@pytest.mark.parametrize("value", [math.nan, math.inf, None, "1.0", True])
def test_what_is_no_finite_number_is_left_out(value):
    assert series_of([{"step": 1, "loss": value}, {"step": 2, "loss": 1.0}], "loss").points == [(2.0, 1.0)]


def test_a_log_axis_is_for_positive_values_decades_apart():
    def axis_of(*values: float) -> bool:
        return loss_curves([{"step": k, "loss": v} for k, v in enumerate(values)])[0].log

    assert axis_of(100.0, 1.0)
    assert not axis_of(3.0, 1.0)
    assert not axis_of(100.0, 0.0)
    assert not axis_of(100.0, -1.0)


def test_smoothing_keeps_constants_and_straight_lines_inside():
    flat = [(float(k), 3.0) for k in range(30)]
    assert smooth(flat, 5) == flat
    line = [(float(k), 2.0 * k) for k in range(30)]
    assert [y for _, y in smooth(line, 5)[:25]] == pytest.approx([y for _, y in line[:25]])


def test_smoothing_calms_noise_around_its_mean():
    noisy = [(float(k), 1.0 + (-1) ** k) for k in range(100)]
    calm = [y for _, y in smooth(noisy, 10)[10:-10]]
    assert max(abs(y - 1) for y in calm) < 0.05


def test_thinning_keeps_the_extremes_the_order_and_the_bound():
    points = [(float(k), math.sin(k)) for k in range(10_000)]
    points[777] = (777.0, 50.0)
    kept = thin(points, 400)
    assert len(kept) <= 400
    assert kept == sorted(kept)
    assert (777.0, 50.0) in kept
    assert min(kept, key=lambda p: p[1]) == min(points, key=lambda p: p[1])
    assert set(kept) <= set(points)
    assert thin(points[:400], 400) == points[:400]


def drawn(curve: Curve) -> ET.Element:
    return ET.fromstring(svg(curve))


def lines_of(plot: ET.Element) -> list[list[tuple[float, float]]]:
    paths = [path.get("d", "") for path in plot.iter("path") if path.get("stroke-linejoin")]
    return [[tuple(map(float, pair.split())) for pair in path[1:].split("L")] for path in paths]


def test_points_stand_at_their_values():
    curve = Curve("c", "", [Series("loss", [(0.0, 0.0), (5.0, 2.0), (10.0, 1.0)])])
    (line,) = lines_of(drawn(curve))
    right, floor = WIDTH - RIGHT, HEIGHT - BOTTOM
    assert line == [(LEFT, floor), ((LEFT + right) / 2, TOP), (right, (TOP + floor) / 2)]


def test_on_a_log_axis_equal_ratios_are_equal_steps():
    curve = Curve("c", "", [Series("loss", [(0.0, 0.1), (1.0, 1.0), (2.0, 10.0)])], log=True)
    (line,) = lines_of(drawn(curve))
    assert [y for _, y in line] == [HEIGHT - BOTTOM, (TOP + HEIGHT - BOTTOM) / 2, TOP]
    labels = [text.text for text in drawn(curve).iter("text")]
    assert "loss (log)" in labels
    assert {"0.1", "1", "10"} <= set(labels)


def test_many_points_are_drawn_raw_and_smoothed_within_the_frame():
    points = [(float(k), 1.0 + (k * 37 % 11) / 10) for k in range(5_000)]
    raw, bold = lines_of(drawn(Curve("c", "", [Series("loss", points)])))
    for x, y in raw + bold:
        assert LEFT <= x <= WIDTH - RIGHT
        assert TOP <= y <= HEIGHT - BOTTOM

    def spread(line: list[tuple[float, float]]) -> float:
        inside = [y for _, y in line[20:-20]]
        return max(inside) - min(inside)

    assert spread(bold) < spread(raw) / 5


def test_series_differ_in_colour_and_are_named_when_there_are_several():
    points = [(0.0, 1.0), (1.0, 2.0)]
    many = [Series(f"a_rather_long_name_{k}", points) for k in range(5)]
    plot = drawn(Curve("c", "", many))
    assert {line.name for line in many} <= {text.text for text in plot.iter("text")}
    strokes = {path.get("style") for path in plot.iter("path") if path.get("stroke-linejoin")}
    assert len(strokes) == 5
    places = {
        (text.get("x"), text.get("y")) for text in plot.iter("text") if text.text in {s.name for s in many}
    }
    assert len(places) == 5
    assert len({y for _, y in places}) > 1
    assert float(plot.get("viewBox", "").split()[3]) > HEIGHT
    assert "one" not in {text.text for text in drawn(Curve("c", "", [Series("one", points)])).iter("text")}


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("points", [[], [(3.0, 7.0)], [(0.0, 0.0), (1.0, 0.0)], [(0.0, -1.0), (1.0, 1e9)]])
def test_any_curve_can_be_drawn(points, log):
    text = svg(Curve("c", "", [Series("loss", points)], log=log))
    ET.fromstring(text)
    assert not re.search(r"\b(nan|inf)\b", text)


def test_names_in_a_plot_are_escaped():
    series = [Series("<script>x</script>", [(0.0, 1.0)]), Series('"><i onload=x>', [(0.0, 1.0)])]
    plot = drawn(Curve('t" onload="x', "", series, y_label="<b>"))
    assert set(plot.attrib) == {"viewBox", "role", "aria-label", "font-size", "fill"}
    assert {node.tag for node in plot.iter()} == {"svg", "g", "path", "text", "circle"}


@pytest.mark.parametrize(
    ("raw", "nice"), [(0.9, 1), (1, 1), (1.1, 2), (2.1, 2.5), (3, 5), (7, 10), (0.03, 0.05), (210, 250)]
)
def test_steps_are_round(raw, nice):
    assert nice_step(raw) == pytest.approx(nice)


@pytest.mark.parametrize(
    "ends", [(0.0, 1.0), (-3.0, 8.5), (1e-7, 3e-7), (1e6, 1e6 + 1), (12.0, 12.0), (0.0, 0.0)]
)
def test_a_linear_axis_covers_its_values_with_few_round_ticks(ends):
    axis = linear_axis(ends, 0, 100)
    assert axis.low <= ends[0] <= ends[1] <= axis.high
    assert 3 <= len(axis.ticks) <= 9
    assert (axis.at(axis.low), axis.at(axis.high)) == (0, 100)


@pytest.mark.parametrize(
    "ends", [(0.9, 1.1), (1.0, 1.0), (0.02, 0.7), (1.0, 10.0), (1e-9, 1e12), (3e-4, 40.0)]
)
def test_a_log_axis_covers_its_values_with_few_ticks(ends):
    axis = log_axis(ends, 0, 100)
    assert axis.low <= ends[0] * (1 + 1e-9)
    assert ends[1] <= axis.high * (1 + 1e-9)
    assert 2 <= len(axis.ticks) <= 7
    assert len({short(tick) for tick in axis.ticks}) == len(axis.ticks)


def test_tick_labels_are_short():
    assert [short(v) for v in (0.0, 0.25, 1500, 2e6, 1e-5, 3 * 0.1)] == [
        "0",
        "0.25",
        "1.5k",
        "2M",
        "1e-05",
        "0.3",
    ]


def test_losses_by_noise_level_are_a_plot_of_their_own():
    rows = [{"stage": "denoiser", "step": 1, "loss": 1.0, "loss_noise_00_20": 2.0, "loss_noise_80_100": 0.5}]
    plain, by_noise = loss_curves(rows)
    assert [line.name for line in plain.series] == ["loss"]
    assert by_noise.title == "denoiser by noise"
    assert [line.name for line in by_noise.series] == ["0 to 20 % noise", "80 to 100 % noise"]
    assert [line.points for line in by_noise.series] == [[(1.0, 2.0)], [(1.0, 0.5)]]


def test_the_name_of_the_upright_axis_stands_left_of_its_longest_number():
    for values in ((0.0, 1.0), (0.2125, 0.2225), (-1.2e-7, 3e-8)):
        page = svg(Curve("a", "", [Series("iou", [(k, y) for k, y in enumerate(values)])], y_label="iou"))
        numbers = re.findall(r'<text x="([\d.]+)" y="[\d.]+" text-anchor="end"[^>]*>([^<]*)', page)
        assert len(numbers) >= 3
        assert all(float(x) - 7 * len(text) >= 18 for x, text in numbers)  # its name is 12 high around 14
