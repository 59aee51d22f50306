//! The command line of stonescriptdb. docs/cli.md has the commands, the exit codes, and what goes where.
//!
//! What was asked for goes to standard output, what is said about it to standard error. With `--json` standard output is JSON, be it the
//! answer or the error.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

mod args;
mod client;
mod deploying;
mod failure;
mod lint;
mod looking;
mod manual;
mod packing;
mod show;
mod source;
mod watch;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use serde_json::Value;

use args::{Cli, Command, Global};
use client::Client;
use failure::{Exit, Failure, Level, render};
use source::Source;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            complain(&cli.global, &failure, None);
            failure.exit.into()
        }
    }
}

fn run(cli: &Cli) -> Result<Exit, Failure> {
    let global = &cli.global;
    match &cli.command {
        Command::Pack(pack) => packing::pack(global, pack),
        Command::Lint(lint) => packing::lint(global, lint),
        Command::Plan(plan) => deploying::plan(global, plan),
        Command::Register(register) => deploying::register(global, register),
        Command::Migrate(migrate) => deploying::migrate(global, migrate),
        Command::Watch(watch) => deploying::watch(global, &watch.deployment),
        Command::Call(call) => looking::call(&Client::new(global)?, global, call),
        Command::Tenants(of) => looking::tenants(&Client::new(global)?, global, of),
        Command::Drift(drift) => looking::drift(&Client::new(global)?, global, drift),
        Command::Logs(logs) => looking::logs(&Client::new(global)?, global, logs),
        Command::Completions(of) => Ok(manual::completions(of)),
        Command::Man(man) => manual::pages(man),
    }
}

/// Tells of a failure: as JSON on standard output if that is asked for, else as a compiler would.
fn complain(global: &Global, failure: &Failure, source: Option<&Source>) {
    if global.json {
        out(&format!("{}\n", failure.body));
    } else {
        eprint!("{}", render(Level::Error, &failure.body, source));
    }
}

/// Writes to standard output. If nobody reads it any more, that is the reader's choice: the exit code tells the rest.
fn out(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// The answer: as JSON if that is asked for, else as `people` has it.
fn answer(global: &Global, body: &Value, people: impl FnOnce() -> String) {
    out(&if global.json { format!("{body}\n") } else { people() });
}
