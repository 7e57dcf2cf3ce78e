"""Two small trained Qwen3 checkpoints, the scripts that make them, and the yardsticks for them."""
