"""What a model is: its definition, passes, board and lines; loading one from a file."""
