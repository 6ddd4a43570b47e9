"""What a sweep remembers of the stages that failed in it."""

import os
import signal
from contextlib import contextmanager
from multiprocessing import get_context

import pytest

from condiff.errors import DivergedError
from condiff.interrupts import Interrupted
from condiff.stages.failures import Failures, SharedFailure


def die(folder, job):
    """A job that is killed in the stage."""
    with Failures(folder, job).watched("denoiser", "abc"):
        os.kill(os.getpid(), signal.SIGKILL)


def killed(folder, job):
    process = get_context("spawn").Process(target=die, args=(folder, job))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


@contextmanager
def made(folder, job, stage="denoiser"):
    with Failures(folder, job).watched(stage, "abc"):
        yield


def test_a_stage_that_failed_is_not_begun_again_and_says_why(tmp_path):
    with pytest.raises(DivergedError), made(tmp_path, "0"):
        raise DivergedError("denoiser: the gradient at step 7 is nan")
    with pytest.raises(SharedFailure) as told, made(tmp_path, "1"):
        pytest.fail("it was begun again")
    assert told.value.exit_code == 5
    assert told.value.lines == (
        "denoiser: failed in job 0 and is not tried again; denoiser: the gradient at step 7 is nan",
    )


def test_one_killed_job_stops_no_other_and_the_second_fails_the_stage(tmp_path):
    killed(tmp_path, "0")
    killed(tmp_path, "1")
    with (
        pytest.raises(SharedFailure, match="jobs 0 and 1 were killed") as told,
        made(tmp_path, "2"),
    ):
        pytest.fail("it was begun again")
    assert told.value.exit_code == 137
    with made(tmp_path, "2", "judge"):
        pass


def test_a_job_that_is_told_to_stop_or_ends_well_is_no_death(tmp_path):
    killed(tmp_path, "0")
    for job in ("1", "2", "3"):
        with pytest.raises(Interrupted), made(tmp_path, job):
            raise Interrupted(signal.SIGTERM)
    with made(tmp_path, "4"):
        pass
