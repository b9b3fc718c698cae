"""Run folders: file names, states, configuration, records, log and arrays, and how they are read and written."""
