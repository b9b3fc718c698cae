"""Text that steers nothing where it is printed: in a terminal, in LaTeX, in Markdown."""

import re

TEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "_": r"\_",
    "%": r"\%",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "†": r"$^\dagger$",
    "τ": r"$\tau$",
    "α": r"$\alpha$",
    "→": r"$\to$",
    "≤": r"$\le$",
    "≥": r"$\ge$",
    "−": "$-$",
    "–": r"\textendash{}",
    "—": r"\textemdash{}",
}
LAST_LETTER = "\N{LATIN SMALL LETTER Y WITH DIAERESIS}"  # beyond it LaTeX's default fonts are not sure to have a letter
SIGNS = frozenset(map(chr, range(0x80, 0xC0))) | {"÷", "Ð", "ð", "Þ", "þ"}  # below it, but not among them either
MARKDOWN = {"&": "&amp;", "<": "&lt;", ">": "&gt;"} | {sign: f"\\{sign}" for sign in "\\|*_`~$"}


def plain(text: str) -> str:
    """`text` in one line, without what steers a terminal."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def latex_escaped(text: str) -> str:
    """`text` for LaTeX. What its default fonts lack becomes a question mark."""
    # two hyphens would become a dash, and a bracket or a star at the start of a row an option of the line before
    signs = [TEX.get(sign, "?" if sign > LAST_LETTER or sign in SIGNS else sign) for sign in plain(text)]
    escaped = re.sub("-(?=-)", "-{}", "".join(signs))
    return f"{{}}{escaped}" if escaped.startswith(("[", "*")) else escaped


def markdown_escaped(text: str) -> str:
    """`text` for Markdown, also within a table."""
    escaped = "".join(MARKDOWN.get(letter, letter) for letter in plain(text))
    return escaped.replace("](", "]\\(")  # no link
