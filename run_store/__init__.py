"""What a run folder contains: names of its files, states, configuration, records, log, arrays, and how they are read."""
