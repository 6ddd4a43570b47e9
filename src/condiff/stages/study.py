"""A study: which stages it has, which of them are done, and why the others are not."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from condiff.errors import ArtifactError, ConfigError
from condiff.files import digest
from condiff.stages.cache import Cache, clean, verified
from condiff.stages.difference import difference
from condiff.stages.environment import environment
from condiff.stages.known import STAGES
from condiff.stages.stage import CHECKPOINTS, LOG, PICTURES, STEPS, Artifact, Config, Runtime, Stage, key

log = logging.getLogger(__name__)
_UNREAD = "train-"  # shards of training pictures, which a run that takes what is there does not open
COSTLY = 600.0  # seconds; what took longer is not made again without being asked


@dataclass
class Step:
    """A stage of a study with its place in the cache."""

    stage: Stage
    key: str
    status: str  # "cached", "run" or "resumed"
    why: str
    identity: dict[str, Any]
    code: str
    seconds: float = 0.0
    artifact: Artifact | None = None
    is_given: bool = False  # another run's artifact, taken as it is


def chosen(names: Sequence[str]) -> list[Stage]:
    """The stages of a study in their order; ConfigError where one needs another that is not there."""
    stages = [stage for stage in STAGES if stage.name in names]
    mistakes = [
        f"stages: {stage.name} needs {need}, which this study does not have"
        for stage in stages
        for need in stage.needs
        if need not in names
    ]
    if mistakes:
        raise ConfigError(*mistakes)
    return stages


def plan(
    cfg: Config, cache: Cache, stale: str = "ask", given: Mapping[str, Artifact] | None = None
) -> list[Step]:
    """What each stage would do now. ``stale``: what to do with a costly artifact of other code.

    A stage whose artifact is ``given`` does nothing, whatever the config and the code would make now.
    """
    steps: list[Step] = []
    recipes: dict[str, str] = {}
    keys: dict[str, str] = {}
    for stage in chosen(cfg["stages"]):
        if given and stage.name in given:
            step, recipes[stage.name] = _taken(stage, given[stage.name])
            steps.append(step)
            keys[stage.name] = step.key
            continue
        identity = stage.identity(cfg, stage.inputs(recipes), stage.outside(cfg, cache.root))
        recipe, code = digest(identity), stage.code(cfg)
        step = Step(stage, key(recipe, code, stage.inputs(keys)), "run", "", identity, code)
        _settle(step, recipe, cache, stale)
        steps.append(step)
        recipes[stage.name], keys[stage.name] = recipe, step.key
    return steps


def run(
    steps: Sequence[Step],
    cfg: Config,
    cache: Cache,
    runtime: Runtime,
    done: dict[str, Artifact] | None = None,
) -> dict[str, Artifact]:
    """The artifact of every step, made where it is not there yet; ``done`` has those made so far."""
    done = {} if done is None else done
    for step in steps:
        start = time.monotonic()
        if not _found(step, cache):
            _make(step, cfg, step.stage.inputs(done), cache, runtime)
        step.seconds = time.monotonic() - start
        assert step.artifact is not None
        done[step.stage.name] = step.artifact
    return done


def _found(step: Step, cache: Cache) -> bool:
    """Take the artifact if it is there; one that the plan did not see was made by another job since."""
    if step.is_given:
        assert step.artifact is not None
        verified(step.artifact.path, but=_UNREAD)
        return True
    step.artifact = cache.find(step.stage.name, step.key, log.warning)
    if step.artifact is not None and step.status != "cached":
        step.status, step.why = "cached", "made by another job"
    return step.artifact is not None


def _make(step: Step, cfg: Config, inputs: dict[str, Artifact], cache: Cache, runtime: Runtime) -> None:
    name = step.stage.name
    with cache.lock(name, step.key, log.warning):
        if _found(step, cache):
            return
        with runtime.failures.watched(name, step.key):
            _work(step, cfg, inputs, cache, runtime)


def _work(step: Step, cfg: Config, inputs: dict[str, Artifact], cache: Cache, runtime: Runtime) -> None:
    name, work = step.stage.name, cache.work(step.stage.name, step.key)
    step.status = "resumed" if any((work / CHECKPOINTS).glob("step=*.safetensors")) else "run"
    clean(work, keep=(CHECKPOINTS, LOG, PICTURES, STEPS))
    start = time.monotonic()
    step.stage.run(cfg, inputs, runtime, work)
    clean_up = work / CHECKPOINTS
    for file in clean_up.glob("*"):
        file.unlink()
    if clean_up.exists():
        clean_up.rmdir()
    step.artifact = cache.publish(name, step.key, _manifest(step, inputs, time.monotonic() - start))


def _manifest(step: Step, inputs: Mapping[str, Artifact], seconds: float) -> dict[str, Any]:
    return {
        "stage": step.stage.name,
        "key": step.key,
        "recipe": digest(step.identity),
        **step.identity,
        "code": step.code,
        "artifacts": {name: artifact.key for name, artifact in inputs.items()},
        "seconds": round(seconds, 3),
        **environment(),
    }


def _taken(stage: Stage, artifact: Artifact) -> tuple[Step, str]:
    """The step of an artifact that is there already, and its recipe."""
    manifest = artifact.manifest
    identity = {part: manifest.get(part) for part in ("stage", "config", "inputs", "source")}
    step = Step(stage, artifact.key, "cached", "", identity, str(manifest.get("code")), is_given=True)
    step.artifact = artifact
    return step, str(manifest.get("recipe") or digest(identity))


def _settle(step: Step, recipe: str, cache: Cache, stale: str) -> None:
    """Decide what the step will do, and say why."""
    name = step.stage.name
    if cache.folder(name, step.key).is_dir():
        step.status = "cached"
        return
    if any((cache.work(name, step.key) / CHECKPOINTS).glob("step=*.safetensors")):
        step.status, step.why = "resumed", "after an interruption"
        return
    others = list(cache.manifests(name))
    older = [(other, manifest) for other, manifest in others if manifest.get("recipe") == recipe]
    if older:
        _settle_stale(step, *older[-1], stale)
    else:
        step.why = difference(step.identity, [manifest for _, manifest in others])


def _settle_stale(step: Step, other: str, manifest: Mapping[str, Any], stale: str) -> None:
    same_code = manifest["code"] == step.code
    why = "an earlier stage's code has changed" if same_code else "its code has changed"
    if stale == "reuse":
        step.key, step.status, step.why = other, "cached", f"reused although {why}"
    elif manifest["seconds"] >= COSTLY and stale != "remake":
        raise ArtifactError(
            f"{step.stage.name}: {why} since {other} was made in {manifest['seconds'] / 60:.0f} min; "
            "give runtime.stale=reuse to use it, runtime.stale=remake to make it again"
        )
    else:
        step.why = f"{why} since {other}"
