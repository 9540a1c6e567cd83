"""The programs that launch `waha-mcp`: where each keeps its configuration, and how our entry gets in and out of it.

table.py    one record per host: the file on each operating system, its format, the place and shape of an entry
edit.py     JSON with comments, YAML and TOML: put an entry in or take it out, everything else byte for byte as it was
install.py  the same on real files: check, back up, replace in one step
launch.py   the command of this installation, and the links that hosts open
"""
