"""Where images come from: published archives, packages, folders; fetched and verified."""
