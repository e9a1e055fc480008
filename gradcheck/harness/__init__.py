"""From samples to tallies: what is asked for, drawn, checked and swept."""
