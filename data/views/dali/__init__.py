"""What needs DALI to be installed. A package of its own, as registries import every module of `data/` itself."""
