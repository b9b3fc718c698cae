"""A record that the repository ships, beside those of a user's own runs."""

from functools import cached_property

from run_store.records import AccuracyRecord, settings_text

VERSIONS = ("torch", "timm")  # named in captions


class ShippedRecord(AccuracyRecord, frozen=True, kw_only=True, tag="accuracy"):
    """A record of the repository beside others, marked in tables; its `precision` is that of the table."""

    trained_in: str  # precision of its training
    submission: str = ""  # name of the submission that it is of; empty: the suite's own

    @property
    def label(self) -> str:
        """In brackets after the method: shipped, or the submission, with its precision if that is not the table's."""
        if not self.submission:
            return "shipped"
        return self.submission if self.trained_in == self.precision else f"{self.submission}, {self.trained_in}"

    @property
    def origin(self) -> str:
        """Device, precision and versions of its training."""
        versions = [f"{name} {self.versions[name]}" for name in VERSIONS if name in self.versions]
        return f"{self.device} ({', '.join([self.trained_in, *versions])})"

    @cached_property
    def hparams_text(self) -> str:
        """With the submission, whose runs are a row of their own."""
        return settings_text(self.hparams) + self.submission
