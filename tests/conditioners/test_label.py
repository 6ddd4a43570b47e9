import pytest
import torch

from condiff.conditioners.label import ClassLabel


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
