"""What every room stands on: errors for users, named registries, seeds, atomic files. Imports no torch."""
