"""Multi-process training: process groups, collectives and synchronised batch norm."""
