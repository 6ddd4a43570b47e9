"""What the parts of a fidelity add to its name."""

REAL = "_real"  # what the pictures reach that hints are of, the ceiling
SHUFFLED = "_shuffled"  # what these reach with the hints of others, the floor
USE = "_use"  # by how much samples are better with their own hints than with those of others
PARTS = (REAL, SHUFFLED, USE)
