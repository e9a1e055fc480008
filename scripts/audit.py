"""Print what audit and diagnosis cost, next to what Arb itself needs; save it as CSV."""

from pathlib import Path

from studies.audit import measure_audit, measure_diagnosis, summarise

from gradcheck.reports.files import write_files

table = summarise(measure_audit(), measure_diagnosis())
print(table.to_string(index=False, float_format="%.3g"))
folder = Path("results/bench")
folder.mkdir(parents=True, exist_ok=True)
print("Written:", *write_files({folder / "audit.csv": table.to_csv(index=False)}))
