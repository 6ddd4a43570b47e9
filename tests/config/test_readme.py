"""Every command of the README is one that the config accepts."""

import re
import shlex

import pytest
from choices import CONF
from composed import told

COMMAND = re.compile(r"^(?:srun .*|torchrun .*)?python run\.py (.*)", re.MULTILINE)
NOT_THERE = "is no finished run: there is no such folder"  # RUN, SWEEP or FOLDER stands for one


def commands() -> list[list[str]]:
    text = (CONF.parent / "README.md").read_text(encoding="utf-8").replace("\\\n", " ")
    found = [shlex.split(words.partition(" || ")[0], comments=True) for words in COMMAND.findall(text)]
    return [words for words in found if "--help" not in words]


def test_there_are_commands():
    assert len(commands()) > 60
    assert all(any("=" in word for word in words) for words in commands())


@pytest.mark.slow
@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_a_command_of_the_readme_is_one_that_can_be_given(words):
    assert [line for line in told(*words) if NOT_THERE not in line] == []
