"""Small changes to large networks: low-rank adapters, and the files that hold them."""
