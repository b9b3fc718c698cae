"""Opens a benchmark with index files as a run does, for tests."""

from data.benchmark import BENCHMARKS


def opened(root, name="folderlt", profile=None, needs=None):
    """Its images, the lists of its first split, and the object."""
    benchmark = BENCHMARKS[name]()
    images = benchmark.load(root, needs)
    return images, benchmark.lists(images.train_labels, benchmark.profile(profile), 1), benchmark
