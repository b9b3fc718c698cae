"""Run records to tables. Reads records only, no models."""
