"""Figures: which records give which figures, reproducible bytes, hostile text."""

import dataclasses
import json
import logging
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from matplotlib.container import ErrorbarContainer
from msgspec.structs import replace
from PIL import Image
from scipy import stats

from core.files import write_atomic
from reports.comparable import method_name
from reports.figures import write_figures
from reports.figures.accuracy import class_accuracy, group_accuracy
from reports.figures.curves import fewshot_curve, imbalance_curve, imbalance_settings
from reports.figures.setting import MethodOrder, mean_and_std, probe_settings, run_settings
from reports.figures.style import figure_style, line_style
from reports.figures.temperature import quantity_by_epoch
from reports.figures.training import tail_curves, training_curves
from reports.tables.significance import difference
from run_store.history import LOG, read_history
from run_store.records import CurvePoint
from tests.reports.made import made_geometry, made_grid, made_record
from tests.reports.test_imbalance import balanced

EPOCHS = 6
HOSTILE = "_a$b$ \\frac{1}{0} <svg onload=x> & {%} \n\t\x1b[31m 日本 \U0001f600 \udcff" + "long " * 40
KINDS = {"training", "tail", "sampling", "temperature-epochs", "groups", "classes", "fewshot", "geometry"}


def _log(epoch, **more):
    line = {"epoch": epoch, "loss": 5 / epoch, "lr": 0.1, "images_per_second": 900.0, "tail": {"auroc": 0.5 + epoch / 20}}
    return json.dumps(line | more)


def _history(tmp_path, record, *lines):
    """The log of a record's run, of a few epochs unless lines are given."""
    folder = tmp_path / f"{record.dataset}-{record.run_id.replace('-', '_')}"
    folder.mkdir(exist_ok=True)
    (folder / LOG).write_text("\n".join(lines or [_log(epoch) for epoch in range(1, EPOCHS + 1)]))
    return dataclasses.replace(read_history(folder), run_id=record.run_id)


def _kinds(drawn):
    return {one.name.removeprefix("cifar10lt-exp-4500-45-cpu-").rpartition("-")[0] for one in drawn}


def _everything(tmp_path):
    """Records and logs from which most kinds of figures follow, of two methods with two runs each."""
    curve = [CurvePoint(shots=shots, mean=30.0 + shots, sd=1.0, many=40.0, few=20.0) for shots in (1, 5, 1000)]
    records = list(made_grid(["colt", "tase"], splits=2, seeds=1, probes=["knn"]))
    records += [
        made_record(name, split=split, probe="fewshot-curve", curve=curve) for name in ("colt", "tase") for split in (1, 2)
    ]
    sampling = {"images": [10, 20], "few": [0.5, 0.0], "sampled": [7, 3], "tailness": [0.7, -0.7]}
    lines = {
        "colt": lambda epoch: _log(epoch, sampling=sampling),
        "tase": lambda epoch: _log(epoch, temperature={"many": 0.2 + epoch / 50, "medium": 0.2, "few": 0.2 - epoch / 50}),
    }
    histories = [
        _history(tmp_path, record, *(lines[record.method](epoch) for epoch in range(1, EPOCHS + 1)))
        for record in records
        if record.probe == "knn"
    ]
    return [*records, made_geometry("colt"), made_geometry("tase")], histories


def test_every_kind_of_figure_is_saved_with_caption_and_settings(tmp_path):
    records, histories = _everything(tmp_path)
    drawn = write_figures(records, histories, tmp_path / "figures", lambda record: record.method.upper())
    assert {
        kind.rpartition("-")[2] if kind.startswith(("knn", "fewshot-curve", "geometry")) else kind for kind in _kinds(drawn)
    } == KINDS
    assert len({one.name for one in drawn}) == len(drawn)
    for one in drawn:
        assert ElementTree.parse(one.svg).getroot().tag == "{http://www.w3.org/2000/svg}svg"
        with Image.open(one.png) as picture:
            assert picture.format == "PNG"
            assert picture.width == pytest.approx(200 * 3.4, abs=2) or picture.width == pytest.approx(200 * 7, abs=2)
        assert (one.dataset, one.variant, one.preset) == ("cifar10lt", "exp-4500-45", "cpu")
        for fact in (
            "cifar10lt",
            "variant exp-4500-45",
            "CPU-scale",
            "seed 0",
            one.probe,
            "n = 2 (splits 1, 2;" if one.probe != "geometry" else "n = 1",
        ):
            assert fact in one.caption
        assert len(f"{one.title}. {one.caption}") <= 330
        assert "[000000000001]" in one.details
    assert {one.probe for one in drawn} == {"", "knn", "fewshot-curve", "geometry"}


