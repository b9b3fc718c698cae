"""How one run is trained: its configuration, loop, optimiser, schedule and checkpoints. Knows no method by name."""
