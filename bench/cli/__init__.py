"""The command line, one file a verb; ``entry`` is the console entry point."""
