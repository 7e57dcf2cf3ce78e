"""The doctor's own tests."""
