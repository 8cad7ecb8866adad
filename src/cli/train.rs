//! `maas train RECIPE.toml --out DIR`

use std::path::PathBuf;

use crate::arch::{self, OnBadSample, Recipe, TrainJob};
use crate::cli::progress::Progress;
use crate::cli::{Outcome, say_left_out};
use crate::compute::device;
use crate::domain::DeviceChoice;
use crate::package::PackageError;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The recipe: a TOML file such as config/train/fashion.toml
    recipe: PathBuf,
    /// Where the data is, when it is not where the recipe says
    #[arg(long)]
    data: Option<PathBuf>,
    /// Overrides the recipe's number of epochs; 0 packs fresh weights
    #[arg(long)]
    epochs: Option<usize>,
    /// One seed gives the same weights on the same machine
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// What a corrupt file or an unknown label does: fail, or skip, which lists what it left out
    #[arg(long, default_value_t = OnBadSample::Fail)]
    on_bad_sample: OnBadSample,
    /// Go on from the last whole epoch of a run that was cut off
    #[arg(long)]
    resume: bool,
    /// The store that gets <name>/<version>/
    #[arg(long)]
    out: PathBuf,
    /// auto, cpu or cuda:N
    #[arg(long, default_value_t = DeviceChoice::Auto)]
    device: DeviceChoice,
    /// Print one JSON line an epoch
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Outcome {
    let recipe_text = std::fs::read_to_string(&args.recipe)
        .map_err(|error| format!("{}: {error}", args.recipe.display()))?;
    let mut recipe: Recipe = toml::from_str(&recipe_text)
        .map_err(|error| format!("{}: {error}", args.recipe.display()))?;
    if let Some(epochs) = args.epochs {
        recipe.fit.epochs = epochs;
    }
    let place = args.out.join(recipe.name.as_str()).join(recipe.version.to_string());
    if place.exists() {
        // Found out now, and not when the training is over.
        return Err(PackageError::Exists { place: place.display().to_string() }.into());
    }
    let architecture = arch::find(&recipe.architecture.name)?;
    let device = device::open(args.device)?;
    let mut progress = Progress::new(args.json, recipe.fit.epochs);
    let mut job = TrainJob {
        command: command(&args, recipe.fit.epochs),
        recipe,
        recipe_text,
        source_revision: crate::config::revision(),
        data: args.data,
        seed: args.seed,
        on_bad_sample: args.on_bad_sample,
        out: args.out,
        resume: args.resume,
        report: &mut |event| progress.show(event),
    };
    let report = (architecture.train)(&mut job, &device)?;
    say_left_out(&report.left_out);
    eprintln!("packed {} with digest {}", report.place.display(), report.digest);
    Ok(())
}

/// The command that makes this package again, for its receipt.
fn command(args: &Args, epochs: usize) -> String {
    let recipe = args.recipe.display();
    let (seed, out) = (args.seed, args.out.display());
    let skip = match args.on_bad_sample {
        OnBadSample::Fail => "",
        OnBadSample::Skip => " --on-bad-sample skip",
    };
    format!("maas train {recipe} --epochs {epochs} --seed {seed}{skip} --out {out}")
}
