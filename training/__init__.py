"""Training of one run: configuration, loop, optimiser, schedule and checkpoints, independent of the method."""
