"""From a request to tables: sampling, verdicts, their tallies and the sweep over all of them."""