def test_figures_have_no_background(tmp_path):
    records, histories = _everything(tmp_path)
    records += list(made_grid(["bcl", "byol", "simclr"], 5, 1, ["ridge", "knn"]))
    drawn = write_figures(records, histories, tmp_path / "figures")
    assert {"agreement-few", "ridge-ranks-few", "ridge-classes"} <= _kinds(drawn)
    for one in drawn:
        with Image.open(one.png) as picture:
            pixels = np.asarray(picture.convert("RGBA")).reshape(-1, 4)
        white = (pixels == 255).all(axis=1).mean()
        clear = (pixels[:, 3] == 0).mean()
        assert white < 0.01, one.name  # numbers of a heat map
        assert clear > 0.2, one.name


def test_equal_input_gives_equal_bytes_whatever_the_users_settings(tmp_path):
    records, histories = _everything(tmp_path)
    first = write_figures(records, histories, tmp_path / "first")
    with matplotlib.rc_context({"font.size": 20, "svg.hashsalt": "other", "axes.facecolor": "red"}):
        second = write_figures(list(reversed(records)), reversed(histories), tmp_path / "second")
        assert matplotlib.rcParams["font.size"] == 20  # and they are left as they were
    assert [one.name for one in first] == [one.name for one in second]
    for one, other in zip(first, second, strict=True):
        assert one.caption == other.caption
        assert one.svg.read_bytes() == other.svg.read_bytes()
        assert one.png.read_bytes() == other.png.read_bytes()
        assert one.png.with_suffix(".pdf").read_bytes() == other.png.with_suffix(".pdf").read_bytes()
        assert b"<dc:date>" not in one.svg.read_bytes()


def test_no_title_can_break_a_figure(tmp_path, caplog):
    record = made_record("tase")
    history = _history(tmp_path, record, _log(1), _log(2, temperature={"many": 0.3, "medium": 0.2, "few": 0.1}))
    with caplog.at_level(logging.WARNING):
        drawn = write_figures([record], [history], tmp_path / "figures", lambda _: HOSTILE)
    assert {"training", "temperature-epochs", "ridge-groups", "ridge-classes"} <= _kinds(drawn)
    assert not caplog.messages
    for one in drawn:
        ElementTree.parse(one.svg)


def test_file_names_of_records_with_separators_stay_in_the_folder(tmp_path):
    record = made_record(dataset="../../x", profile="a/b$_<", preset="p\n q", probe="../y", mark="surrogate order")
    drawn = write_figures([record], [], tmp_path / "deep" / "figures")
    assert {one.svg.parent for one in drawn} == {tmp_path / "deep" / "figures"}
    assert sorted(one.svg for one in drawn) == sorted((tmp_path / "deep" / "figures").glob("*.svg"))
    assert all("surrogate" in one.name and "surrogate order" in one.caption for one in drawn)


def test_details_keep_characters_missing_from_the_font(tmp_path):
    drawn = write_figures([made_record(data="folderlt: 日本")], [], tmp_path / "figures")
    assert all("日本" in one.details for one in drawn)


def test_one_run_has_no_band_and_no_error_bars(tmp_path):
    mean, sd = mean_and_std([[1.0, 2.0]])
    assert (mean.tolist(), sd) == ([1.0, 2.0], None)
    mean, sd = mean_and_std([[1.0, np.nan], [3.0, 2.0]])
    assert (mean[0], sd[0]) == (2.0, pytest.approx(2**0.5))
    assert np.isnan(mean[1])
    record = made_record()
    drawn = write_figures([record], [_history(tmp_path, record)], tmp_path / "figures")
    assert _kinds(drawn) == {"training", "tail", "ridge-groups", "ridge-classes"}


def test_an_empty_group_is_marked_as_empty(tmp_path, monkeypatch):
    written = []
    from matplotlib.axes import Axes

    text = Axes.text
    monkeypatch.setattr(Axes, "text", lambda self, *given, **style: (written.append(given[2]), text(self, *given, **style))[1])
    empty = {"few": None, "group_std": None, "head_tail_gap": None, "group_sizes": [6, 4, 0]}
    geometry = made_geometry(group_sizes=[6, 4, 0], alignment={"all": 0.4, "many": 0.4, "medium": 0.4, "few": None})
    drawn = write_figures([made_record(**empty), made_record(seed=1, **empty), geometry], [], tmp_path / "figures")
    assert {"ridge-groups", "geometry-geometry"} <= _kinds(drawn)
    assert any("no classes" in words for words in written)


