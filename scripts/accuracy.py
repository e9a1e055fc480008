"""Print how wide the bars are and how much of them true errors take up; save it as CSV."""

from pathlib import Path

from studies.accuracy import measure_accuracy

from gradcheck import load_model
from gradcheck.reports.files import write_files

table = measure_accuracy(load_model("chain"), samples=10_000)
print(table.to_string(index=False, float_format="%.3g"))
folder = Path("results/accuracy")
folder.mkdir(parents=True, exist_ok=True)
print("Written:", *write_files({folder / "accuracy.csv": table.to_csv(index=False)}))
