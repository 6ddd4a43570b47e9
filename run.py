"""Run a study: python run.py experiment=cfg_latent guidance.scale=2"""

import os
import sys
from pathlib import Path
from typing import Any, cast

# Before torch is imported: an idle OpenMP thread spins for a moment and then sleeps. Spinning on, beside a
# busy neighbour, costs a factor of several; sleeping at once costs half the speed of a quiet machine.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # exceptions come back here, and are told in one line

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from condiff.config.build import build
from condiff.config.compose import check, register
from condiff.config.validate import validate
from condiff.interrupts import Interrupted, Interrupts
from condiff.reports.tables import palette_for, sweep_table
from condiff.stages.driver import (
    can_be_measured,
    command_line,
    failed,
    fits,
    rehearse_if_new,
    run_study,
)
from condiff.stages.ranks import check_devices
from condiff.stages.study import STAGES

CONF = Path(__file__).parent / "conf"
INTERRUPTS = Interrupts()
SWEEP_FAILED = 9
register()
finished: list[tuple[list[str], dict[str, float]]] = []
failures: list[tuple[str, Exception]] = []


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(composed: DictConfig) -> None:
    folder = Path(HydraConfig.get().runtime.output_dir)
    overrides = list(HydraConfig.get().overrides.task)
    try:
        cfg = validate(cast(dict[str, Any], OmegaConf.to_container(composed, resolve=True)))
        finished.append((overrides, run_study(cfg, folder, INTERRUPTS, overrides)))
    except Exception as error:  # told at the end; a job of a sweep that fails does not stop the others
        failures.append((", ".join(overrides), error))


def preflight() -> None:
    """Find every mistake in configs and data before anything is made."""
    checked = []
    for cfg in check(sys.argv[1:], CONF, [stage.name for stage in STAGES]) or []:
        check_devices(cfg["runtime"])
        info = None
        if "data" in cfg["stages"]:
            source = build(cfg["data"], "data")
            source.check(Path(cfg["runtime"]["cache"]) / "fingerprints")
            info = source.info()
            fits(cfg, info)
        checked.append((cfg, info))
    built: set[str] = set()
    for cfg, info in checked:
        can_be_measured(cfg, built)
        if info is not None:
            rehearse_if_new(cfg, info)


def told(error: BaseException, whose: str = "") -> int:
    """The exit code of what went wrong, after saying it."""
    if "runtime.debug=true" in sys.argv and not isinstance(error, Interrupted):
        raise error
    code, lines = failed(error)
    print(*filter(None, [whose, lines]), sep="\n", file=sys.stderr)
    return code


if __name__ == "__main__":
    INTERRUPTS.install()
    # argparse takes values only before or only after its flags: -m may stand anywhere.
    sys.argv[1:] = sorted(sys.argv[1:], key=lambda word: word not in ("-m", "--multirun"))
    try:
        preflight()
        main()
        sweep = bool({"-m", "--multirun"} & {*sys.argv})
        if len(finished) > 1:
            print(f"\n{sweep_table(finished, palette_for(sys.stdout))}", flush=True)
        codes = [told(error, f"job {job}:" if sweep else "") for job, error in failures]
        sys.exit(0 if not codes else SWEEP_FAILED if sweep else codes[0])
    except Interrupted as stop:
        print(f"\nstopped by {stop}; go on with: {command_line(sys.argv)}", file=sys.stderr)
        sys.exit(stop.exit_code)
    except BrokenPipeError:  # whoever read the output has seen enough
        sys.stdout = None
    except Exception as error:
        sys.exit(told(error))
