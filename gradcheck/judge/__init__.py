"""What a comparison amounts to: evaluations with their bars, references, verdicts, tallies."""
