"""The `reasonembed` command."""
