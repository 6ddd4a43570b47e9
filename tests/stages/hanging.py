"""Digits whose reading never ends from some step on; a worker that reads them imports little else."""

import time

from condiff.data.dataset import ShardDataset

STEPS = 3  # that are taken before; the batch of a step is asked for before the step before it is taken


class Hanging(ShardDataset):
    def __getitems__(self, rows):
        if rows[0][0] > STEPS:
            time.sleep(600)
        return super().__getitems__(rows)
