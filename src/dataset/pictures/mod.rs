//! Labelled pictures: IDX files, CIFAR-10 batches, or a folder with a sub-folder for each class.

mod cifar10;
mod folder;
mod idx;
mod part;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::dataset::split::{Held, check_share, hold_out};
use crate::dataset::{BadSamples, DataError};
use crate::domain::Digest;
use part::Source;

pub use part::Part;

/// A recipe's `[data]`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Found out by what lies in the directory when it is not said.
    pub format: Option<Format>,
    pub directory: PathBuf,
    /// Names of the classes, in the order of their numbers. A folder's classes are the names of its
    /// sub-folders, sorted, when they are not said; CIFAR-10 has them in batches.meta.txt.
    pub labels: Option<Vec<String>>,
    /// The share of the training pictures that is measured on after each epoch and not learned from.
    #[serde(default)]
    pub validation: f64,
    /// The share of the training pictures that is measured on at the end, where the data has no test part.
    #[serde(default)]
    pub test: f64,
    /// Fixes which pictures are held out, whatever seed training has.
    #[serde(default)]
    pub seed: u64,
}

/// How pictures lie in a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// `train-images-idx3-ubyte` and its like.
    Idx,
    /// The binary version: `data_batch_1.bin` to `5` and `test_batch.bin`.
    Cifar10,
    /// A sub-folder for each class.
    Folder,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Idx => "IDX files",
            Self::Cifar10 => "CIFAR-10 batches",
            Self::Folder => "a folder for each class",
        })
    }
}

impl Format {
    fn of(directory: &Path) -> Result<Self, DataError> {
        [Self::Idx, Self::Cifar10, Self::Folder]
            .into_iter()
            .find(|format| match format {
                Self::Idx => idx::lies_in(directory),
                Self::Cifar10 => cifar10::lies_in(directory),
                Self::Folder => folder::lies_in(directory),
            })
            .ok_or_else(|| DataError::Format {
                place: directory.display().to_string(),
                expected: "a directory with IDX files (train-images-idx3-ubyte), CIFAR-10 batches \
                           (data_batch_1.bin) or a sub-folder for each class"
                    .to_owned(),
                got: if directory.is_dir() { "none of them" } else { "no directory" }.to_owned(),
            })
    }
}

/// Everything that training needs of a directory.
pub struct Pictures {
    pub format: Format,
    pub train: Part,
    /// `None` when none is asked for.
    pub validation: Option<Part>,
    pub test: Part,
    pub labels: Vec<String>,
    /// SHA-256 over the decompressed files in the order they are read (training before test, IDX pictures
    /// before labels), or, for a folder, over path and SHA-256 of every picture that is used.
    pub digest: Digest,
}

/// What a format holds before anything is drawn out of it.
struct Sources {
    train: Option<Arc<dyn Source>>,
    validation: Option<Arc<dyn Source>>,
    test: Option<Arc<dyn Source>>,
    labels: Vec<String>,
}

/// What is wanted of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    All,
    /// The training pictures only if the test pictures must be drawn out of them.
    Test,
}

/// Reads or lists what training needs of `directory`, looks at every picture once, and divides it.
///
/// # Errors
/// [`DataError`] naming the file, the number or the key that is of no use, or the part that is empty.
pub fn open(
    config: &Config,
    directory: &Path,
    bad: &mut BadSamples,
) -> Result<Pictures, DataError> {
    let mut hash = Sha256::new();
    let (format, held) = hold(config, directory, Wanted::All, &mut hash, bad)?;
    let labels = held.labels.clone();
    let [train, validation, test] = divide(config, held)?;
    let mut examine = |name, part: Option<Part>| {
        let part = part.map(|part| part.examined(labels.len(), &mut hash, bad)).transpose()?;
        filled(name, part, directory)
    };
    let (train, test) = (examine("training", train)?, examine("test", test)?);
    let validation = match validation {
        None => None,
        some => Some(examine("validation", some)?),
    };
    let digest = Digest::new(hash.finalize().into());
    Ok(Pictures { format, train, validation, test, labels, digest })
}

