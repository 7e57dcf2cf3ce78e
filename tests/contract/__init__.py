"""The contract: one suite that the core, its doubles and every adapter run, sync and async."""
