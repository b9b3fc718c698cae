"""Images and how they are seen: benchmarks and their index lists, the view spec and its executors, batches."""
