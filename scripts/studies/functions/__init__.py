"""How good `gradcheck.check` is: mutants of ten backward passes that people write by hand."""
