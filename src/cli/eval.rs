//! `maas eval DIR [--data DIR]`

use std::path::PathBuf;

use crate::arch::{self, EvalJob};
use crate::cli::Outcome;
use crate::cli::settings::SettingsArgs;
use crate::compute::device;
use crate::package::Package;
use crate::state::{Database, Evaluation};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The package's directory, such as models/fashion/1
    package: PathBuf,
    /// Where the data is, when it is not where the recipe says
    #[arg(long)]
    data: Option<PathBuf>,
    #[command(flatten)]
    settings: SettingsArgs,
}

/// Prints what the package scores, and files it in the state by the package's digest.
pub fn run(args: Args) -> Outcome {
    let settings = args.settings.read()?;
    let package = Package::open(&args.package)?;
    let architecture = arch::find(&package.manifest.architecture.name)?;
    let device = device::open(settings.device)?;
    // Before the work, so that a state that cannot be written costs seconds and not the run.
    let database = Database::open(&settings.state)?;
    let report = (architecture.evaluate)(&package, &EvalJob { data: args.data }, &device)?;
    let evaluation = Evaluation {
        package_digest: package.digest,
        data_digest: report.data_digest,
        data_description: report.data_description,
        metrics: report.metrics,
        evaluated_at: jiff::Timestamp::now().to_string(),
    };
    println!("{}", serde_json::to_string_pretty(&evaluation)?);
    database.record_evaluation(&evaluation)?;
    Ok(())
}
