"""The programs that launch `waha-mcp`: where each keeps its configuration, and how our entry is installed and removed.

table.py         one record per host: the file on each operating system, its format, the place and shape of an entry
edit.py          JSON with comments, YAML and TOML: add or remove an entry, with everything else byte for byte as it was
installation.py  the same on files: check, back up, replace atomically
launch.py        the command of this installation, and the links that hosts open
"""
