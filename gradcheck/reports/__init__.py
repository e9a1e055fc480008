"""What people look at: files and terminal tables. Nothing here decides anything."""
