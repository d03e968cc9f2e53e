"""The pages of the web app: each draws, and calls one room's functions."""
