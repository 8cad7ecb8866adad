//! `maas eval DIR [--data DIR] [--json] [--report DIR]`

mod files;
mod people;

use std::path::PathBuf;

use serde::Serialize;

use crate::arch::report::Detail;
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
    /// Print one JSON object with everything that was found out
    #[arg(long)]
    json: bool,
    /// Write report.json into this directory, and the pictures that there are
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    #[command(flatten)]
    settings: SettingsArgs,
}

/// All that `--json` prints and report.json holds; the figures alone are filed in the state.
#[derive(Debug, Serialize)]
struct Report {
    /// Name and version, such as `fashion/1`.
    package: String,
    task: String,
    #[serde(flatten)]
    evaluation: Evaluation,
    #[serde(flatten)]
    detail: Detail,
}

/// Prints what the package scores, and files it in the state by the package's digest.
pub fn run(args: Args) -> Outcome {
    let settings = args.settings.read()?;
    let package = Package::open(&args.package)?;
    let architecture = arch::find(&package.manifest.architecture.name)?;
    let device = device::open(settings.device)?;
    // Before the work, so that a place that cannot be written costs seconds and not the run.
    let database = Database::open(&settings.state)?;
    if let Some(directory) = &args.report {
        files::make(directory)?;
    }
    let job = EvalJob { data: args.data, on_bad_sample: args.on_bad_sample };
    let scored = (architecture.evaluate)(&package, &job, &device)?;
    say_left_out(&scored.left_out);
    let report = Report {
        package: package.label(),
        task: package.manifest.task.clone(),
        evaluation: Evaluation {
            package_digest: package.digest,
            data_digest: scored.data_digest,
            data_description: scored.data_description,
            metrics: scored.metrics,
            evaluated_at: jiff::Timestamp::now().to_string(),
        },
        detail: scored.detail,
    };
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print!("{}", people::text(&report));
    }
    if let Some(directory) = &args.report {
        files::write(directory, &report)?;
    }
    database.record_evaluation(&report.evaluation)?;
    Ok(())
}
