"""Print what sweeps cost in time and memory."""

import tempfile

from studies.speed import compare_with_bare_work, peak_memory, time_command

from gradcheck import load_model

with tempfile.TemporaryDirectory() as folder:
    default = time_command("-m", "gradcheck", "sweep", "--output", folder, repeats=3)
print(f"default sweep: {default:.1f} s")
print(f"gradcheck --help: {time_command('-m', 'gradcheck', '--help'):.3f} s")

frame = compare_with_bare_work(load_model("chain"), samples=1_000_000, repeats=7)
print("one million samples, float64, torch and jax; medians of 7, seconds:")
print(frame.median().round(3).to_string())

one, four = peak_memory(1_000_000), peak_memory(4_000_000)
print(f"peak memory: {one:.0f} MiB at 1 million samples, {four:.0f} at 4: ratio {four / one:.3f}")
