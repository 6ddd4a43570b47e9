"""Run a study: python run.py experiment=cfg_latent guidance.scale=2"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Before torch is imported: an idle OpenMP thread spins for a moment and then sleeps. Spinning on, beside a
# busy neighbour, costs a factor of several; sleeping at once costs half the speed of a quiet machine.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # exceptions come back here, and are told in one line

import hydra
from omegaconf import DictConfig

from condiff.config.build import build
from condiff.config.compose import Command, read_command
from condiff.config.origins import draws, takes
from condiff.data.source import DataInfo, Source
from condiff.errors import told
from condiff.files import digest
from condiff.interrupts import Interrupted, Interrupts
from condiff.stages.driver import can_be_measured, command_line, fits, rehearse_if_new, run_study
from condiff.stages.finished_adapters import adapters_are_there
from condiff.stages.given import weights_are_there
from condiff.stages.launched import launched, with_all_devices
from condiff.stages.loggers.choose import chosen_loggers
from condiff.stages.ranks import check_devices
from condiff.stages.readable import captions_can_be_read
from condiff.stages.study import STAGES
from condiff.stages.taken import base_fits, data_of_base, refuse_drawing
from condiff.sweeps.searching import refuse_search
from condiff.sweeps.sweep import launcher_of, run_sweep

CONF = Path(__file__).parent / "conf"
INTERRUPTS = Interrupts()
# Parts of a config on which no rehearsal of its sampling depends.
NOT_REHEARSED = ("name", "question", "seed", "num_samples", "checkpoint", "metrics", "runtime", "logger")
LookedAt = dict[str, tuple[Source, DataInfo]]


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def show(_: DictConfig) -> None:
    """What Hydra prints and does not run: --help, --cfg and the like."""


def main() -> int:
    launch = launched()
    if launch is None:
        return command_given(sys.argv[1:])
    if launch.rank:
        return launch.follow(INTERRUPTS)
    return launch.lead(lambda: command_given(with_all_devices(sys.argv[1:], launch)))


def command_given(words: list[str]) -> int:
    """What was asked for."""
    command = read_command(words, CONF, [stage.name for stage in STAGES])
    if command is None:
        show()
        return 0
    preflight(command)
    if command.is_sweep:
        return run_sweep(command, sys.argv[0], INTERRUPTS)
    (run,) = command.runs
    run_study(run.cfg, Path(command.folder).absolute(), INTERRUPTS, run.overrides, command_line(sys.argv))
    return 0


def preflight(command: Command) -> None:
    """Find what is wrong with the data, and what cannot be measured or drawn, before anything is made."""
    launcher_of(command).check()
    if command.search is not None:
        refuse_search(command.search, command.runs)
    checked = []
    looked_at: LookedAt = {}
    for cfg in [run.cfg for run in command.runs]:
        if draws(cfg):
            refuse_drawing(cfg)
        else:
            weights_are_there(cfg)
        adapters_are_there(cfg)
        chosen_loggers(cfg["logger"])  # none of them begins, but one may not be installed
        if not str(command.launcher.get("_target_")).endswith((".Slurm", ".Ray")):  # jobs run elsewhere
            check_devices(cfg["runtime"])
        is_made = "data" in cfg["stages"] and not takes(cfg)
        source, info = data_of(cfg, looked_at) if is_made else (None, None)
        if source is not None and info is not None:
            fits(cfg, info)
            captions_can_be_read(cfg, source)
            base = data_of_base(cfg)
            if base is not None:
                base_fits(cfg, info, base)
            if "base_data" in cfg["stages"]:
                base_fits(cfg, info, data_of(cfg, looked_at, "base_data")[1])
        checked.append((cfg, info))
    built: set[str] = set()
    rehearsed: set[str] = set()
    for cfg, info in checked:
        can_be_measured(cfg, built)
        way = digest({key: part for key, part in cfg.items() if key not in NOT_REHEARSED})
        if way not in rehearsed:
            rehearse_if_new(cfg, info)
            rehearsed.add(way)


def data_of(cfg: Mapping[str, Any], looked_at: LookedAt, place: str = "data") -> tuple[Source, DataInfo]:
    """A run's data and what is known of them, checked the first time where runs share them."""
    key = digest([cfg[place], cfg["runtime"]["cache"]])
    if key not in looked_at:
        source = build(cfg[place], place)
        source.check(Path(cfg["runtime"]["cache"]) / "fingerprints")
        looked_at[key] = source, source.info()
    return looked_at[key]


if __name__ == "__main__":
    INTERRUPTS.install()
    # argparse takes values only before or only after its flags: -m may stand anywhere.
    sys.argv[1:] = sorted(sys.argv[1:], key=lambda word: word not in ("-m", "--multirun"))
    try:
        sys.exit(main())
    except Interrupted as stop:
        print(f"\nstopped by {stop}; go on with: {command_line(sys.argv)}", file=sys.stderr)
        sys.exit(stop.exit_code)
    except BrokenPipeError:  # whoever read the output has seen enough
        sys.stdout = None
    except Exception as error:
        if "runtime.debug=true" in sys.argv:
            raise
        code, lines = told(error)
        print(lines, file=sys.stderr)
        sys.exit(code)
