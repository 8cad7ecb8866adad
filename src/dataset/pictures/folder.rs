//! A folder of PNG, JPEG and WebP pictures with a sub-folder for each class, read when they are asked for.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::dataset::pictures::part::Source;
use crate::dataset::pictures::{Sources, Wanted};
use crate::dataset::{BadSamples, DataError};
use crate::domain::MediaLimits;
use crate::media::picture::Picture;

/// Bytes of an encoded picture.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Folders below a class's are looked into, and no deeper.
const DEPTH: usize = 1;

/// Parts that lie apart are called so.
const TRAIN: &str = "train";
const VALIDATION: &str = "validation";
const TEST: &str = "test";

pub(super) fn lies_in(directory: &Path) -> bool {
    entries(directory).is_ok_and(|entries| entries.iter().any(|path| path.is_dir()))
}

/// Lists `directory`, or its `train`, `validation` and `test` where they are there.
pub(super) fn hold(
    directory: &Path,
    labels: Option<Vec<String>>,
    wanted: Wanted,
    bad: &mut BadSamples,
) -> Result<Sources, DataError> {
    let apart = |name: &str| Some(directory.join(name)).filter(|path| path.is_dir());
    let (train, validation, test) = (apart(TRAIN), apart(VALIDATION), apart(TEST));
    // Where a part lies apart, the rest is no place for classes.
    let train = if [&train, &validation, &test].iter().any(|part| part.is_some()) {
        only_parts(directory)?;
        train
    } else {
        Some(directory.to_owned())
    };
    let labels = match (labels, &train) {
        (Some(labels), _) => labels,
        (None, Some(train)) => classes(train)?,
        (None, None) => {
            let reason = format!("{} has no train folder to take them from", directory.display());
            return Err(DataError::key("labels", reason));
        }
    };
    let mut list = |path: Option<PathBuf>| {
        path.map(|path| -> Result<Arc<dyn Source>, DataError> {
            Ok(Arc::new(Files::list(&path, directory, &labels, bad)?))
        })
        .transpose()
    };
    if wanted == Wanted::Test && test.is_some() {
        let test = list(test)?;
        return Ok(Sources { train: None, validation: None, test, labels });
    }
    let (train, validation, test) = (list(train)?, list(validation)?, list(test)?);
    Ok(Sources { train, validation, test, labels })
}

/// Refuses a folder beside those of the parts: a misspelt one would vanish.
fn only_parts(directory: &Path) -> Result<(), DataError> {
    let beside = entries(directory).map_err(|source| DataError::read(directory, source))?;
    let other = |path: &&PathBuf| {
        path.is_dir() && ![TRAIN, VALIDATION, TEST].contains(&name(path).as_str())
    };
    match beside.iter().find(other) {
        Some(path) => Err(DataError::Format {
            place: directory.display().to_string(),
            expected: format!("the folders {TRAIN}, {VALIDATION} and {TEST}"),
            got: format!("{} beside them", name(path)),
        }),
        None => Ok(()),
    }
}

/// The names of the sub-folders, sorted.
fn classes(folder: &Path) -> Result<Vec<String>, DataError> {
    let folders = entries(folder).map_err(|source| DataError::read(folder, source))?;
    Ok(folders.iter().filter(|path| path.is_dir()).map(|path| name(path)).collect())
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// What lies in a folder and is not hidden, sorted by name.
fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let paths: io::Result<Vec<PathBuf>> =
        fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut paths = paths?;
    paths.retain(|path| !name(path).starts_with('.'));
    paths.sort_unstable();
    Ok(paths)
}

/// Adds every file in `folder` and in the folders below it. A folder too deep is a bad sample.
fn files(
    folder: &Path,
    depth: usize,
    found: &mut Vec<PathBuf>,
    bad: &mut BadSamples,
) -> Result<(), DataError> {
    for path in entries(folder).map_err(|source| DataError::read(folder, source))? {
        if !path.is_dir() {
            found.push(path);
        } else if depth > 0 {
            files(&path, depth - 1, found, bad)?;
        } else {
            let reason = "the folder lies too deep: expected pictures in a class's folder or in one below it";
            bad.admit::<()>(Err(of_no_use(&path, reason)))?;
        }
    }
    Ok(())
}

/// Where the pictures of a part lie.
struct Files {
    /// The digest is over paths below this.
    root: PathBuf,
    /// Class and path of each.
    list: Vec<(usize, PathBuf)>,
}

impl Files {
    fn list(
        folder: &Path,
        root: &Path,
        labels: &[String],
        bad: &mut BadSamples,
    ) -> Result<Self, DataError> {
        let mut list = Vec::new();
        let folders = entries(folder).map_err(|source| DataError::read(folder, source))?;
        for folder in folders {
            if !folder.is_dir() {
                bad.admit::<()>(Err(of_no_use(&folder, "it lies in no class's folder")))?;
                continue;
            }
            let mut found = Vec::new();
            files(&folder, DEPTH, &mut found, bad)?;
            let class = labels.iter().position(|label| *label == name(&folder));
            for path in found {
                let of_class = class.ok_or_else(|| outside(&path, &name(&folder), labels));
                list.extend(bad.admit(of_class)?.map(|class| (class, path)));
            }
        }
        Ok(Self { root: root.to_owned(), list })
    }

    fn read(&self, index: usize) -> Result<(Vec<u8>, Picture), DataError> {
        let path = &self.list[index].1;
        let sample = |reason| DataError::Sample { place: path.display().to_string(), reason };
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut bytes))
            .map_err(|error| sample(format!("it cannot be read: {error}")))?;
        let picture = Picture::decode(&bytes, &MediaLimits::default(), "the file")
            .map_err(|problem| sample(problem.detail))?;
        Ok((bytes, picture))
    }
}

fn outside(path: &Path, folder: &str, labels: &[String]) -> DataError {
    let reason = format!("the folder {folder} is no class: expected one of {}", labels.join(", "));
    of_no_use(path, &reason)
}

fn of_no_use(path: &Path, reason: &str) -> DataError {
    DataError::Sample { place: path.display().to_string(), reason: reason.to_owned() }
}

impl Source for Files {
    fn count(&self) -> usize {
        self.list.len()
    }

    fn label(&self, index: usize) -> usize {
        self.list[index].0
    }

    fn picture(&self, index: usize) -> Result<Picture, DataError> {
        self.read(index).map(|(_, picture)| picture)
    }

    fn place(&self, index: usize) -> String {
        self.list[index].1.display().to_string()
    }

    /// The path, a zero, and the SHA-256 of the file.
    fn examine(&self, index: usize) -> Result<Vec<u8>, DataError> {
        let (bytes, _) = self.read(index)?;
        let path = &self.list[index].1;
        let mut digested =
            path.strip_prefix(&self.root).unwrap_or(path).as_os_str().as_encoded_bytes().to_vec();
        digested.push(0);
        digested.extend_from_slice(&Sha256::digest(&bytes));
        Ok(digested)
    }
}