/// The test part alone, as [`open`] divides it, and the digest of its pictures. A directory that is not
/// divided is all test.
///
/// # Errors
/// As [`open`].
pub fn open_test(
    config: &Config,
    directory: &Path,
    bad: &mut BadSamples,
) -> Result<(Part, Digest), DataError> {
    let mut hash = Sha256::new();
    // Drawn after the test part, so it changes nothing there.
    let config = Config { validation: 0.0, ..config.clone() };
    let (_, held) = hold(&config, directory, Wanted::Test, &mut hash, bad)?;
    let labels = held.labels.len();
    let [train, _, test] = divide(&config, held)?;
    let part = test.or(train).map(|part| part.examined(labels, &mut hash, bad)).transpose()?;
    Ok((filled("test", part, directory)?, Digest::new(hash.finalize().into())))
}

fn hold(
    config: &Config,
    directory: &Path,
    wanted: Wanted,
    hash: &mut Sha256,
    bad: &mut BadSamples,
) -> Result<(Format, Sources), DataError> {
    check_share("validation", config.validation)?;
    check_share("test", config.test)?;
    if config.validation + config.test >= 1.0 {
        return Err(DataError::key("test", "with data.validation it leaves nothing to learn from"));
    }
    let format = config.format.map_or_else(|| Format::of(directory), Ok)?;
    let labels = config.labels.clone();
    let held = match format {
        Format::Idx => idx::hold(directory, labels, wanted, hash),
        Format::Cifar10 => cifar10::hold(directory, labels, wanted, hash, bad),
        Format::Folder => folder::hold(directory, labels, wanted, bad),
    }?;
    Ok((format, held))
}

/// The training, validation and test pictures: those that lie apart, and else a share drawn by the seed.
fn divide(config: &Config, held: Sources) -> Result<[Option<Part>; 3], DataError> {
    let all = |source: Arc<dyn Source>| {
        let chosen = (0..source.count()).collect();
        Part::new(source, chosen)
    };
    for (key, share, apart) in [
        ("validation", config.validation, held.validation.is_some()),
        ("test", config.test, held.test.is_some() && held.train.is_some()),
    ] {
        if apart && share > 0.0 {
            let reason =
                format!("{share} is to be drawn, but the data has a {key} part: leave it out");
            return Err(DataError::key(key, reason));
        }
    }
    let (validation, test) = (held.validation.map(all), held.test.map(all));
    let Some(train) = held.train else { return Ok([None, validation, test]) };
    let mut stay: Vec<usize> = (0..train.count()).collect();
    let mut draw = |part: Option<Part>, share, held| {
        if share == 0.0 {
            return part;
        }
        let (rest, drawn) = hold_out(&stay, share, config.seed, held);
        stay = rest;
        Some(Part::new(Arc::clone(&train), drawn))
    };
    let test = draw(test, config.test, Held::Test);
    let validation = draw(validation, config.validation, Held::Validation);
    Ok([Some(Part::new(train, stay)), validation, test])
}

fn filled(name: &'static str, part: Option<Part>, directory: &Path) -> Result<Part, DataError> {
    part.filter(|part| !part.is_empty()).ok_or_else(|| DataError::Empty {
        part: name,
        place: directory.display().to_string(),
        hint: match name {
            "test" => "add pictures, or let data.test draw a share of the training pictures",
            "validation" => "add pictures, or let data.validation draw a larger share",
            _ => "add pictures, or hold fewer out",
        }
        .to_owned(),
    })
}

/// Labels from the recipe, for a format that has numbers only.
fn said(labels: Option<Vec<String>>, instead: &str) -> Result<Vec<String>, DataError> {
    labels.ok_or_else(|| {
        let reason =
            format!("expected the names of the classes in the order of their numbers{instead}");
        DataError::key("labels", reason)
    })
}
