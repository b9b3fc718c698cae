"""The model card of an exported backbone: a README with the YAML header of the Hugging Face Hub."""

from collections.abc import Sequence
from dataclasses import dataclass

from reports import captions
from reports.tables.table import Cell, Column, Table
from reports.tables.text import markdown_escaped, markdown_text
from run_store.records import Record, accuracies, geometries

TERMS = "Uses that the licences of the images named below exclude: this card grants no licence to derived weights."


@dataclass(frozen=True)
class Model:
    """Texts of the card about the exported model."""

    name: str  # of the method
    paper: str
    method: str  # registry name, used as a tag
    benchmark: str  # title
    backbone: str
    width: int  # of the features
    parameters: int
    shown: str  # input size and normalisation, a clause
    library: str  # that builds the network from `config.json`: timm or pytorch
    labels: bool  # whether training used the true labels (an ablation)
    code: str  # Python that loads `model.safetensors` as `model` and makes the evaluation transform `transform`
    loading: str  # other ways to load it
    config: str  # the run's configuration, JSON
    passport: str  # of the data, as `Passport.text`


def model_card(model: Model, records: Sequence[Record]) -> str:
    """The card in Markdown. Raises ValueError without a record of the run."""
    if not records:
        raise ValueError("a model card needs at least one record")
    run = records[0]
    scale = captions.scale(run)
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
        *(f"**Warning: {markdown_escaped(warning)}.**" for warning in run.warnings),
        _summary(model, run),
        "## Loading",
        f"```python\n{model.code}\n```",
        model.loading,
        "## Results",
        *(markdown_text(table).strip() for table in _tables(records)),
        "## Out-of-scope use",
        "\n".join(f"- {line}" for line in _out_of_scope(run)),
        "## Data",
        f"```text\n{captions.data([run])}\n\n{model.passport}\n```",
        "## Configuration",
        f"Run {run.run_id}; the id is the hash of this configuration.",
        f"```json\n{model.config}\n```",
        "Trained and probed with " + ", ".join(f"{name} {version}" for name, version in run.versions.items()) + ".",
    ]
    return "\n\n".join(parts) + "\n"


def _summary(model: Model, run: Record) -> str:
    how = "with the true labels (an ablation)" if model.labels else "without labels"
    sentences = [
        f"A frozen feature extractor: {model.backbone} without a classifier, {model.parameters:,} parameters, from images "
        f"{model.shown} to {model.width} features.",
        f"Pretrained {how} by {model.name} ({model.paper}) on split {run.split} of {captions.subject(run)}, in one run.",
        captions.training(run),
    ]
    if run.pool:
        sentences.append(f"Additional out-of-distribution images: {run.pool}.")
    if run.precision == "bf16":
        sentences.append("Probes used features under bfloat16 autocast; float32 features differ slightly.")
    return " ".join(sentences)


def _tables(records: Sequence[Record]) -> list[Table]:
    """Accuracies with one row per probe, and the geometry of the features if recorded."""
    tables, accuracy_records, geometry_records = [], accuracies(records), geometries(records)
    r = records[0]
    caption = (
        f"One run (n = 1): split {r.split}{'' if r.official_split else ' (not official)'}, seed {r.seed}. {captions.scale(r)}"
    )
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
                *map(Cell, (x.probe, x.many, x.medium, x.few, x.mean, x.group_std, x.n_train, x.n_val, x.n_test)),
                *map(Cell, (1, 1, 1)),
            ]
            for x in accuracy_records
        ]
        protocols = " ".join(f"{record.probe}: {record.protocol}." for record in accuracy_records)
        details = f"{captions.groups(r)} Std: over these groups (ddof 0). {protocols}"
        tables.append(Table("accuracy", f"{captions.subject(r)}, test accuracy in per cent", caption, details, columns, rows))
    if geometry_records:
        columns = [Column("Measure", "measure"), *(Column(name, name, decimals=3) for name in ("all", "many", "medium", "few"))]
        rows = [
            [Cell(name.replace("_", " ")), *(Cell(getattr(geometry_records[0], name)[column.key]) for column in columns[1:])]
            for name in ("alignment", "uniformity", "effective_rank")
        ]
        details = f"{geometry_records[0].n_test} test images. {geometry_records[0].protocol}."
        tables.append(Table("geometry", "Geometry of the test features", caption, details, columns, rows))
    return tables


def _out_of_scope(r: Record) -> list[str]:
    least, most = min(r.class_counts), max(r.class_counts)
    lines = [
        "Decisions about people or about single images: the model was trained to compare methods.",
        f"Use without regard to rare classes: the training set has {most} images of the largest class and {least} of the "
        "smallest; see the column Few.",
        "Choosing between methods: this needs several splits and seeds, the card is of one run.",
        "Model selection on the test images of this benchmark: the table above uses them.",
        TERMS,
    ]
    if r.preset in captions.SCALES:
        lines.insert(0, f"Comparison with published numbers: the run has the {captions.SCALES[r.preset]} preset {r.preset}.")
    return lines
