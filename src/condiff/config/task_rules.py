"""What tasks take from outside the study: pictures, runs, something to draw from."""

from collections.abc import Iterator

from condiff.config.nodes import Config, words
from condiff.config.origins import draws


def what_a_task_takes_is_given(cfg: Config) -> Iterator[str]:
    """What is measured, against what, and what is compared is asked of those tasks, and of nothing else."""
    stages = words(cfg.get("stages"))
    given_for = {
        "images": ["evaluation"],
        "reference": ["evaluation", "statistics"],
        "runs": ["comparison"],
        **({} if draws(cfg) else {"from": ["export"]}),
    }
    for key, tasks in given_for.items():
        is_asked, given = any(task in stages for task in tasks), cfg.get(key)
        if is_asked and given is None:
            yield f"{key}: is required; give {_GIVEN[key]}, {key}=..."
        elif given is not None and not is_asked and given != "???":
            yield f"{key}: has no effect here, only with {_TASKS[key]}; leave it out"
    if cfg.get("negative") is not None and not draws(cfg):
        yield (
            "negative: has no effect here, only with task=sample; leave it out, or use guidance.negative=..."
        )


_TASKS = {
    "images": "task=evaluate",
    "reference": "task=evaluate or statistics",
    "runs": "task=compare",
    "from": "task=sample or export",
}
_GIVEN = {
    "images": "a folder or an .npz",
    "reference": "a folder or an .npz",
    "runs": "run folders",
    "from": "a run folder",
}
