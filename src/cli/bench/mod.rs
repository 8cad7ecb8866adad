//! `maas bench URL` loads a server, `maas bench MODEL --in-process` times a model without one.

mod in_process;
mod load;
mod plan;

use std::path::{Path, PathBuf};

use crate::cli::settings::SettingsArgs;
use crate::cli::{Failure, Outcome};
use crate::domain::{ModelName, Version};
use crate::package::{Package, Store};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The server to load, as http://HOST:PORT[/PATH]; with --in-process a model of the store, by name or as
    /// name@version
    #[arg(value_name = "URL or MODEL")]
    target: String,
    /// What is sent or run: a picture, a sound or a text; several times for a load [default: the package's golden
    /// samples; with --in-process the first of them]
    #[arg(long, value_name = "FILE")]
    input: Vec<PathBuf>,
    /// Threads that share the rows of a batch, or that send the load
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1")]
    threads: Vec<usize>,
    /// Print one JSON line a row
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    in_process: in_process::Args,
    #[command(flatten, next_help_heading = "Load on a server")]
    load: load::Args,
    #[command(flatten)]
    settings: SettingsArgs,
}

pub fn run(args: &Args) -> Outcome {
    match (args.target.contains("://"), args.in_process.in_process) {
        (true, false) => load::run(args),
        (false, true) => in_process::run(args),
        (true, true) => Err("--in-process: expected a model's name beside it, got a URL".into()),
        (false, false) => {
            let got = &args.target;
            let expected = "expected http://HOST:PORT, or a model's name with --in-process";
            Err(format!("{expected}; got {got:?}").into())
        }
    }
}

/// The newest version of `name`, or the one of `name@version` or `name/version`, and the version where it was
/// said.
fn newest(store: &Store, model: &str) -> Result<(Package, Option<Version>), Failure> {
    let (name, version) = match model.split_once(['@', '/']) {
        Some((name, version)) => (name, Some(version.parse::<Version>()?)),
        None => (model, None),
    };
    let name: ModelName = name.parse()?;
    let mut entries = store.entries()?;
    entries.retain(|entry| entry.name == name && version.is_none_or(|v| v == entry.version));
    let entry = entries.last().ok_or_else(|| {
        format!("{} holds no {model}: --store names another store", store.root().display())
    })?;
    Ok((store.package(entry)?, version))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}
