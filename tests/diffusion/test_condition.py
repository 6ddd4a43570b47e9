"""Laws of conditions: what is not asked for, mixing, joining and cutting."""

import pytest
import torch
from torch import Tensor

from condiff.diffusion.condition import FIELDS, Condition


def full(n: int = 3, offset: float = 0.0) -> Condition:
    """Every field set, its null zero."""

    def fields(fill: float) -> dict[str, Tensor]:
        base = torch.arange(n) * fill
        return {
            "label": base.long(),
            "tokens": base.view(-1, 1, 1).expand(-1, 4, 2),
            "token_mask": base.view(-1, 1).expand(-1, 4) > 1,
            "pooled": base.view(-1, 1).expand(-1, 2),
            "control": base.view(-1, 1, 1, 1).expand(-1, 1, 2, 2),
            "control_scale": base,
            "concat": base.view(-1, 1, 1, 1).expand(-1, 3, 2, 2),
            "pose": base.view(-1, 1).expand(-1, 4),
            "framing": base.view(-1, 1).expand(-1, 6),
        }

    return Condition(**fields(1.0 + offset), null=Condition(**fields(0.0)))


def same(a: Condition, b: Condition, names: tuple[str, ...] = FIELDS) -> bool:
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in names)


def test_every_field_is_under_test():
    assert set(FIELDS) == set(Condition.__dataclass_fields__) - {"null", "others"}
    assert all(getattr(full(), name) is not None for name in FIELDS)


@pytest.mark.parametrize("name", FIELDS)
def test_without_a_name_only_that_field_is_not_asked_for(name):
    cond = full()
    assert cond.null is not None
    dropped = cond.without(name)
    assert same(dropped, cond.null, (name,))
    assert same(dropped, cond, tuple(other for other in FIELDS if other != name))


def test_without_names_nothing_is_asked_for():
    cond = full()
    assert cond.null is not None
    assert same(cond.without(), cond.null)


def test_a_missing_null_is_told_in_a_sentence():
    with pytest.raises(ValueError, match=r"has no null.*condition dropout"):
        Condition(label=torch.zeros(2).long()).without()


def test_where_chooses_per_sample():
    cond = full()
    keep = torch.tensor([True, False, True])
    mixed = cond.where(keep, cond.without())
    assert same(mixed[keep], cond[keep])
    assert same(mixed[~keep], cond.without()[~keep])


def test_cat_joins_and_cuts_come_apart_again():
    a, b = full(3), full(2, offset=1.0)
    both = a.cat(b)
    assert same(both[:3], a)
    assert same(both[3:], b)


def test_nulls_go_along():
    a, b = full(3), full(2, offset=1.0)
    for cond, n in ((a.cat(b), 5), (a[torch.tensor([2, 0])], 2), (a.to("cpu"), 3), (a.without(), 3)):
        assert cond.null is not None
        assert cond.without().label.tolist() == [0] * n
    assert a.cat(Condition(**{name: getattr(b, name) for name in FIELDS})).null is None


def test_conditions_that_do_not_match_are_refused():
    with pytest.raises(ValueError, match=r"Condition.label is set in some"):
        full().cat(Condition())


def test_an_unconditional_study_has_empty_conditions():
    assert Condition().cat(Condition()) == Condition() == Condition()[:2]
