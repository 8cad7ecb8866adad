//! `maas import SOURCE --recipe FILE.toml --out STORE`

use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::arch::{self, ImportJob, ImportRecipe, Source};
use crate::cli::Outcome;
use crate::domain::{ModelName, Version};
use crate::package::PackageError;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The weights: a safetensors file, a PyTorch state dict, or the directory that a model was published as
    source: PathBuf,
    /// The recipe: a TOML file such as config/import/efficientnet-lite0.toml
    #[arg(long)]
    recipe: PathBuf,
    /// The store that gets <name>/<version>/
    #[arg(long)]
    out: PathBuf,
    /// Overrides the recipe's name
    #[arg(long)]
    name: Option<ModelName>,
    /// Overrides the recipe's version
    #[arg(long)]
    version: Option<Version>,
    /// An input whose answer the package must give for ever; given once or more, instead of the recipe's
    #[arg(long = "sample", value_name = "FILE")]
    samples: Vec<PathBuf>,
    /// The names of the classes, instead of the recipe's
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
}

pub fn run(args: Args) -> Outcome {
    let recipe_text = std::fs::read_to_string(&args.recipe)
        .map_err(|error| format!("{}: {error}", args.recipe.display()))?;
    let mut recipe: ImportRecipe = toml::from_str(&recipe_text)
        .map_err(|error| format!("{}: {error}", args.recipe.display()))?;
    let command = command(&args);
    recipe.name = args.name.unwrap_or(recipe.name);
    recipe.version = args.version.unwrap_or(recipe.version);
    let place = args.out.join(recipe.name.as_str()).join(recipe.version.to_string());
    if place.exists() {
        return Err(PackageError::Exists { place: place.display().to_string() }.into());
    }
    let architecture = arch::find(&recipe.architecture.name)?;
    let import = architecture.import.ok_or_else(|| {
        format!("{} packages are trained, not imported: `maas train` makes one", architecture.name)
    })?;
    let beside = args.recipe.parent().unwrap_or(Path::new(""));
    let samples = if args.samples.is_empty() {
        recipe.samples.iter().map(|path| beside.join(path)).collect()
    } else {
        args.samples
    };
    let report = import(&mut ImportJob {
        labels: args.labels.or_else(|| recipe.labels.as_ref().map(|path| beside.join(path))),
        recipe,
        recipe_text,
        command,
        source_revision: crate::config::revision(),
        source: Source::new(&args.source),
        samples,
        out: args.out,
    })?;
    eprintln!("packed {} with digest {}", report.place.display(), report.digest);
    Ok(())
}

/// The command that makes this package again, for its receipt.
fn command(args: &Args) -> String {
    let mut command = format!(
        "maas import {} --recipe {} --out {}",
        args.source.display(),
        args.recipe.display(),
        args.out.display()
    );
    let mut add = |flag: &str, value: &dyn std::fmt::Display| {
        let _ = write!(command, " --{flag} {value}");
    };
    args.name.iter().for_each(|name| add("name", name));
    args.version.iter().for_each(|version| add("version", version));
    args.samples.iter().for_each(|path| add("sample", &path.display()));
    args.labels.iter().for_each(|path| add("labels", &path.display()));
    command
}
