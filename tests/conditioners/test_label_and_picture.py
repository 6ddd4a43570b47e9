"""InstructPix2Pix' condition: what is dropped, how often, and together with what."""

import pytest
import torch

from condiff.conditioners.label_and_picture import LabelAndPicture

N = 60_000


def dropped(u, share):
    """Which samples lack their class, and which their picture."""
    conditioner = LabelAndPicture(num_classes=4, with_null=True)
    batch = {"label": torch.zeros(len(u)).long(), "source": torch.ones(len(u), 1, 2, 2)}
    kept, lacking = conditioner.dropped(batch, lambda _: u, share)
    found = kept.label == 4, (kept.concat == 0).flatten(1).all(1)
    assert torch.equal(lacking["label"], found[0])
    assert torch.equal(lacking["picture"], found[1])
    return found


def test_one_draw_drops_the_class_alone_both_and_the_picture_alone():
    no_class, no_picture = dropped(torch.tensor([0.0, 0.04, 0.05, 0.09, 0.1, 0.14, 0.15, 0.99]), 0.05)
    assert no_class.tolist() == [True, True, True, True, False, False, False, False]
    assert no_picture.tolist() == [False, False, True, True, True, True, False, False]


def test_each_share_is_the_one_asked_for_where_two_draws_would_give_its_square_for_both():
    u = torch.rand(N, generator=torch.Generator().manual_seed(0))
    no_class, no_picture = dropped(u, 0.05)
    shares = [no_class & ~no_picture, no_class & no_picture, ~no_class & no_picture]
    spread = 4 * (0.05 * 0.95 / N) ** 0.5
    for share in shares:
        assert float(share.float().mean()) == pytest.approx(0.05, abs=spread)


def test_the_picture_alone_is_what_text_and_image_measures_the_words_on_top_of():
    conditioner = LabelAndPicture(num_classes=4, with_null=True)
    cond = conditioner({"label": torch.tensor([1, 2]), "source": torch.ones(2, 3, 4, 4)})
    picture = cond.without("label")
    assert picture.label.tolist() == [4, 4]
    assert torch.equal(picture.concat, torch.ones(2, 3, 4, 4))
    assert torch.equal(cond.without().concat, torch.zeros(2, 3, 4, 4))
    assert conditioner.concat_channels(3) == 3
    assert conditioner.num_labels == 5


def test_without_dropout_there_is_no_null():
    conditioner = LabelAndPicture(num_classes=4, with_null=False)
    cond = conditioner({"label": torch.tensor([1]), "source": torch.ones(1, 3, 4, 4)})
    with pytest.raises(ValueError, match="no null"):
        cond.without("concat")
