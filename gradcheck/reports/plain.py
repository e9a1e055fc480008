"""A console that takes text for what it is: names and messages of others are data."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from gradcheck.errors import printable


class Plain(Console):
    """Prints every string to the letter, but for what would steer a terminal, which is escaped.

    Whatever is printed, in tables as well, passes `render_str`; so nothing need be escaped before.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **settings)

    def render_str(self, text: str, **settings: Any) -> Text:
        """Make a text of a string."""
        return super().render_str(printable(text), **settings)