def test_ten_methods_on_a_hundred_classes(tmp_path):
    stream = np.random.default_rng(0)
    counts = np.geomspace(450, 4, 100).astype(int).tolist()
    of = {"class_counts": counts, "group_counts": counts, "group_sizes": [34, 33, 33]}
    records = [
        made_record(f"m{number}", seed=seed, class_accuracy=stream.uniform(0, 100, 100).tolist(), **of)
        for number in range(10)
        for seed in range(2)
    ]
    drawn = write_figures(records, [], tmp_path / "figures")
    (classes,) = [one for one in drawn if "-classes-" in one.name]
    assert "Running mean over 11 classes" in classes.caption
    assert len({(style["color"], style["marker"]) for style in map(line_style, range(110))}) == 110


def test_a_failing_figure_is_logged_and_the_others_are_saved(tmp_path, caplog):
    broken = made_geometry(alignment={"all": "much"})
    with caplog.at_level(logging.WARNING):
        drawn = write_figures([made_record(), broken], [], tmp_path / "figures")
    assert _kinds(drawn) == {"ridge-groups", "ridge-classes"}
    (said,) = caplog.messages
    assert "group_geometry" in said
    assert "\n" not in said


def test_records_that_are_not_comparable_have_separate_figures(tmp_path):
    records = [made_record(), made_record("bcl"), made_record(executor="dali", run_id="other")]
    drawn = write_figures(records, [], tmp_path / "figures")
    assert sum("-groups-" in one.name for one in drawn) == 2
    assert sum("torch views" in one.details for one in drawn) == 2


def test_titles_are_numbered_within_a_figure_only_and_keep_their_style_in_all():
    def runs(preset, *temperatures):
        made = [(name, temperature) for name in ("sdclr", "tase") for temperature in temperatures]
        return [
            made_record(name, preset=preset, hparams={"temperature": temperature}, run_id=f"{preset}{name}{temperature}")
            for name, temperature in made
        ]

    records = [*runs("cpu", 0.2), *runs("paper", 0.3), *runs("smoke", 0.2, 0.4)]
    order = MethodOrder(records, method_name)
    labels = {
        setting.first.preset: {one.label: one.index for one in setting.series} for setting in probe_settings(records, order)
    }
    assert list(labels["cpu"]) == list(labels["paper"]) == ["sdclr", "tase"]
    assert list(labels["smoke"]) == ["sdclr", "sdclr [2]", "tase", "tase [2]"]
    assert len(set(labels["smoke"].values())) == 4
    assert labels["cpu"].items() <= labels["smoke"].items()
    assert labels["cpu"] == labels["paper"]


@pytest.mark.parametrize(("methods", "bands"), [(3, 3), (4, 0)])
def test_accuracy_by_class_has_bands_for_few_methods(methods, bands):
    records = list(made_grid(["bcl", "byol", "simclr", "ts"][:methods], 2, 1, ["ridge"]))
    (setting,) = probe_settings(records, MethodOrder(records, method_name))
    (plot,) = class_accuracy(setting)
    assert len(plot.figure.axes[0].collections) == bands
    assert ("Band: std over runs." in plot.caption) == (bands > 0)


@pytest.mark.parametrize(
    ("methods", "splits", "bars"), [(("simclr", "byol", "ts"), 5, 2), (("simclr", "byol"), 4, 0), (("byol", "ts"), 5, 0)]
)
def test_error_bars_of_groups_are_intervals_of_the_differences_from_simclr(methods, splits, bars):
    records = list(made_grid(methods, splits, 1, ["ridge"]))
    (setting,) = probe_settings(records, MethodOrder(records, method_name))
    (plot,) = group_accuracy(setting)
    found = [one for one in plot.figure.axes[0].containers if isinstance(one, ErrorbarContainer)]
    assert len(found) == bars
    assert ("Error bars: 95% interval of the paired difference from simclr." in plot.caption) == (bars > 0)
    assert "std" not in plot.caption
    for one in found:
        segments = one.lines[2][0].get_segments()
        lengths = [high - low for (_, low), (_, high) in segments]
        of_method = {name: [r for r in records if r.method == name] for name in methods}
        expected = [
            [
                found.high - found.low
                for key in ("mean", "many", "medium", "few")
                if (found := difference(runs, of_method["simclr"], key))
            ]
            for name, runs in of_method.items()
            if name != "simclr"
        ]
        assert any(lengths == pytest.approx(each) for each in expected)


CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def _class_axis(records, names=lambda record: CLASSES):
    (setting,) = probe_settings(records, MethodOrder(records, method_name))
    (plot,) = class_accuracy(setting, names)
    return [text.get_text() for text in plot.figure.axes[0].get_xticklabels()]


