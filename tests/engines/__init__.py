"""The library against real serving engines; see the session `engines` in noxfile.py."""
