//! CIFAR-10 in its binary version (Krizhevsky 2009): records of a label and three planes of 32 × 32.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::dataset::pictures::part::Source;
use crate::dataset::pictures::{Sources, Wanted, said};
use crate::dataset::{BadSamples, DataError, Store};
use crate::media::picture::Picture;

const SIDE: u32 = 32;
const PLANE: usize = (SIDE * SIDE) as usize;
const RECORD: usize = 1 + 3 * PLANE;

/// A batch has 10 000 records; a file may hold several batches in one.
const RECORDS_MAX: usize = 100_000;

const BATCHES: std::ops::RangeInclusive<u8> = 1..=5;
const TEST: &str = "test_batch.bin";
const NAMES: &str = "batches.meta.txt";

pub(super) fn lies_in(directory: &Path) -> bool {
    directory.join(TEST).is_file() || directory.join(batch(1)).is_file()
}

fn batch(number: u8) -> String {
    format!("data_batch_{number}.bin")
}

/// Reads the batches that are there and the test batch.
pub(super) fn hold(
    directory: &Path,
    labels: Option<Vec<String>>,
    wanted: Wanted,
    hash: &mut Sha256,
    bad: &mut BadSamples,
) -> Result<Sources, DataError> {
    let labels = match labels {
        None => names(directory)?,
        said => said,
    };
    let labels = said(labels, ", or the file batches.meta.txt")?;
    let mut train: Option<Arc<dyn Source>> = None;
    if wanted == Wanted::All {
        train = Some(Arc::new(Records::read(directory, &batches(directory)?, hash, bad)?));
    }
    let test = Records::read(directory, &[TEST.to_owned()], hash, bad)?;
    Ok(Sources { train, validation: None, test: Some(Arc::new(test)), labels })
}

/// The files of training pictures: the first at least, and none after a gap.
fn batches(directory: &Path) -> Result<Vec<String>, DataError> {
    let there = |number: &u8| directory.join(batch(*number)).is_file();
    let last = BATCHES.rev().find(there).unwrap_or(1);
    match (1..last).find(|number| !there(number)) {
        Some(gap) => Err(DataError::Format {
            place: directory.display().to_string(),
            expected: format!("every batch before {}", batch(last)),
            got: format!("no {}", batch(gap)),
        }),
        None => Ok((1..=last).map(batch).collect()),
    }
}

/// `None` where there is no such file.
fn names(directory: &Path) -> Result<Option<Vec<String>>, DataError> {
    let path = directory.join(NAMES);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(DataError::read(&path, error)),
    };
    let names = text.lines().map(str::trim).filter(|line| !line.is_empty());
    Ok(Some(names.map(str::to_owned).collect()))
}

/// The records of one or several files.
struct Records {
    /// Each file with the number of records up to its end.
    files: Vec<(PathBuf, usize)>,
    /// The class of each.
    labels: Vec<u8>,
    /// Three planes each.
    pixels: Store<u8>,
}

impl Records {
    fn read(
        directory: &Path,
        names: &[String],
        hash: &mut Sha256,
        bad: &mut BadSamples,
    ) -> Result<Self, DataError> {
        let mut records = Self { files: Vec::new(), labels: Vec::new(), pixels: Store::default() };
        for name in names {
            let path = directory.join(name);
            let limit = (RECORDS_MAX * RECORD + 1) as u64;
            let mut read = Vec::new();
            File::open(&path)
                .and_then(|file| file.take(limit).read_to_end(&mut read))
                .map_err(|source| DataError::read(&path, source))?;
            if read.is_empty() || read.len() > RECORDS_MAX * RECORD {
                return Err(DataError::Format {
                    place: path.display().to_string(),
                    expected: format!("1 to {RECORDS_MAX} records of {RECORD} bytes each"),
                    got: format!("{} bytes", read.len()),
                });
            }
            hash.update(&read);
            let (whole, torn) = read.as_chunks::<RECORD>();
            if !torn.is_empty() {
                bad.admit::<()>(Err(cut_off(&path, whole.len(), torn.len())))?;
            }
            for [label, pixels @ ..] in whole {
                records.labels.push(*label);
                records.pixels.push(pixels)?;
            }
            records.files.push((path, records.labels.len()));
        }
        Ok(records)
    }
}

/// The last picture of a file that ends too early, after so many `whole` ones.
fn cut_off(path: &Path, whole: usize, bytes: usize) -> DataError {
    DataError::Sample {
        place: format!("{}, picture {}", path.display(), whole + 1),
        reason: format!("the file is cut off: {bytes} of its {RECORD} bytes are there"),
    }
}

impl Source for Records {
    fn count(&self) -> usize {
        self.labels.len()
    }

    fn label(&self, index: usize) -> usize {
        self.labels[index].into()
    }

    fn picture(&self, index: usize) -> Result<Picture, DataError> {
        let planes = self.pixels.get(index * 3 * PLANE..(index + 1) * 3 * PLANE)?;
        let (red, rest) = planes.split_at(PLANE);
        let (green, blue) = rest.split_at(PLANE);
        let pixels = red.iter().zip(green).zip(blue).flat_map(|((&r, &g), &b)| [r, g, b]).collect();
        Picture::rgb(SIDE, SIDE, pixels).ok_or_else(|| DataError::Sample {
            place: self.place(index),
            reason: "no 32 x 32 pixels".to_owned(),
        })
    }

    fn place(&self, index: usize) -> String {
        let at = self.files.partition_point(|(_, end)| *end <= index);
        let before = at.checked_sub(1).map_or(0, |before| self.files[before].1);
        let path = self.files.get(at).map_or(Path::new(""), |(path, _)| path.as_path());
        format!("{}, picture {}", path.display(), index - before + 1)
    }

    /// Any bytes are pixels, and the digest is over the whole files.
    fn examine(&self, _: usize) -> Result<Vec<u8>, DataError> {
        Ok(Vec::new())
    }
}
