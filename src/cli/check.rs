//! `maas check DIR…`

use std::path::{Path, PathBuf};

use crate::cli::Outcome;
use crate::cli::settings::{SettingsArgs, placement};
use crate::config::Settings;
use crate::engine::Engine;
use crate::package::Package;
use crate::registry::open_package;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Packages, such as models/fashion/1
    #[arg(required = true, value_name = "DIR")]
    packages: Vec<PathBuf>,
    #[command(flatten)]
    settings: SettingsArgs,
}

/// Opens each package as a server would: digests, tensors, golden samples.
pub fn run(args: &Args) -> Outcome {
    let settings = args.settings.read()?;
    let engine = Engine::start(1)?;
    let mut refused = 0;
    for path in &args.packages {
        match check(path, &settings, &engine) {
            Ok(line) => println!("{}: ok, {line}", path.display()),
            Err(reason) => {
                println!("{}: refused: {reason}", path.display());
                refused += 1;
            }
        }
    }
    if refused == 0 {
        Ok(())
    } else {
        Err(format!("{refused} of {} packages would not be served", args.packages.len()).into())
    }
}

fn check(path: &Path, settings: &Settings, engine: &Engine) -> Result<String, String> {
    let package = Package::open(path).map_err(|error| error.to_string())?;
    let placement = placement(settings, Some(&package.manifest.name));
    let device = open_package(&package, &placement, engine)?.device;
    let place = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let aside = if place.ends_with(package.label()) {
        String::new()
    } else {
        format!("; a store serves it only from {}", package.label())
    };
    Ok(format!("{} on {device}, {}{aside}", package.label(), package.digest))
}
