//! `maas train RECIPE.toml --out DIR`

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::arch::{self, Lock, OnBadSample, Parent, Recipe, TrainError, TrainJob};
use crate::cli::events::Events;
use crate::cli::progress::Progress;
use crate::cli::{Failure, Outcome, faults, say_left_out};
use crate::compute::device;
use crate::domain::{DeviceChoice, ModelName, Version};
use crate::package::{self, Package, PackageError};

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
    /// Begin with the weights of a package of --store instead of fresh ones
    #[arg(long, value_name = "MODEL@VERSION")]
    from: Option<Parentage>,
    /// Where --from looks
    #[arg(long, default_value = "models", requires = "from")]
    store: PathBuf,
    /// Do not learn the parameter of this name, or those below it (layers.1, and not layers.10); may be given several times
    #[arg(long, value_name = "NAME")]
    freeze: Vec<String>,
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
    /// Write each step's loss and learning rate to this file, as comma-separated values; --resume goes on in it
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
    /// Print one JSON line an epoch
    #[arg(long)]
    json: bool,
}

/// A version of a model, as a command names it.
#[derive(Debug, Clone)]
struct Parentage {
    name: ModelName,
    version: Version,
}

impl FromStr for Parentage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("{text:?}: expected MODEL@VERSION, such as fashion@1");
        let (name, version) = text.split_once('@').ok_or_else(expected)?;
        let name = name.parse().map_err(|_| expected())?;
        Ok(Self { name, version: version.parse().map_err(|_| expected())? })
    }
}

impl fmt::Display for Parentage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.version)
    }
}

pub fn run(args: Args) -> Outcome {
    let recipe_text = std::fs::read_to_string(&args.recipe)
        .map_err(|error| format!("{}: {error}", args.recipe.display()))?;
    let mut recipe: Recipe = toml::from_str(&recipe_text)
        .map_err(|error| format!("{}: {error}", args.recipe.display()))?;
    let (path, text) = (args.recipe.clone(), recipe_text.clone());
    let told = move |error: TrainError| faults::told(&path, &text, error);
    recipe.fit.check().map_err(&told)?;
    if let Some(epochs) = args.epochs {
        recipe.fit.epochs = epochs;
    }
    let architecture = arch::find(&recipe.architecture.name)?;
    let device = device::open(args.device)?;
    let lock = claim(&args.out, &recipe)?;
    let mut progress = Progress::new(args.json, recipe.fit.epochs);
    let parent = match &args.from {
        Some(Parentage { name, version }) => {
            let place = args.store.join(name.as_str()).join(version.to_string());
            Some(Parent { package: Package::open(&place)? })
        }
        None => None,
    };
    let mut events = match &args.events {
        Some(path) => {
            let opened = Events::new(path, args.resume);
            Some(opened.map_err(|error| format!("{}: {error}", path.display()))?)
        }
        None => None,
    };
    let mut job = TrainJob {
        command: command(&args, recipe.fit.epochs),
        recipe,
        recipe_text,
        source_revision: crate::config::revision(),
        data: args.data,
        seed: args.seed,
        on_bad_sample: args.on_bad_sample,
        out: args.out,
        parent,
        freeze: args.freeze,
        resume: args.resume,
        report: &mut |event| {
            progress.show(event);
            if let Some(events) = &mut events {
                events.write(event);
            }
        },
    };
    let report = (architecture.train)(&mut job, &device).map_err(told)?;
    lock.done();
    say_left_out(&report.left_out);
    eprintln!("packed {} with digest {}", report.place.display(), report.digest);
    Ok(())
}

/// The right to make the recipe's version, whose place is free.
fn claim(out: &Path, recipe: &Recipe) -> Result<Lock, Failure> {
    let place = package::make(out, &recipe.name)?.join(recipe.version.to_string());
    let lock = Lock::take(out, &recipe.name, recipe.version)?;
    if place.exists() {
        // Found out now, and not when the training is over.
        lock.done();
        return Err(PackageError::Exists { place: place.display().to_string() }.into());
    }
    Ok(lock)
}

/// The command that makes this package again, for its receipt.
fn command(args: &Args, epochs: usize) -> String {
    let mut words = vec![format!("maas train {} --epochs {epochs}", args.recipe.display())];
    words.push(format!("--seed {}", args.seed));
    words.extend(args.data.as_ref().map(|data| format!("--data {}", data.display())));
    let from = args.from.as_ref();
    words.extend(from.map(|from| format!("--from {from} --store {}", args.store.display())));
    words.extend(args.freeze.iter().map(|name| format!("--freeze {name}")));
    if args.on_bad_sample == OnBadSample::Skip {
        words.push("--on-bad-sample skip".to_owned());
    }
    words.push(format!("--out {}", args.out.display()));
    words.join(" ")
}
