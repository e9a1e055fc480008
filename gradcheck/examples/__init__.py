"""Every model that is built in, `chain` first: a definition and two passes, a file each."""
