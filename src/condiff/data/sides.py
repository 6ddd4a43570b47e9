"""The sets of pictures that a file of samples may hold, and the names of their tensors in it; no torch."""

OF_CLASS = ("class", "class_of_base")  # of a subject's class, adapted and by the base
SIDES = {
    "samples": "image",
    "sources": "source",
    "targets": "target",
    "controls": "control",
    **{name: name for name in OF_CLASS},
}
