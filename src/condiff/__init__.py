"""condiff: experiments in conditional diffusion, from raw data to a report."""

__version__ = "0.1.0"
