//! `maas eval DIR [--data DIR]`

use std::path::PathBuf;

use serde_json::json;

use crate::arch::{self, EvalJob};
use crate::cli::Outcome;
use crate::compute::device;
use crate::domain::DeviceChoice;
use crate::package::Package;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The package's directory, such as models/fashion/1
    package: PathBuf,
    /// Where the data is, when it is not where the recipe says
    #[arg(long)]
    data: Option<PathBuf>,
    /// auto, cpu or cuda:N
    #[arg(long, default_value_t = DeviceChoice::Auto)]
    device: DeviceChoice,
}

pub fn run(args: Args) -> Outcome {
    let package = Package::open(&args.package)?;
    let architecture = arch::find(&package.manifest.architecture.name)?;
    let device = device::open(args.device)?;
    let report = (architecture.evaluate)(&package, &EvalJob { data: args.data }, &device)?;
    let line = json!({
        "name": package.manifest.name,
        "version": package.manifest.version,
        "digest": package.digest,
        "metrics": report.metrics,
        "data": report.data_description,
        "data_digest": report.data_digest,
    });
    println!("{line:#}");
    Ok(())
}
