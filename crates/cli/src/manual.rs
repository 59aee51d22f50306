//! `completions` and `man`: what shells and readers are told of the commands, made from the commands' own definitions.

use clap::CommandFactory;

use crate::args::{Cli, Completions, Man};
use crate::failure::{Exit, Failure};
use crate::out;

const NAME: &str = "stonescriptdb";

pub(crate) fn completions(of: &Completions) -> Exit {
    let mut text = Vec::new();
    clap_complete::generate(of.shell, &mut Cli::command(), NAME, &mut text);
    out(&String::from_utf8_lossy(&text));
    Exit::Done
}

pub(crate) fn pages(man: &Man) -> Result<Exit, Failure> {
    if !man.folder.is_dir() {
        return Err(Failure::usage(format!("{} is no folder", man.folder.display())));
    }
    clap_mangen::generate_to(Cli::command(), &man.folder).map_err(|error| Failure::file(&man.folder, &error))?;
    Ok(Exit::Done)
}
