"""Print which derivatives frameworks return at kinks and singular points; save them as CSV.

Takes half a minute. PyTorch, JAX and HIPS autograd are asked if they are installed.
"""

from pathlib import Path

from studies.convention_cases import CASES
from studies.conventions import compact, missing, tabulate

from gradcheck.reports.files import write_files

for name in missing():
    print(f"{name} is not installed: skipped")
table = tabulate(CASES)
print("In ** what is not honest: a number outside the interval, or none where there is one.\n")
print(compact(table).to_string(index=False))
print()
print(
    table.groupby(["framework", "version", "mode"])["stands"].value_counts().unstack(fill_value=0)
)
folder = Path("results/conventions")
folder.mkdir(parents=True, exist_ok=True)
print("Written:", *write_files({folder / "table.csv": table.to_csv(index=False)}))
