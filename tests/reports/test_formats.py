"""CSV, Markdown, LaTeX and terminal text of a table: escaping, missing values, bold and daggers."""

import csv
import io
import re
import shutil
import subprocess

import pytest

from reports.page.adapter import table_section
from reports.tables.latex import latex_escaped, latex_text
from reports.tables.table import Cell, Column, Table, signed
from reports.tables.text import csv_text, markdown_escaped, markdown_text, terminal_text
from reports.tables.write import WRITERS as FORMS

HOSTILE = [
    r"a_b^c~d{e}f$g%h&i#j\k",
    "<b>bold</b> | pipe `code` *star* [link](http://x)",
    "[2cm] first",
    "* first",
    "--set x.y=1",
    "line\nbreak\x1b[31m red",
    "漢字 → τ ≤ ± × – ﷺ é ½ ²",
]


def table(*rows, columns=None):
    columns = columns or [Column("Method", "method"), Column("All", "mean", std=True), Column("n", "runs")]
    return Table("name-1", "Title", "Caption.", "Details.", columns, rows)


def test_numbers_and_standard_deviations():
    printed = table([Cell("x"), Cell(66.25, 1.449, bold=True, dagger=True), Cell(379610)], [Cell("y"), Cell(-0.04), Cell(1)])
    assert "**66.2 ± 1.4**†" in markdown_text(printed)
    assert r"\textbf{66.2} $\pm$ 1.4$^\dagger$ & 379,610" in latex_text(printed)
    # no minus before a zero
    assert terminal_text(printed).splitlines()[-1].split() == ["y", "0.0", "1"]
    assert csv_text(printed) == "method,mean,mean_sd,runs\nx,66.25,1.449,379610\ny,-0.04,,1\n"


def test_a_missing_value_is_a_placeholder_in_text_and_empty_in_csv():
    printed = table([Cell("x"), Cell(None), Cell(1)], [Cell("y"), Cell(None, placeholder="failed"), Cell(0)])
    for form in (markdown_text, latex_text, terminal_text):
        assert "empty" in form(printed)
        assert "failed" in form(printed)
    assert csv_text(printed) == "method,mean,mean_sd,runs\nx,,,1\ny,,,0\n"


@pytest.mark.parametrize("title", HOSTILE)
def test_a_title_with_separators_breaks_no_line_and_adds_no_column(title):
    printed = table([Cell(title), Cell(1.0), Cell(1)], [Cell("plain"), Cell(2.0), Cell(1)])
    lines = markdown_text(printed).split("\n\n")[0].splitlines()
    assert len(lines) == 4
    assert len({line.replace(r"\|", "").count("|") for line in lines}) == 1
    assert "<b>" not in markdown_text(printed)
    assert "](" not in markdown_text(printed)
    assert "\x1b" not in terminal_text(printed)
    assert len(terminal_text(printed).splitlines()) == 4
    read = list(csv.reader(io.StringIO(csv_text(printed))))
    assert {len(line) for line in read} == {4}


def test_latex_and_markdown_syntax_is_escaped():
    assert latex_escaped("a_b & 5% <x> {y} ± 1") == r"a\_b \& 5\% \textless{}x\textgreater{} \{y\} $\pm$ 1"
    assert latex_escaped("[2cm] --x 漢") == "{}[2cm] -{}-x ?"
    assert latex_escaped("\\") == r"\textbackslash{}"
    assert markdown_escaped("a|b*_`<&") == r"a\|b\*\_\`&lt;&amp;"


def test_csv_only_columns_and_columns_left_out_in_latex():
    columns = [Column("Method", "method"), Column("Only", "only", csv_only=True), Column("Source", "source", in_latex=False)]
    printed = table([Cell("x"), Cell(1.0), Cell("somewhere")], columns=columns)
    assert "only" in csv_text(printed)
    assert "Only" not in markdown_text(printed) + latex_text(printed) + terminal_text(printed)
    assert "somewhere" in markdown_text(printed)
    assert "somewhere" not in latex_text(printed)


