"""Pictures of any source, each with a hint that is made of it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from condiff.data.detectors import Detector
from condiff.data.source import DataInfo, Example, Source, Split
from condiff.errors import DataError
from condiff.files import digest
from condiff.ranges import checked


class Hinted(Source):
    """What ``pictures`` gives, with what ``detector`` finds in each picture as it is fitted to its size."""

    @checked
    def __init__(self, pictures: Source, detector: Detector) -> None:
        self.pictures, self.detector = pictures, detector

    def check(self, memo_dir: Path | None = None) -> None:
        self.pictures.check(memo_dir)
        try:
            self.detector.check()
        except ValueError as error:
            raise DataError(f"data.detector: {type(self.detector).__name__} {error}") from error

    def fingerprint(self, memo_dir: Path | None = None) -> str:
        return digest(
            [self.pictures.fingerprint(memo_dir), type(self.detector).__name__, vars(self.detector)]
        )

    def info(self) -> DataInfo:
        info = self.pictures.info()
        what = type(self.detector).__name__.lower()
        return replace(
            info, control=self.detector.channels(info.channels), source=f"{info.source}, and their {what}"
        )

    def examples(self, split: Split) -> Iterator[Example]:
        for example in self.pictures.examples(split):
            yield replace(example, control=self.detector(example))

    def notices(self) -> dict[str, str]:
        return self.pictures.notices()
