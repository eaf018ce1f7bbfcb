"""The byte engine: files in folders, containers, buckets and shares behind one small interface."""
