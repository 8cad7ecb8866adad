//! One file a verb, the same shape in each: parse, settings, one call.

mod bench;
mod check;
mod config;
mod eval;
mod events;
mod faults;
mod health;
mod import;
mod key;
mod predict;
mod progress;
mod rest;
mod serve;
mod settings;
mod train;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Serve models you trained yourself.
#[derive(Debug, Parser)]
#[command(name = "maas", version, about, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// Without a verb, `maas` serves.
    #[command(flatten)]
    serve: serve::Args,
}

/// The verbs, in the order that `--help` shows.
#[derive(Debug, Subcommand)]
enum Verb {
    /// Serve the models of the store (this is what `maas` alone does)
    Serve(serve::Args),
    /// Train a package from a recipe
    Train(train::Args),
    /// Make a package of weights that others trained
    Import(import::Args),
    /// Measure a package on data
    Eval(eval::Args),
    /// Open packages as a server would, and say which would not be served and why
    Check(check::Args),
    /// Load a server and measure it, or time a model in this process
    Bench(Box<bench::Args>),
    /// Ask a running server to predict
    Predict(predict::Args),
    /// Ask a running server whether it is ready
    Health(health::Args),
    /// Check or print the settings
    Config(config::Args),
    /// Make API keys
    Key(key::Args),
}

/// Why a verb failed, for standard error.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What a verb ends in.
type Outcome = Result<(), Failure>;

/// Runs the verb that the command line names.
#[must_use]
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.verb.unwrap_or(Verb::Serve(cli.serve)) {
        Verb::Serve(args) => serve::run(&args),
        Verb::Train(args) => train::run(args),
        Verb::Import(args) => import::run(args),
        Verb::Eval(args) => eval::run(args),
        Verb::Check(args) => check::run(&args),
        Verb::Bench(args) => bench::run(&args),
        Verb::Predict(args) => predict::run(&args),
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

/// Lists the samples that were of no use, and counts them.
fn say_left_out(left_out: &[String]) {
    for sample in left_out {
        eprintln!("left out: {sample}");
    }
    if !left_out.is_empty() {
        eprintln!("{} bad samples were left out", left_out.len());
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
