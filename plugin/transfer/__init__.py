"""Copies between stores: planned first, verified, resumable, and never half-visible."""
