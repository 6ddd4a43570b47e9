"""What the trainings of a study are called in its config; no torch."""

DIVIDED = ("denoiser", "weaker", "adapter")  # stages of whose networks devices may hold parts


def settings_of(stage: str) -> str:
    """Where in the config a training has its settings."""
    return "trainer" if stage == "denoiser" else f"{stage}.trainer"
