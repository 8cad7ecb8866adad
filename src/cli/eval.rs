//! `maas eval DIR [--data DIR]`

use std::path::PathBuf;

use crate::arch::{self, EvalJob, OnBadSample};
use crate::cli::settings::SettingsArgs;
use crate::cli::{Outcome, say_left_out};
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
    /// What a corrupt file or an unknown label does: fail, or skip, which lists what it left out
    #[arg(long, default_value_t = OnBadSample::Fail)]
    on_bad_sample: OnBadSample,
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
    let job = EvalJob { data: args.data, on_bad_sample: args.on_bad_sample };
    let report = (architecture.evaluate)(&package, &job, &device)?;
    say_left_out(&report.left_out);
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
