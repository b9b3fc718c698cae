"""Run records to tables. Sees records only, never a model."""
