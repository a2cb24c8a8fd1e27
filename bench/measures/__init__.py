"""What metrics compute with: windows, trunks, face crops, statistics of sets. Nothing here knows files or tables."""
