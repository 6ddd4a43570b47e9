"""How far ranks are, as each says in a file of its own, and which of them has said nothing for too long."""

import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

BEAT = "beat"  # of each rank: a count, and at what it is
# A step, which none ends without the others; a step of its own share; and what has no steps.
STEP, OWN, PAUSE, SAVE = "step", "own", "pause", "save"


@dataclass(frozen=True)
class Silence:
    """A rank, or all of them, that is taken to hang."""

    who: str
    seconds: float
    key: str  # of ``runtime``: the time that they had

    def __str__(self) -> str:
        slower = "slower steps" if self.key == "rank_timeout" else "a slower start, save or measurement"
        return (
            f"{self.who} got any further for {self.seconds:.3g} s; run.log says where they stood, the same"
            f" command goes on from the last checkpoint, and a longer one allows for {slower}"
        )


class Beats:
    """Of ``count`` ranks; ``timeout`` and ``pause`` are seconds, for a step and where there are no steps.

    In training none takes a step alone, so all are silent where one hangs. Who draws or measures its share
    waits for nobody, and hangs where it is silent itself, whatever the others do.
    """

    def __init__(self, folder: Path, count: int, timeout: float, pause: float) -> None:
        self.paths = [folder / f"{BEAT}{index}" for index in range(count)]
        self.timeout, self.pause = timeout, pause
        self.said, self.since = [""] * count, [time.monotonic()] * count

    def look(self) -> None:
        for index, path in enumerate(self.paths):
            said = path.read_text(encoding="utf-8") if path.is_file() else ""
            if said != self.said[index]:
                self.said[index], self.since[index] = said, time.monotonic()

    def saving(self, running: Collection[int]) -> list[int]:
        return [index for index in running if self._at(index) == SAVE]

    def silence(self, running: Collection[int]) -> Silence | None:
        now, count = time.monotonic(), len(self.paths)
        for index in running:
            seconds = now - self.since[index]
            if self._at(index) == OWN and seconds > self.timeout:
                return Silence(f"rank {index} of {count} has not", seconds, "rank_timeout")
        in_steps, seconds = all(self._at(index) in (STEP, OWN) for index in running), now - max(self.since)
        most, key = (self.timeout, "rank_timeout") if in_steps else (self.pause, "rank_pause")
        if not running or seconds <= most:
            return None
        return Silence(f"none of the {count} ranks has", seconds, key)

    def _at(self, index: int) -> str:
        return self.said[index].partition(" ")[2] or PAUSE  # what has begun imports its libraries
