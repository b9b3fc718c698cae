"""What stands below tables: which data, which runs, at what scale, by which protocol. All a reader needs to place a number."""

from collections.abc import Collection, Mapping, Sequence

from reports.comparable import apart_by
from reports.tables.states import RunState
from run_store.records import AccuracyRecord, Record

SCALES = {"cpu": "CPU-scale", "cpu-long": "CPU-scale", "smoke": "smoke-scale"}  # presets whose numbers are not the papers'
LEADING = "ridge"  # the probe whose table comes first: it draws nothing at random and chooses one number
PROBE_TITLES = {"ridge": "linear (ridge)", "ridge-1pct": "linear (ridge), 1 %"}  # of probes whose name does not say it
NAMED = 5  # missing runs of a row that are named; the CSV has all


def subject(r: Record, key: str = "") -> str:
    """Benchmark and profile; and the split, where the `key` of `comparable` has one making of it alone."""
    apart = apart_by(key) if key else ""
    return f"{r.dataset} (profile {r.profile})" + (f", split {r.split} made as [{apart}]" if apart else "")


def scale(r: Record) -> str:
    """A warning where the numbers are not to be set beside published ones, or are of untrained networks; else empty."""
    return small_scale(r.preset) + (" Untrained networks." if r.epochs == 0 else "")


def small_scale(preset: str) -> str:
    """The warning that goes with a preset alone; empty where there is none."""
    return f" {SCALES[preset]} numbers, not comparable with published ones." if preset in SCALES else ""


def setting(r: Record) -> str:
    """Data, preset, network and scale of the runs: one line that all their probes share."""
    return f"Data: {r.data}. {training(r)}"


def training(r: Record, images: str | None = None) -> str:
    """How the runs were trained, for runs on several sets of data too: `images` then says on what."""
    if r.epochs is None:
        return f"Weights from elsewhere: {r.backbone}; how they were trained is not on record. {r.precision}."
    sizes = ", ".join(map(str, r.recipe["sizes"]))
    schedule = " linear" if r.recipe.get("schedule") == "linear" else ""
    optimizer = f"{r.recipe['optimizer']} lr {r.recipe['lr']:g}{schedule} decay {r.recipe['weight_decay']:g}"
    source = f" of {r.recipe['pretrained_on']}, not the data probed here" if "pretrained_on" in r.recipe else ""
    return (
        f"Preset {r.preset}: {r.backbone}, {r.epochs} epochs of {images or f'{r.n_pretrain} images'}{source}, batch "
        f"{r.batch_size}, {optimizer}, {r.executor} views of {sizes} px, {r.precision}.{scale(r)}"
    )


def probe_title(name: str) -> str:
    """What tables call a probe."""
    return PROBE_TITLES.get(name, name)


def probe(records: Sequence[AccuracyRecord]) -> str:
    """The protocol and how many images it saw."""
    r = records[0]
    n_val = f", {r.n_val} validation" if r.n_val else ""
    draws = max(len(record.draw_means) for record in records)
    drawn = f", mean of {draws} draws of the labelled images" if draws > 1 else ""
    return f"{r.protocol}; {r.n_train} training{n_val}, {r.n_test} test images{drawn}."


def groups(r: Record) -> str:
    """The rule of the groups, and their sizes."""
    sizes = "/".join(map(str, r.group_sizes))
    empty = " A group without classes is empty." if 0 in r.group_sizes else ""
    return f"Many/medium/few: {r.grouping} ({sizes} classes).{empty}"


def runs(records: Sequence[Record]) -> str:
    """Over how many splits and seeds a mean is, which they are, and which pictures were left out."""
    passports = sorted({(f.split, f.official_split, f.passport) for f in records})
    splits = ", ".join(f"{split}{'' if official else ' of this suite'} [{name}]" for split, official, name in passports)
    seeds = sorted({f.seed for f in records})
    left_out = max(f.unreadable for f in records)
    unreadable = f" Up to {left_out} pictures could not be read and were left out of training." if left_out else ""
    return (
        f"Mean ± sample standard deviation over n runs ({_number(len({f.split for f in records}), 'split')}: {splits}; "
        f"{_number(len(seeds), 'seed')}: {', '.join(map(str, seeds))}); none for n = 1. "
        f"In brackets: the splits' passports.{unreadable}"
    )


def missing(rows: Mapping[str, tuple[int, Sequence[RunState]]]) -> str:
    """Which runs are missing, by the title of their row; rows give their number of runs. Empty if none is."""
    lines = [
        f"{title}: {present} of {_number(present + len(states), 'run')}: {', '.join(state.words for state in states[:NAMED])}"
        + (f" and {len(states) - NAMED} more." if len(states) > NAMED else ".")
        for title, (present, states) in rows.items()
        if states
    ]
    return f"† Not all runs are there. {' '.join(lines)}" if lines else ""


def span(numbers: Collection[int], what: str) -> str:
    """Between which numbers some lie."""
    least, most = min(numbers), max(numbers)
    return _number(most, what) if least == most else f"{least} to {most} {what}s"


def _number(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"
