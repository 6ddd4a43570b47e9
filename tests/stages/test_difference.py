"""Why something is made: what differs from the artifact that is nearest, where one is near."""

from condiff.stages.difference import NEVER, difference


def identity(inputs=None, **config):
    return {"config": {"data": config}, "inputs": inputs or {}, "source": None}


DIGITS = identity(_target_="Mnist", size=32, held_out=500)


def test_the_nearest_one_is_compared_with():
    wanted = identity(_target_="Mnist", size=64, held_out=500)
    others = [identity(_target_="Mnist", size=16, held_out=2), DIGITS]
    assert difference(wanted, others) == "data.size=64 (cached: 32)"
    assert difference(
        identity({"data": "new"}, _target_="Mnist"), [identity({"data": "old"}, _target_="Mnist")]
    ) == ("new data")


def test_of_what_has_little_in_common_nothing_is_told():
    assert difference(identity(_target_="Shapes", num_train=9000, size=32, spread=0.25), [DIGITS]) == NEVER
    assert difference(DIGITS, []) == NEVER
