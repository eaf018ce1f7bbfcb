"""The work of transfer steps: files to files, and tables from and to anything."""
