"""The terminal UI: it reads the store, writes reviews and controls, and starts runs as processes of their own."""
