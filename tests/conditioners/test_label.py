import pytest
import torch

from condiff.conditioners.label import ClassLabel
from condiff.conditioners.unconditional import Unconditional


def test_the_null_is_one_class_more():
    conditioner = ClassLabel(num_classes=10, with_null=True)
    cond = conditioner({"label": torch.tensor([0, 9])})
    assert cond.without().label.tolist() == [10, 10]
    assert conditioner.num_labels == 11


def test_without_dropout_there_is_neither_a_null_nor_a_row_for_it():
    conditioner = ClassLabel(num_classes=10, with_null=False)
    assert conditioner.num_labels == 10
    with pytest.raises(ValueError, match="null"):
        conditioner({"label": torch.tensor([0, 9])}).without()


def test_a_denoiser_that_is_told_nothing_has_no_row_and_no_null_and_samples_keep_their_class():
    conditioner = Unconditional(num_classes=10, with_null=True)
    cond = conditioner({"label": torch.tensor([0, 9])})
    assert (conditioner.num_labels, conditioner.most_dropped) == (0, 0.0)
    assert cond.label.tolist() == [0, 9]
    with pytest.raises(ValueError, match="null"):
        cond.without()
