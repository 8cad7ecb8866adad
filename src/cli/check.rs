//! `maas check DIR…`

use std::path::{Path, PathBuf};

use crate::cli::Outcome;
use crate::cli::settings::{SettingsArgs, placement};
use crate::engine::Engine;
use crate::package::Package;
use crate::registry::{Placement, open_package};

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
    let placement = placement(&settings, None);
    let mut refused = 0;
    for path in &args.packages {
        match check(path, &placement, &engine) {
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

fn check(path: &Path, placement: &Placement, engine: &Engine) -> Result<String, String> {
    let package = Package::open(path).map_err(|error| error.to_string())?;
    let (device, _) = open_package(&package, placement, engine)?;
    let manifest = &package.manifest;
    Ok(format!("{} {} on {device}, {}", manifest.name, manifest.version, package.digest))
}
