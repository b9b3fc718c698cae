"""Grids of runs: options, plan, time estimate, execution by one or several processes."""
