"""Sentences of captions: data, training, protocol, groups, runs, and the scale label."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from core.words import counted, listed
from data.variants import with_variants
from reports.comparable import split_passport
from reports.shipped_record import ShippedRecord
from reports.tables.states import RunState
from run_store.records import AccuracyRecord, Record

SCALES = {"cpu": "CPU-scale", "cpu-long": "CPU-scale", "smoke": "smoke-scale"}  # presets smaller than the papers' settings
MAIN_PROBE = "ridge"  # its table comes first: it has no randomness and one hyper-parameter
PROBE_TITLES = {"ridge": "linear (ridge)", "ridge-1pct": "linear (ridge), 1 %"}
PROBE_FILES = {"ridge": "linear-probe", "ridge-1pct": "linear-probe-1pct"}
RECONSTRUCTED = {"tase": "TASE-R is a reconstruction, not the authors' method."}  # by method
TRUE_LABELS = "[true labels]: an ablation that uses the labels of the training images."
MAX_NAMED = 5  # missing runs named per row; the CSV has all


def subject(record: Record, key: str = "") -> str:
    """Benchmark and variant; also split and passport if the `key` of `comparable_groups` is of one passport only."""
    passport = split_passport(key) if key else ""
    return f"{record.dataset} (variant {record.variant})" + (f", split {record.split} [{passport}]" if passport else "")


def scale(record: Record) -> str:
    """Label of runs below the papers' scale or of untrained networks; else empty."""
    return f"{scale_label(record.preset)} {'Untrained networks.' if record.epochs == 0 else ''}".strip()


def without(text: str, sentences: str) -> str:
    """A text without some of its sentences, for outputs that print these as a label, or lack what they describe."""
    return " ".join(text.replace(sentences, "").split())


def epochs(number: int | str | None) -> str:
    """Number of epochs as printed; empty if it is unknown or not one number."""
    return f"{number} epochs" if isinstance(number, int) else ""


def scale_label(preset: str) -> str:
    """Label of a preset below the papers' scale; else empty."""
    if preset not in SCALES:
        return ""
    name = SCALES[preset]
    return f"{name[0].upper()}{name[1:]} numbers, not comparable with published ones."


def caption(records: Sequence[Record], *sentences: str, mean: str = "Mean ± std", included: Sequence[Record] = ()) -> str:
    """A short caption: number of runs, splits and seeds, the given sentences, and the scale label.

    Args:
        records: of the table.
        sentences: empty ones are left out.
        mean: what the numbers are.
        included: those of the runs that the numbers are over; empty: all.
    """
    return with_notes(" ".join(filter(None, [f"{mean} over n runs ({over(included or records)}).", *sentences])), records)


def over(records: Sequence[Record]) -> str:
    """Splits and seeds: `splits 1-5; seed 0`."""
    numbers = {name: {getattr(record, name) for record in records} for name in ("split", "seed")}
    return "; ".join(f"{name}{'s' * (len(found) > 1)} {number_list(found)}" for name, found in numbers.items())


def between_splits(records: Sequence[Record]) -> str:
    """What a standard deviation over several splits includes; empty for one split."""
    return "± includes the differences between splits." if len({record.split for record in records}) > 1 else ""


def with_notes(text: str, records: Sequence[Record]) -> str:
    """Text followed by the sentences of `notes` and `scale`."""
    return " ".join(filter(None, [text, notes(records), scale(records[0])]))


def notes(records: Sequence[Record]) -> str:
    """Sentences on methods that are not those of their papers, on runs that used the true labels, and on shipped runs."""
    found = [method_notes(records)]
    if labels := sorted({f"[{record.label}]" for record in records if isinstance(record, ShippedRecord)}):
        found.append(f"{', '.join(labels)}: results in the repository.")
    return " ".join(filter(None, found))


def method_notes(records: Iterable[Record]) -> str:
    """Sentences on methods that are not those of their papers, and on runs that used the true labels."""
    records = list(records)
    found = [RECONSTRUCTED[method] for method in sorted({record.method for record in records} & RECONSTRUCTED.keys())]
    return " ".join([*found, *([TRUE_LABELS] if any(record.true_labels for record in records) else [])])


def origins(records: Sequence[Record]) -> str:
    """Device, precision and versions of shipped runs, a sentence for each label; empty without shipped runs."""
    found: dict[str, set[str]] = {}
    for record in records:
        if isinstance(record, ShippedRecord):
            found.setdefault(record.label, set()).add(record.origin)
    return " ".join(f"[{label}]: trained on {'; '.join(sorted(found[label]))}." for label in sorted(found))


def with_origins(text: str, records: Sequence[Record]) -> str:
    """Text followed by the sentences of `origins`."""
    return f"{text} {origins(records)}".strip()


