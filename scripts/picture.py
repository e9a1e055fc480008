"""Draw the README's picture; needs matplotlib: the extra `figures`."""

from pathlib import Path

from studies.picture import draw_picture

from gradcheck.reports.files import write_files

folder = Path("results/accuracy")
folder.mkdir(parents=True, exist_ok=True)
print("Written:", *write_files({folder / "errors-and-bars.png": draw_picture()}))