def test_classes_are_named_from_most_to_fewest_images():
    records = [made_record(), made_record("byol"), made_record(seed=1)]  # of a split whose largest class is the second one
    assert np.argmax(records[0].class_counts) == 1
    assert _class_axis(records) == [*CLASSES[1:], CLASSES[0]]


@pytest.mark.parametrize(
    ("records", "names"),
    [
        ([made_record(), made_record(split=2)], CLASSES),  # which differ in the order of classes
        ([made_record()], ()),
        ([made_record()], CLASSES[:9]),
    ],
)
def test_without_one_order_of_known_names_classes_are_numbered(records, names):
    assert _class_axis(records, lambda record: names) == [str(rank) for rank in range(1, 11)]


def test_many_classes_are_not_named():
    counts = list(range(30, 0, -1))
    record = made_record(class_accuracy=[50.0] * 30, class_counts=counts, group_counts=counts, group_sizes=[10, 10, 10])
    assert not {"a 1", "a 30"} & set(_class_axis([record], lambda record: [f"a {number}" for number in range(30)]))


@pytest.mark.parametrize("epochs", [1, 2, 3, 5, 8, 34, 2000])
def test_epochs_are_whole_numbers(tmp_path, epochs):
    record = made_record("tase")
    quantities = {"temperature": {"many": 0.3, "medium": 0.2, "few": 0.1}, "weight": {"many": 1.0, "medium": 2.0, "few": 3.0}}
    history = _history(tmp_path, record, *(_log(epoch, **quantities) for epoch in range(1, epochs + 1)))
    (setting,) = run_settings([record], MethodOrder([record], method_name))
    histories = {record.run_id: history}
    with figure_style():
        plots = [plot for draw in (training_curves, tail_curves, quantity_by_epoch) for plot in draw(setting, histories)]
        assert len(plots) == 4
        for axes in (axes for plot in plots for axes in plot.figure.axes):
            low, high = axes.get_xlim()
            ticks = [tick for tick in axes.get_xticks() if low <= tick <= high]
            assert ticks
            assert all(tick == round(tick) for tick in ticks)
            assert axes.get_xlabel() == "epoch"


def test_only_figures_with_other_content_are_written_again(tmp_path):
    records, histories = [made_record(), made_record("byol")], []
    write_figures(records, histories, tmp_path)
    times = {file: file.stat().st_mtime_ns for file in tmp_path.iterdir()}
    write_figures(records, histories, tmp_path)
    assert {file: file.stat().st_mtime_ns for file in tmp_path.iterdir()} == times
    changed = [records[0], replace(records[1], class_accuracy=records[1].class_accuracy[::-1])]
    write_figures(changed, histories, tmp_path)
    written = {file for file, time in times.items() if file.stat().st_mtime_ns != time}
    assert {file.suffix for file in written} == {".svg", ".png", ".pdf"}
    assert all("-classes-" in file.name for file in written)


@pytest.mark.parametrize("lost", ["svg", "png", "pdf"])
def test_a_missing_file_of_a_figure_is_written_again(tmp_path, lost):
    write_figures([made_record()], [], tmp_path)
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    for file in tmp_path.glob(f"*.{lost}"):
        file.unlink()
    write_figures([made_record()], [], tmp_path)
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_a_figure_of_a_killed_report_is_written_again(tmp_path, monkeypatch):
    """A kill between two files, then the earlier records again: no file of the later ones stays."""
    write_figures([made_record()], [], tmp_path)
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}

    class Killed(BaseException):
        pass

    def write(path, content):
        if path.suffix == ".pdf":
            raise Killed
        write_atomic(path, content)

    with monkeypatch.context() as context:
        context.setattr("reports.figures.style.write_atomic", write)
        with pytest.raises(Killed):
            write_figures([made_record(level=30)], [], tmp_path)
    write_figures([made_record()], [], tmp_path)
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


def _ratio(profile, counts, level, seed=0):
    return made_record(
        level=level,
        seed=seed,
        profile=profile,
        data=f"of {profile}",
        class_counts=counts,
        n_pretrain=sum(counts),
        run_id=profile,
    )


def test_the_imbalance_curve_has_sets_of_equal_size_only():
    long_tailed, even = made_record(), _ratio("balanced", [1116] * 10, 70)
    smaller = _ratio("ir=10", [300] * 9 + [30], 65)
    records = [long_tailed, even, smaller]
    (setting,) = imbalance_settings(records, MethodOrder(records, method_name))
    (plot,) = imbalance_curve(setting)
    assert [record.profile for record in setting.series[0].records] == ["balanced", "sdclr"]
    assert plot.figure.axes[0].get_xticks().tolist() == [1, 100]
    assert setting.details.count("Data: ") == 1
    assert "; of balanced. " in setting.details
    assert "ir=10" not in setting.details
    assert "sdclr" not in setting.file_name("imbalance")
    assert imbalance_settings([long_tailed, smaller], MethodOrder(records, method_name)) == []