def setting(record: Record) -> str:
    """Data and training: equal for all probes of the same runs."""
    return f"Data: {data([record])}. {training(record)}"


def data(records: Collection[Record]) -> str:
    """The distinct data of records."""
    return "; ".join(sorted({with_variants(record.data) for record in records}))


def training(record: Record, images: str | None = None) -> str:
    """Preset, network, epochs, images, batch size, optimiser, views and precision.

    Args:
        record: of any of the runs.
        images: describes the pretraining images of runs on several sets; default: their number.
    """
    if record.epochs is None:
        return f"External weights: {record.backbone}, training settings unknown, {record.precision}."
    recipe = record.recipe
    sizes = ", ".join(map(str, recipe["sizes"]))  # type: ignore[arg-type]
    schedule = " linear" if recipe.get("schedule") == "linear" else ""
    parts = f" in {recipe['accumulate']} parts" if recipe.get("accumulate", 1) != 1 else ""
    optimizer = f"{recipe['optimizer']} lr {recipe['lr']:g}{schedule} decay {recipe['weight_decay']:g}"
    source = f" of {origin}, which is not the probed data set" if (origin := pretrained_on(record)) else ""
    return (
        f"Preset {record.preset}: {record.backbone}, {record.epochs} epochs of "
        f"{images or f'{record.n_pretrain} images'}{source}, batch {record.batch_size}{parts}, {optimizer}, "
        f"{record.executor} views of {sizes} px, {record.precision}."
    )


def pretrained_on(record: Record) -> str:
    """The data set of the pretraining set, if it is not the probed one; else empty."""
    return with_variants(str(record.recipe.get("pretrained_on", "")))


def probe_title(name: str) -> str:
    """Name of a probe as printed."""
    return PROBE_TITLES.get(name, name)


def probe_file(name: str) -> str:
    """Name of a probe in file names."""
    return PROBE_FILES.get(name, f"{name}-probe")


def protocol(records: Sequence[AccuracyRecord]) -> str:
    """Protocol of the probe, numbers of images, and number of draws of the labelled images."""
    first = records[0]
    n_val = f", {first.n_val} validation" if first.n_val else ""
    draws = max(len(record.draw_means) for record in records)
    mean_of = f", mean of {draws} draws of the labelled images" if draws > 1 else ""
    return f"{first.protocol}; {first.n_train} training{n_val}, {first.n_test} test images{mean_of}."


def groups(record: Record) -> str:
    """Definition and sizes of the many, medium and few groups."""
    sizes = "/".join(map(str, record.group_sizes))
    empty = " A group without classes is empty." if 0 in record.group_sizes else ""
    return f"Many/medium/few: {record.grouping} ({sizes} classes).{empty}"


def runs(records: Sequence[Record]) -> str:
    """Definition of the standard deviation, splits with their passports, seeds, unreadable images, and `origins`."""
    splits = sorted({(r.split, r.official_split, r.passport) for r in records})
    listed = ", ".join(f"{split}{'' if official else ' (not official)'} [{passport}]" for split, official, passport in splits)
    unreadable = max(r.unreadable for r in records)
    left_out = f" Up to {unreadable} unreadable images were left out of training." if unreadable else ""
    return with_origins(
        f"Sample standard deviation over runs, none for n = 1. {counted(len({r.split for r in records}), 'split')} [passport]: "
        f"{listed}; {counted(len({r.seed for r in records}), 'seed')}: {number_list({r.seed for r in records})}.{left_out}",
        records,
    )


def missing_runs(rows: Mapping[str, tuple[int, Sequence[RunState]]]) -> str:
    """The missing runs of each row; empty if there is none.

    Args:
        rows: number of finished runs and the missing ones, by method title.
    """
    lines = [
        f"{title}: {present} of {counted(present + len(states), 'run')}: "
        + f"{listed((state.summary for state in states), MAX_NAMED)}."
        for title, (present, states) in rows.items()
        if states
    ]
    return f"† Runs are missing. {' '.join(lines)}" if lines else ""


def number_list(numbers: Collection[int]) -> str:
    """Sorted numbers, three or more consecutive ones as a range: `1-5, 7`."""
    ranges: list[list[int]] = []
    for number in sorted(set(numbers)):
        if ranges and number == ranges[-1][-1] + 1:
            ranges[-1].append(number)
        else:
            ranges.append([number])
    return ", ".join(f"{r[0]}-{r[-1]}" if len(r) > 2 else ", ".join(map(str, r)) for r in ranges)


def value_range(numbers: Collection[int], noun: str = "") -> str:
    """`3 to 5 runs`, or `3 runs` if all are equal."""
    low, high = min(numbers), max(numbers)
    if low == high:
        return counted(low, noun) if noun else str(low)
    return f"{low} to {counted(high, noun) if noun else high}"