def test_group_headings():
    columns = [Column("Method", "method"), Column("All", "a", "one"), Column("Few", "b", "one"), Column("All", "c", "two")]
    printed = table([Cell("x"), Cell(1.0), Cell(2.0), Cell(3.0)], columns=columns)
    assert r" & \multicolumn{2}{c}{one} & \multicolumn{1}{c}{two} \\" in latex_text(printed)
    assert r"\cmidrule(lr){2-3} \cmidrule(lr){4-4}" in latex_text(printed)
    assert "one All" in markdown_text(printed)


@pytest.mark.parametrize("form", FORMS)
def test_a_table_without_rows_is_no_error(form):
    assert FORMS[form](table())


def test_latex_has_the_caption_without_the_details_and_stacks_long_heads():
    columns = [Column("Probe", "probe"), Column("sdclr-cached-1pct", "a", decimals=2), Column("Hours", "b")]
    text = latex_text(table([Cell("x"), Cell(1.0), Cell(2.0)], columns=columns))
    assert r"\caption{Title. Caption.}" in text
    assert "Details" not in text
    assert r"Probe & \shortstack{sdclr- \\ cached- \\ 1pct} & Hours" in text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_a_long_caption_compiles_and_a_table_fits_a_two_column_page(tmp_path):
    numbers = [Column(head, head, std=True) for head in ("Many", "Medium", "Few", "All", "Std")]
    rows = [[Cell(name), *[Cell(66.2, 1.4, bold=True)] * 5, Cell(5)] for name in ("SimCLR", "SDCLR")]
    caption = "Mean ± std over n runs (splits 1-5; seed 0). " * 8
    table = Table("a", "Title", caption, "Details.", [Column("Method", "m"), *numbers, Column("n", "n")], rows)
    start = "\\documentclass[twocolumn]{article}\\usepackage{booktabs}\\begin{document}\n"
    (tmp_path / "t.tex").write_text(start + latex_text(table) + "\\end{document}\n")
    finished = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"], cwd=tmp_path, capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stdout[-2000:]
    assert "Overfull \\hbox" not in finished.stdout


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_special_characters_compile(tmp_path):
    rows = [[Cell(title), Cell(1.0, 0.5, bold=True, dagger=True), Cell(1)] for title in HOSTILE]
    printed = Table("name-1", " ".join(HOSTILE), "Caption.", "Details.", table().columns, rows)
    document = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n" + latex_text(printed) + "\\end{document}\n"
    (tmp_path / "t.tex").write_text(document)
    finished = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"], cwd=tmp_path, capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stdout[-2000:]


NEGATIVE = table(
    *(
        [Cell("a-1 (x=-2)"), Cell(value), Cell(f"{signed(value)} [{signed(value - 0.02)}, {signed(-value)}]")]
        for value in (-1.26, -0.04, -0.0, 0.04, 1.26)
    ),
    columns=[Column("Method", "method"), Column("All − b", "all"), Column("Few − b", "few", is_difference=True)],
)


@pytest.mark.parametrize(("write", "minus"), [(terminal_text, "−"), (markdown_text, "−"), (latex_text, "$-$")])
def test_no_output_has_a_negative_zero_and_all_have_one_minus_sign(write, minus):
    text = write(NEGATIVE)
    assert not re.search(r"[-−$+]0\.0\b", text)
    assert not re.search(r"[ \[]-\d", text)
    assert f"All {minus} b" in text
    assert f"{minus}1.3 [{minus}1.3, +1.3]" in text
    assert text.count("0.0 [") == 3


def test_the_csv_is_ascii_and_the_page_has_minus_signs():
    assert 'a-1 (x=-2),-1.26,"-1.3 [-1.3, +1.3]"' in csv_text(NEGATIVE).splitlines()
    assert csv_text(NEGATIVE).isascii()
    assert "-0.0," not in csv_text(table([Cell("a"), Cell(-1e-6), Cell(-0.0)]))
    first, second, *_ = table_section(NEGATIVE).rows
    assert [cell.text for cell in first.cells] == ["−1.3", "−1.3 [−1.3, +1.3]"]
    assert second.cells[0].text == "0.0"