def test_sets_of_one_ratio_are_separate_points():
    like = _ratio("ir=100", [4000] * 2 + [446] * 7 + [40], 40)
    records = [made_record(level=70), like, _ratio("balanced", [1116] * 10, 70)]
    (setting,) = imbalance_settings(records, MethodOrder(records, method_name))
    (plot,) = imbalance_curve(setting)
    drawn = plot.figure.axes[0].containers[0].lines[0].get_xydata()
    assert drawn[:, 0].round().tolist() == [1, 100, 100]
    assert set(drawn[1:, 1]) == {records[0].mean, like.mean}


def test_each_passport_of_a_split_has_an_agreement_figure(tmp_path):
    grid = list(made_grid(["bcl", "byol", "simclr", "ts"], 2, 1, ["knn", "ridge"]))
    grid[0] = replace(grid[0], passport="0" * 12)  # of one probe of a run alone: split 1 is apart, of the other three methods
    drawn = write_figures(grid, [], tmp_path / "figures")
    names = sorted(one.name for one in drawn if "agreement-all" in one.name)
    assert len(names) == len(set(names)) == 2
    assert "agreement-all-000000000001" in names[0]


def test_probes_agreement_is_drawn_from_the_tables_matrix(tmp_path):
    drawn = write_figures(made_grid(["bcl", "byol", "simclr"], 1, 1, ["knn", "ridge"]), [], tmp_path / "figures")
    assert {"agreement-all", "agreement-few"} <= _kinds(drawn)


def test_without_records_there_are_no_figures(tmp_path):
    assert write_figures([], [], tmp_path / "figures") == []
    with figure_style():
        assert not matplotlib.rcParams["text.parse_math"]
    assert matplotlib.rcParams["text.parse_math"]


@pytest.mark.parametrize(("splits", "known"), [(5, True), (4, False)])
def test_error_bars_of_curves_are_intervals_of_the_differences_from_simclr(splits, known):
    def curve(method, split):
        few = 20.0 + split + (split**2 if method == "byol" else 0)
        return [CurvePoint(shots=shots, mean=few + shots, sd=1.0, many=40.0, few=few) for shots in (1, 5)]

    records = [
        made_record(method, split=split, probe="fewshot-curve", curve=curve(method, split))
        for method in ("byol", "simclr")
        for split in range(1, splits + 1)
    ]
    (setting,) = probe_settings(records, MethodOrder(records, method_name))
    (plot,) = fewshot_curve(setting)
    half = stats.t.ppf(0.975, splits - 1) * np.std([split**2 for split in range(1, splits + 1)], ddof=1) / np.sqrt(splits)
    for axes in plot.figure.axes:
        bars = [container[2][0].get_segments() for container in axes.containers]
        lengths = [[np.ptp(segment[:, 1]) / 2 for segment in segments if len(segment)] for segments in bars]  # else NaN
        assert lengths == [pytest.approx([half, half] if known else []), []]
    assert ("Error bars: 95% interval of the paired difference from simclr." in plot.caption) == known


def test_figures_of_earlier_reports_are_removed_and_other_files_stay(tmp_path):
    first, second = made_record(), made_record(dataset="cifar100lt", run_id="another")
    both = {saved.name for saved in write_figures([first, second], [], tmp_path)}
    (tmp_path / "mine.svg").touch()
    kept = {saved.name for saved in write_figures([first], [], tmp_path)}
    assert kept < both
    files = {file.name for file in tmp_path.iterdir()}
    assert files == {f"{name}.{suffix}" for name in kept for suffix in ("svg", "png", "pdf")} | {"mine.svg", "index.json"}
    (tmp_path / "index.json").write_text("[3")
    assert {saved.name for saved in write_figures([first], [], tmp_path)} == kept


def test_the_curve_by_ratio_is_on_the_runs_that_all_sets_have():
    records = [made_record(mean=50.0), made_record(split=2, mean=52.0), made_record(split=3, mean=10.0)]
    records += [balanced(mean=60.0), balanced(split=2, mean=62.0)]
    (setting,) = imbalance_settings(records, MethodOrder(records, method_name))
    (plot,) = imbalance_curve(setting)
    assert list(plot.figure.axes[0].lines[0].get_ydata()) == [61, 51]
    assert "n = 2 (splits 1, 2; seed 0)" in setting.caption
