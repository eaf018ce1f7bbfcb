"""Databases: queries to files, files to tables, without pasting values into statements."""
