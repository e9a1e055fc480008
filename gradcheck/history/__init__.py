"""Result folders read again: compared with one another, and their samples replayed."""
