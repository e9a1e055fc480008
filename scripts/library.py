"""Print by how many ulps library functions err, and an allowance for each; save it as CSV.

Takes about a minute; needs torch and jax.
"""

from pathlib import Path

from studies.library import measure_library
from studies.library_functions import DEFAULT, FUNCTIONS, SAFETY, propose, tabulate

from gradcheck.reports.files import write_files

table = measure_library(FUNCTIONS, points=3000)
print("Worst error in ulps of the exact result", end="\n\n")
print(tabulate(table).to_string(float_format="%.3g", na_rep="-"))
print(f"\nAllowances: {SAFETY} times the worst, rounded up; are they above {DEFAULT:g} ulps?\n")
proposed = propose(table).rename(columns={"worst_ulps": "worst"})
print(proposed.to_string(index=False, float_format="%.3g"))
folder = Path("results/library")
folder.mkdir(parents=True, exist_ok=True)
text = table.to_csv(index=False, float_format="%.6g")
print("Written:", *write_files({folder / "library.csv": text}))
