"""Colours that follow the reader's theme, and how an SVG drawing takes them up."""

from __future__ import annotations

import re

INK, FAINT, AGREE, FAULT, PAPER = "#0a0b01", "#0a0b02", "#0a0b03", "#0a0b04", "#0a0b05"
"""What is drawn with; each stands for a variable of the page's style."""
VARIABLES = {
    INK: "var(--ink,#1b1b1b)",
    FAINT: "var(--faint,#6b6b6b)",
    AGREE: "var(--agree,#0072b2)",
    FAULT: "var(--fault,#c04a00)",
    PAPER: "var(--paper,#fff)",
}
ALONE = """<style>
svg{--ink:#1b1b1b;--faint:#666;--agree:#0072b2;--fault:#c04a00;--paper:#fff;background:#fff;
font-family:system-ui,sans-serif}
@media (prefers-color-scheme:dark){svg{--ink:#e8e6e1;--faint:#a5a29b;--agree:#64b5f0;
--fault:#ff9d5c;--paper:#16181b;background:#16181b}}
</style>"""
"""What a drawing needs that is a file of its own."""
PROLOGUE = re.compile(r"^.*?(?=<svg )", re.DOTALL)
DESCRIPTION = re.compile(r"<metadata>.*?</metadata>|<style.*?</style>", re.DOTALL)
TAG = re.compile(r"<[^>]*>")
WITHIN_TAGS = (
    (re.compile(r' id="[\w.]+_\d+"'), ""),  # the same in every drawing, and referred to by none
    (re.compile(r' transform="rotate\(-0 [^"]*"'), ""),
    (re.compile(r"font-family: [^;\"]*; ?"), ""),
    (re.compile(r"(-?\d+\.\d\d)\d+"), r"\1"),
    (re.compile(r"\s+"), " "),
)
"""What is replaced in matplotlib's tags, but not in the texts between them."""
BETWEEN_TAGS = re.compile(r">\s+<")


def adapted(svg: str, label: str) -> str:
    """Turn what matplotlib wrote into a drawing for a page: themed, short, with an explanation.

    Parameters
    ----------
    label
        What it shows, in words that need no escaping.
    """
    svg = DESCRIPTION.sub("", PROLOGUE.sub("", svg))
    svg = TAG.sub(_adapted_tag, svg)
    svg = BETWEEN_TAGS.sub(">\n<", svg).strip()
    return svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)


def _adapted_tag(tag: re.Match[str]) -> str:
    text = tag[0]
    for pattern, replacement in WITHIN_TAGS:
        text = pattern.sub(replacement, text)
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, variable)
    return text


def alone(svg: str) -> str:
    """Make of a drawing of a page a file of its own."""
    end = svg.index(">") + 1
    return f'<?xml version="1.0" encoding="utf-8"?>\n{svg[:end]}{ALONE}{svg[end:]}\n'
