"""What a sampler asks of the process that it walks through; no torch."""

from collections.abc import Iterator

from condiff.config.nodes import Config, argument, at, attribute, class_of


def sampler_has_no_more_steps_than_the_process(cfg: Config) -> Iterator[str]:
    steps, total = argument(at(cfg, "sampler"), "steps"), argument(at(cfg, "process"), "num_steps")
    if type(steps) is int and type(total) is int and steps > total:
        yield f"sampler.steps: must be at most process.num_steps={total}, got {steps}"


def grid_fits_the_process(cfg: Config) -> Iterator[str]:
    grid, process = at(cfg, "sampler", "grid"), at(cfg, "process")
    if attribute(grid, "needs_chain") and "_target_" in process and argument(process, "num_steps") is None:
        yield (
            f"sampler.grid: {class_of(grid)} needs a process of discrete steps, and process is"
            f" {class_of(process)}; use process=linear, cosine_ddpm or scaled_linear, or the grid UniformTime"
        )
