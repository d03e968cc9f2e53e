"""The tools an assistant may call: pure, read-only functions with typed arguments."""
