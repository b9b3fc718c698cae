"""From what the user asks to runs on disk: planning, executing and storing the grid of methods and benchmarks."""
