//! One file a verb, the same shape in each: parse, settings, one call.

mod check;
mod config;
mod eval;
mod health;
mod key;
mod settings;
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
    /// Open packages as a server would, and say which would not be served and why
    Check(check::Args),
    /// Ask a running server whether it is ready
    Health(health::Args),
    /// Check or print the settings
    Config(config::Args),
    /// Make API keys
    Key(key::Args),
}

/// What a verb ends in: a message for standard error when it fails.
type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Runs the verb that the command line names.
#[must_use]
pub fn run() -> ExitCode {
    let outcome = match Cli::parse().verb {
        Verb::Train(args) => train::run(args),
        Verb::Eval(args) => eval::run(args),
        Verb::Check(args) => check::run(&args),
        Verb::Health(args) => health::run(&args),
        Verb::Config(args) => config::run(args),
        Verb::Key(args) => key::run(args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("maas: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn no_verb_has_two_flags_of_one_name() {
        Cli::command().debug_assert();
    }
}
