"""What the report says of a training beside its curves."""

from condiff.stages.notes import notes


def test_a_watched_hint_is_told_as_of_the_training_whatever_is_drawn_of_it():
    ends = {"iou_real": 1.0, "iou_shuffled": 0.2}
    rows = [{"stage": "adapter", "step": step, "iou": iou, **ends} for step, iou in ((0, 0.2), (5, 0.9))]
    (line,) = notes(rows, {})
    assert line.startswith("While the adapter trained, at scale 1: condition obeyed since step 5: iou 0.90")
    assert line.endswith(".")


def test_measured_rates_of_dropout_are_told_as_means_over_all_steps():
    text, both = {"dropped_text": 0.2}, {"dropped_text": 0.05, "dropped_label": 0.1}
    rows = [{"stage": "denoiser", "step": 100, **text}, {"stage": "denoiser", "step": 150, **both}]
    rows += [{"stage": "denoiser", "step": 150, "fd": 3.0}, {"stage": "adapter", "step": 4, **text}]
    rows += [{"stage": "autoencoder", "step": 4, "loss": 0.2}]
    assert notes(rows, {}) == [
        "Dropped while denoiser was trained, measured: text of 15.0%, label of 10.0% of the samples.",
        "Dropped while adapter was trained, measured: text of 20.0% of the samples.",
    ]
