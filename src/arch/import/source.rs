//! Where an import reads from: one file, or the directory that a model was published as. Every file that
//! is read leaves its digest for the receipt.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::arch::import::ImportError;
use crate::checkpoint::{self, Checkpoint};
use crate::domain::Digest;
use crate::package::{read_sized, sha256};

/// The largest file of weights: four thousand million parameters.
const WEIGHTS_BYTES_MAX: u64 = 16 << 30;

/// The largest of all other files: a configuration, a tokenizer, labels, a sample.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// The files that hold the weights of a published directory, in the order of preference.
const WEIGHTS: &[&str] = &["model.safetensors", "model.bin", "pytorch_model.bin"];

/// A file of weights, or a directory with one and with what describes it.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    read: BTreeMap<String, Digest>,
}

impl Source {
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), read: BTreeMap::new() }
    }

    /// SHA-256 of every file that was read so far, by its name.
    #[must_use]
    pub fn digests(&self) -> &BTreeMap<String, Digest> {
        &self.read
    }

    /// The weights: the source itself where it is a file, else the directory's.
    ///
    /// # Errors
    /// [`ImportError`] when there are none, or they are of no known form.
    pub fn checkpoint(&mut self) -> Result<Checkpoint, ImportError> {
        let path = if self.path.is_dir() {
            let found = WEIGHTS.iter().map(|name| self.path.join(name)).find(|path| path.exists());
            found.ok_or_else(|| ImportError::File {
                path: self.path.display().to_string(),
                expected: format!("one of {} in it", WEIGHTS.join(", ")),
                got: "none of them".to_owned(),
            })?
        } else {
            self.path.clone()
        };
        let bytes = self.read(&path, &name_of(&path), WEIGHTS_BYTES_MAX)?;
        Ok(checkpoint::read(&path.display().to_string(), &bytes)?)
    }

    /// Whether the directory has a file of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.path.join(name).is_file()
    }

    /// A file of the directory.
    ///
    /// # Errors
    /// [`ImportError`] when the source is no directory, or the file is missing, too large or unreadable.
    pub fn file(&mut self, name: &str) -> Result<Bytes, ImportError> {
        let path = self.path.join(name);
        self.read(&path, name, FILE_BYTES_MAX)
    }

    /// A JSON file of the directory, such as `config.json`, as the type that says what is wanted of it.
    ///
    /// # Errors
    /// As [`Source::file`], and when it does not say what is wanted.
    pub fn json<T: serde::de::DeserializeOwned>(&mut self, name: &str) -> Result<T, ImportError> {
        let bytes = self.file(name)?;
        serde_json::from_slice(&bytes).map_err(|error| ImportError::File {
            path: self.path.join(name).display().to_string(),
            expected: "the JSON of a model of this architecture".to_owned(),
            got: error.to_string(),
        })
    }

    /// Any other file that the user named, such as the labels.
    ///
    /// # Errors
    /// As [`Source::file`].
    pub fn other(&mut self, path: &Path) -> Result<Bytes, ImportError> {
        self.read(path, &name_of(path), FILE_BYTES_MAX)
    }

    fn read(&mut self, path: &Path, name: &str, limit: u64) -> Result<Bytes, ImportError> {
        let bytes = read(path, limit)?;
        self.read.insert(name.to_owned(), sha256(&bytes));
        Ok(bytes)
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |name| name.display().to_string())
}

/// The bytes of a regular file of at most `limit` bytes.
pub(super) fn read(path: &Path, limit: u64) -> Result<Bytes, ImportError> {
    let error = |source| ImportError::Read { path: path.display().to_string(), source };
    // Looked at first: to open a pipe would wait for somebody to write into it.
    let metadata = std::fs::metadata(path).map_err(error)?;
    let refuse = |expected: String, got: String| {
        let path = path.display().to_string();
        Err(ImportError::File { path, expected, got })
    };
    if !metadata.is_file() {
        return refuse("a regular file".to_owned(), "something else".to_owned());
    }
    let size = metadata.len();
    let file = File::open(path).map_err(error)?;
    match read_sized(file, size, limit).map_err(error)? {
        Some(bytes) => Ok(bytes.into()),
        None => refuse(format!("at most {limit} bytes"), format!("{size}")),
    }
}

/// An input for a golden sample.
pub(super) fn sample(path: &Path) -> Result<Bytes, ImportError> {
    read(path, FILE_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_limit_and_a_pipe_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, b"12345").unwrap();
        assert_eq!(&read(&file, 5).unwrap()[..], b"12345");
        let error = read(&file, 4).unwrap_err().to_string();
        assert!(error.contains("at most 4 bytes, got 5"), "{error}");
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let error = read(&pipe, 5).unwrap_err().to_string();
        assert!(error.contains("a regular file"), "{error}");
    }
}
