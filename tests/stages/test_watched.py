"""What the page of a run shows of what was measured while something trained."""

from condiff.stages.report import watched_curves


def test_the_ceiling_and_the_floor_of_a_fidelity_are_lines_beside_it_and_no_plots():
    names = ("iou", "iou_real", "iou_shuffled", "iou_use", "fd")
    rows = [
        {"stage": "adapter", "step": step, **dict(zip(names, (iou, 1.0, 0.2, iou - 0.2, 9.0), strict=True))}
        for step, iou in ((0, 0.2), (5, 0.9))
    ]
    iou, fd = watched_curves(rows, dict.fromkeys(names, 0))
    assert [(line.name, line.points) for line in iou.series] == [
        ("iou", [(0, 0.2), (5, 0.9)]),
        ("real pictures", [(0, 1.0), (5, 1.0)]),
        ("hints of others", [(0, 0.2), (5, 0.2)]),
    ]
    assert [line.name for line in fd.series] == ["fd"]


def test_a_metric_of_another_name_keeps_its_plot():
    rows = [{"stage": "denoiser", "step": 1, "source": 0.5, "source_use": 0.1}]
    assert [plot.title for plot in watched_curves(rows, {"source": 0, "source_use": 0})] == [
        "source",
        "source_use",
    ]
