//! One file a verb, the same shape in each: parse, settings, one call.

mod eval;
mod train;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Serve models you trained yourself.
#[derive(Debug, Parser)]
#[command(name = "maas", version, about)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

/// The verbs, in the order that `--help` shows.
#[derive(Debug, Subcommand)]
enum Verb {
    /// Train a package from a recipe
    Train(train::Args),
    /// Measure a package on data
    Eval(eval::Args),
}

/// What a verb ends in: a message for standard error when it fails.
type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Runs the verb that the command line names.
#[must_use]
pub fn run() -> ExitCode {
    let outcome = match Cli::parse().verb {
        Verb::Train(args) => train::run(args),
        Verb::Eval(args) => eval::run(args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("maas: {error}");
            ExitCode::FAILURE
        }
    }
}
