"""Expected-call evals: 40 everyday tasks, what a player may call for them, and what WAHA must have done in the end.

`worlds/*.toml` are the tasks (`task.py` says what stands there), `peers/*.toml` the same tasks on other servers.
`python -m tests.evals.tasks` plays them: `__main__.py`.
"""
