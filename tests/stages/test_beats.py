"""Who hangs is told from what ranks say of themselves, and who saves is given the time to end it."""

import logging
import time
from types import SimpleNamespace

import pytest

from condiff.interrupts import Interrupted
from condiff.stages import beats, ranks
from condiff.stages.beats import BEAT, OWN, PAUSE, SAVE, STEP, Beats
from condiff.stages.stage import Runtime

TIMEOUT, LONG = 120.0, 600.0


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr(beats, "time", SimpleNamespace(monotonic=lambda: now.seconds))
    return now


@pytest.fixture
def say(tmp_path):
    count = iter(range(1000))
    return lambda index, at: (tmp_path / f"{BEAT}{index}").write_text(f"{next(count)} {at}")


def silent_after(seconds, clock, found, running=(0, 1)):
    clock.seconds += seconds
    found.look()
    return found.silence(running)


@pytest.mark.parametrize(
    ("at", "most", "key"),
    [
        ((), LONG, "rank_pause"),  # libraries are being imported
        ((PAUSE, PAUSE), LONG, "rank_pause"),
        ((STEP, STEP), TIMEOUT, "rank_timeout"),
        ((SAVE, STEP), LONG, "rank_pause"),  # one saves, and the other waits for it
    ],
)
def test_all_hang_where_none_has_got_any_further(tmp_path, clock, say, at, most, key):
    found = Beats(tmp_path, 2, TIMEOUT, LONG)
    for index, word in enumerate(at):
        say(index, word)
    found.look()
    assert silent_after(most - 1, clock, found) is None
    silence = silent_after(2, clock, found)
    assert silence is not None
    assert (silence.who, silence.seconds, silence.key) == ("none of the 2 ranks has", most + 1, key)


def test_each_sign_of_life_gives_its_time_again(tmp_path, clock, say):
    found = Beats(tmp_path, 2, TIMEOUT, LONG)
    for _ in range(5):  # parts of a start
        say(1, PAUSE)
        found.look()
        assert silent_after(LONG - 1, clock, found) is None
    assert silent_after(2, clock, found) is not None


def test_one_that_hangs_in_its_own_share_is_found_while_the_others_go_on(tmp_path, clock, say):
    found = Beats(tmp_path, 2, TIMEOUT, LONG)
    say(1, OWN)
    found.look()
    silence = None
    for _ in range(13):
        assert silence is None
        say(0, OWN)
        silence = silent_after(10, clock, found)
    assert str(silence).startswith("rank 1 of 2 has not got any further for 130 s;")


@pytest.mark.parametrize("waits", [STEP, PAUSE])
def test_one_that_waits_for_the_others_does_not_hang(tmp_path, clock, say, waits):
    found = Beats(tmp_path, 2, TIMEOUT, LONG)
    say(1, waits)
    for _ in range(100):
        say(0, STEP)
        assert silent_after(10, clock, found) is None
    assert silent_after(LONG + 1, clock, found, running=()) is None  # all have ended


class Saving:
    """A process that is told to stop, and ends some seconds later."""

    def __init__(self, seconds):
        self.end = time.monotonic() + seconds

    def poll(self):
        return 143 if time.monotonic() > self.end else None

    def send_signal(self, signum):
        pass


@pytest.mark.parametrize(("at", "pause", "waits"), [(STEP, 9, False), (SAVE, 9, True), (SAVE, 0.3, False)])
def test_who_is_told_to_stop_is_waited_for_while_it_saves(
    tmp_path, monkeypatch, caplog, say, at, pause, waits
):
    monkeypatch.setattr(ranks, "GRACE", 0.1)
    monkeypatch.setattr(ranks, "PERIOD", 0.01)
    say(0, at)
    runtime = Runtime(rank_pause=pause)
    runtime.interrupts.pending = 15
    saving = Saving(0.8)
    with caplog.at_level(logging.WARNING), pytest.raises(Interrupted):
        ranks._Ranks([saving], "denoiser", runtime, tmp_path).follow()
    assert (saving.poll() == 143) == waits
    said = f"denoiser: rank 0 still saves, which may take runtime.rank_pause={pause} s; a second"
    assert [record.getMessage()[: len(said)] for record in caplog.records] == ([said] if at == SAVE else [])
