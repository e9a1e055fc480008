"""Execute the example notebook anew and store what it shows; needs torch and the extra `test`."""

import tempfile
from pathlib import Path

import nbclient
import nbformat

from gradcheck import examples
from gradcheck.reports.files import write_files

TOUR = Path(examples.__file__).parent / "tour.ipynb"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
"""Of the notebook: no versions, so that only what it shows can change."""


def execute(notebook: nbformat.NotebookNode, folder: Path) -> nbformat.NotebookNode:
    """Return a copy of a notebook with what its cells show when they run in a folder."""
    fresh = nbformat.from_dict(notebook)
    for cell in fresh.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    resources = {"metadata": {"path": str(folder)}}
    client = nbclient.NotebookClient(fresh, timeout=600, record_timing=False, resources=resources)
    executed = client.execute()
    executed.metadata = nbformat.from_dict(METADATA)
    return executed


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        tour = execute(nbformat.read(TOUR, as_version=4), Path(folder))
    print("Written:", *write_files({TOUR: nbformat.writes(tour) + "\n"}))
