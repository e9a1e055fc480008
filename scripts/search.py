"""Plant faults in rare regions; save how many a plain sweep finds, and how many a search."""

import argparse
from pathlib import Path

from studies.search import compare_faults

from gradcheck.reports.files import write_files

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--evaluations", type=int, default=4096, help="of each way (4096)")
parser.add_argument("--seeds", type=int, default=10, help="tries of each way (10)")
options = parser.parse_args()

table = compare_faults(options.evaluations, range(options.seeds))
print(table.to_string(index=False))
for way in ("sweep", "search"):
    found = table[f"{way}_finds"]
    always, ever = (found == table["seeds"]).sum(), (found > 0).sum()
    print(f"{way}: {always} of {len(table)} faults for every seed, {ever} for some")
folder = Path("results/search")
folder.mkdir(parents=True, exist_ok=True)
print("Written:", *write_files({folder / "faults.csv": table.to_csv(index=False)}))
