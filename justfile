# `just` lists what there is. The environment is the one that the README's test command makes.

bin := if os_family() == "windows" { ".venv-dev/Scripts" } else { ".venv-dev/bin" }

[private]
default:
    @just --list

# Make the environment, and have git run the hooks of .pre-commit-config.yaml
setup:
    python3 -m venv .venv-dev
    {{ bin }}/pip install --quiet --constraint constraints.txt --editable '.[dev]' pre-commit
    {{ bin }}/pre-commit install

# A minute before a commit: linters, types, rooms, docs, quick tests
check: lint types
    {{ bin }}/python scripts/rooms.py
    {{ bin }}/python scripts/docs.py --check
    {{ bin }}/python -m pytest -m quick

# Ruff, as .ci/run does; `just lint --fix` mends
lint *options:
    {{ bin }}/ruff check {{ options }} .
    {{ bin }}/ruff format --check .

# mypy, strictly
types:
    {{ bin }}/mypy

# What starts no process, two cases of each test: `just quick tests/policy`
quick *tests:
    {{ bin }}/python -m pytest -m quick {{ tests }}

# All tests, or those that are named: `just test tests/hosts`
test *tests:
    {{ bin }}/python -m pytest {{ tests }}

# All tests with the lines and branches that they take, whose share must not fall below the gate; lists what lacks some
coverage:
    .ci/coverage

# Write what follows from the code: reference pages, and the snapshots of what clients are listed
docs:
    {{ bin }}/python scripts/docs.py

# Snapshots of what is read of each engine's messages, after a change that is meant
snapshots:
    UPDATE_SNAPSHOTS=1 {{ bin }}/python -m pytest tests/engines

# Start, memory, calls and large accounts: `just bench --small`
bench *options:
    {{ bin }}/python -m tests.bench {{ options }}

# Whether the tests notice a check that is dropped: `just mutants --rooms policy`
mutants *options:
    {{ bin }}/python scripts/mutants.py {{ options }}

# The linters of workflows, shell scripts and this file
workflows:
    .ci/lint

# Everything that a change must pass, in a clone of HEAD
all:
    .ci/run

# Tag the version of the package, from which GitHub publishes it; everything must have passed
release: all
    git tag --annotate "v$({{ bin }}/python -c 'import waha_mcp; print(waha_mcp.__version__)')" --message 'See CHANGELOG.md'
    @echo 'git push origin --tags publishes it.'
