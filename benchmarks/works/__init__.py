"""One work per file; the file's name is the work's."""
