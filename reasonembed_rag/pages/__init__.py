"""HTML reports in one style."""
