"""What sweeps cost, from the start of their process to their last file, beside the bare work."""
