"""Which pictures are held out is drawn by their keys, also of what was drawn from before."""

from condiff.data.held_out import by_share, draw

KEYS = [f"digit-{number:05d}" for number in range(3000)]


def test_a_share_is_of_the_keys_with_small_draws_whatever_others_there_are():
    held = by_share(KEYS, 0.1)
    assert held == {key for key in KEYS if draw(key) < 0.1}
    assert 240 < len(held) < 360
    assert by_share(KEYS[:500], 0.1) == held & {*KEYS[:500]}


def test_of_the_rest_of_a_split_as_many_are_held_out_again():
    rest = [key for key in KEYS if draw(key) >= 0.1]
    again = by_share(rest, 0.1)
    assert len(again) == round(0.1 * len(rest))
    assert max(map(draw, again)) < min(draw(key) for key in rest if key not in again)
    few = rest[:20]  # of which chance may have left none
    assert by_share(few, 0.1) == {min(few, key=draw)}


def test_neither_side_is_empty_from_ten_keys_on():
    small = sorted(KEYS, key=draw)[:10]
    assert by_share(small, 0.9) == {*small} - {max(small, key=draw)}
    assert by_share(small[:9], 0.0) == set()
