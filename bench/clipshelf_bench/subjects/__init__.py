"""What contenders run: a checkpoint on disk, and the files that each made from it."""
