"""The tools: one record per tool in `catalog`, one module or folder per toolset."""
