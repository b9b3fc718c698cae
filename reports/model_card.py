"""The model card of an exported backbone: a README with the YAML header that Hugging Face's hub reads."""

from collections.abc import Sequence
from dataclasses import dataclass

from reports import captions
from reports.tables.formats import Column, Entry, Table, markdown_text
from run_store.records import Record, accuracies, geometries

TERMS = "Uses that the owners of the images named below do not allow: this card gives no licence to what is made of them."


@dataclass(frozen=True)
class Model:
    """What is exported, in the words of the card."""

    name: str  # of the method
    paper: str
    method: str  # registered name, as a tag
    benchmark: str  # title
    backbone: str
    width: int  # of the features
    parameters: int
    shown: str  # how images are shown to it, a clause
    library: str  # that can build the network by its `config.json`: timm, or pytorch
    labels: bool  # whether an ablation showed it the true classes
    code: str  # Python that loads `model.safetensors` as `model`
    loading: str  # what else can load it, and what cannot
    config: str  # the run's configuration, JSON
    passport: str  # of the data, as `Passport.text`


def model_card(model: Model, records: Sequence[Record]) -> str:
    """The whole card, Markdown. Raises ValueError where there is no record of the run to tell of."""
    if not records:
        raise ValueError("a card needs a record")
    run = records[0]
    scale = captions.scale(run).strip()
    tags = [model.library, "image-feature-extraction", "self-supervised-learning", "long-tailed", model.method, run.dataset]
    parts = [
        "\n".join(
            [
                "---",
                f"library_name: {model.library}",
                "pipeline_tag: image-feature-extraction",
                "tags:",
                *(f"- {tag}" for tag in dict.fromkeys(tags)),
                "---",
            ]
        ),
        f"# {model.name} on {model.benchmark}, {model.backbone}",
        *([f"**{scale}**"] if scale else []),
        _summary(model, run),
        "## Loading",
        f"```python\n{model.code}\n```",
        model.loading,
        "## Results",
        *(markdown_text(table).strip() for table in _tables(records)),
        "## Not for",
        "\n".join(f"- {line}" for line in _limits(run)),
        "## Data",
        f"```text\n{run.data}\n\n{model.passport}\n```",
        "## Configuration",
        f"Run {run.run_id}; the id is the hash of this configuration.",
        f"```json\n{model.config}\n```",
        "Trained and probed with " + ", ".join(f"{name} {version}" for name, version in run.versions.items()) + ".",
    ]
    return "\n\n".join(parts) + "\n"


def _summary(model: Model, run: Record) -> str:
    how = "with the true classes, for an ablation," if model.labels else "without labels"
    sentences = [
        f"A frozen feature extractor: {model.backbone} without a classifier, {model.parameters:,} parameters, from images "
        f"{model.shown} to {model.width} features.",
        f"Pretrained {how} by {model.name} ({model.paper}) on split {run.split} of {captions.subject(run)}, in one run.",
        captions.training(run),
    ]
    if run.pool:
        sentences.append(f"Images from elsewhere: {run.pool}.")
    if run.precision == "bf16":
        sentences.append("The probes saw its features under bfloat16 autocast; in float32 they differ a little.")
    return " ".join(sentences)


def _tables(records: Sequence[Record]) -> list[Table]:
    """A table of the accuracies, one row a probe, and one of the features' geometry, where there is one."""
    tables, accuracy_records, shapes = [], accuracies(records), geometries(records)
    r = records[0]
    of_run = f"One run (n = 1), so no spread: split {r.split}{'' if r.official_split else ' of this suite'}, seed {r.seed}."
    scale = captions.scale(r)
    if accuracy_records:
        heads = (
            "Probe",
            "Many",
            "Medium",
            "Few",
            "All",
            "Std",
            "Labelled images",
            "Validation images",
            "Test images",
            "Splits",
        )
        columns = [*(Column(head, head.lower()) for head in heads), Column("Seeds", "seeds"), Column("n", "n")]
        rows = [
            [
                *map(Entry, (x.probe, x.many, x.medium, x.few, x.mean, x.group_std, x.n_train, x.n_val, x.n_test)),
                *map(Entry, (1, 1, 1)),
            ]
            for x in accuracy_records
        ]
        protocols = " ".join(f"{record.probe}: {record.protocol}." for record in accuracy_records)
        notes = f"{of_run} {captions.groups(r)} Std: over these groups (ddof 0).{scale} {protocols}"
        tables.append(Table("accuracy", f"{captions.subject(r)}, test accuracy in per cent", notes, columns, rows))
    if shapes:
        columns = [Column("Measure", "measure"), *(Column(name, name, decimals=3) for name in ("all", "many", "medium", "few"))]
        rows = [
            [Entry(name.replace("_", " ")), *(Entry(getattr(shapes[0], name)[column.key]) for column in columns[1:])]
            for name in ("alignment", "uniformity", "effective_rank")
        ]
        notes = f"{of_run} {shapes[0].n_test} test images.{scale} {shapes[0].protocol}."
        tables.append(Table("geometry", "Geometry of the test images' features", notes, columns, rows))
    return tables


def _limits(r: Record) -> list[str]:
    least, most = min(r.class_counts), max(r.class_counts)
    lines = [
        "Decisions about people, or anything that rests on telling a single image apart: it was made to compare methods.",
        f"Rare classes taken for granted: its set has {most} images of the largest class and {least} of the smallest, and the "
        "column Few tells what became of these.",
        "A choice between methods: that takes several splits and seeds, and this is one run.",
        "A choice by the test images of this benchmark: the table above has looked at them.",
        TERMS,
    ]
    if r.preset in captions.SCALES:
        lines.insert(0, f"Comparison with published numbers: this is a {captions.SCALES[r.preset]} run of preset {r.preset}.")
    return lines
