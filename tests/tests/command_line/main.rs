//! The command line, run as a person or a CI job runs it; and what docs/cli.md shows of it.

mod documented;
mod running;
mod tool;
