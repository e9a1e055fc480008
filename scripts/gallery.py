"""Sweep the worked examples until each has had a million comparisons per dtype; save the counts."""

from pathlib import Path

from studies.false_alarms import count_false_alarms

from gradcheck import load_model
from gradcheck.reports.files import write_files

MODELS = ("softmax-cross-entropy", "layer-norm", "batch-norm", "attention", "gelu", "network")
FOLDER = Path("results/gallery")
DEEP = {"depth": 20, "width": 64}

table = count_false_alarms(map(load_model, MODELS), 1_000_000, ("torch", "jax"))
deep = count_false_alarms([load_model("network", DEEP)], 10_000_000, ("torch", "jax"))
print(table.to_string(index=False), deep.to_string(index=False), sep="\n")
FOLDER.mkdir(parents=True, exist_ok=True)
contents = {"gallery.csv": table, "deep.csv": deep}
print(
    "Written:",
    *write_files({FOLDER / name: frame.to_csv(index=False) for name, frame in contents.items()}),
)
