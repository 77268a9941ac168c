//! The sessions of `docs/cli.md` are what the program really says.
