//! Opening a package: every file is read once, hashed, and kept until the architecture has taken it.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use cap_std::ambient_authority;
use cap_std::fs::Dir;

use crate::domain::Digest;
use crate::package::manifest::FORMAT;
use crate::package::{Contents, Draft, MANIFEST_FILE, Manifest, sha256};

/// A manifest is a page of text; a larger file is not one.
const MANIFEST_BYTES_MAX: u64 = 4 << 20;

/// The largest file: weights of four thousand million parameters.
const FILE_BYTES_MAX: u64 = 16 << 30;

/// Why a package was refused.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    #[error("{path} cannot be read: {source}")]
    Read { path: String, source: std::io::Error },
    #[error("{path} cannot be written: {source}")]
    Write { path: String, source: std::io::Error },
    #[error("{path} has {got} bytes: at most {limit} are read")]
    TooLarge { path: String, got: u64, limit: u64 },
    #[error("{path} is not a regular file")]
    NotAFile { path: String },
    #[error("manifest.toml is not a manifest: {0}")]
    Manifest(String),
    #[error("manifest.toml says format {got}: this program reads format {FORMAT}")]
    Format { got: u32 },
    #[error("{path} has SHA-256 {got}: the manifest says {expected}")]
    Digest { path: String, expected: Digest, got: Digest },
    #[error("{path} is not listed in the manifest's [files]")]
    Unlisted { path: String },
    #[error("the package lies in {place}, but its manifest says {manifest}")]
    Misplaced { place: String, manifest: String },
    #[error(
        "{place} lies in {first} and in {second}: a version has one place, so remove one of them"
    )]
    Twice { place: String, first: String, second: String },
    #[error("{place} exists already: a version is immutable, so pack a new one")]
    Exists { place: String },
}

/// A package whose files all have the digests that its manifest says.
#[derive(Debug)]
pub struct Package {
    pub manifest: Manifest,
    /// SHA-256 of the manifest's bytes.
    pub digest: Digest,
    files: BTreeMap<String, Contents>,
}

impl Package {
    /// Reads the package in the directory `path`.
    ///
    /// # Errors
    /// [`PackageError`] when a file is missing, unlisted or not what the manifest says.
    pub fn open(path: &Path) -> Result<Self, PackageError> {
        let dir = Dir::open_ambient_dir(path, ambient_authority())
            .map_err(|source| PackageError::Read { path: path.display().to_string(), source })?;
        Self::open_dir(&dir)
    }

    /// As [`Package::open`], from a directory handle: no path in the manifest, and no symbolic link,
    /// can lead out of it.
    ///
    /// # Errors
    /// As [`Package::open`].
    pub fn open_dir(dir: &Dir) -> Result<Self, PackageError> {
        let (bytes, digest) = read_file(dir, MANIFEST_FILE, MANIFEST_BYTES_MAX)?;
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| PackageError::Manifest("it is not UTF-8".to_owned()))?;
        let manifest: Manifest =
            toml::from_str(text).map_err(|error| PackageError::Manifest(error.to_string()))?;
        if manifest.format != FORMAT {
            return Err(PackageError::Format { got: manifest.format });
        }
        let mut files = BTreeMap::new();
        for (path, &expected) in &manifest.files {
            let (bytes, got) = read_file(dir, path, FILE_BYTES_MAX)?;
            if got != expected {
                return Err(PackageError::Digest { path: path.clone(), expected, got });
            }
            files.insert(path.clone(), bytes);
        }
        Ok(Self { manifest, digest, files })
    }

    /// A package that is not on a disk yet, as it will be when `draft` is written.
    ///
    /// # Errors
    /// [`PackageError::Manifest`] when the manifest cannot be written as TOML.
    pub fn from_draft(draft: Draft) -> Result<Self, PackageError> {
        let (manifest, text) = draft.sealed()?;
        let contents = |(path, bytes): (String, Vec<u8>)| (path, Contents::from(&bytes[..]));
        let files = draft.files.into_iter().map(contents).collect();
        Ok(Self { manifest, digest: sha256(text.as_bytes()), files })
    }

    /// The way back, to add files.
    #[must_use]
    pub fn into_draft(self) -> Draft {
        let files = self.files.into_iter().map(|(path, contents)| (path, contents.to_vec()));
        Draft { manifest: self.manifest, files: files.collect() }
    }

    /// Name and version, as a path: `fashion/1`.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{}/{}", self.manifest.name, self.manifest.version)
    }

    /// The bytes of a listed file.
    ///
    /// # Errors
    /// [`PackageError::Unlisted`] when the manifest does not list it.
    pub fn file(&self, path: &str) -> Result<&[u8], PackageError> {
        self.files
            .get(path)
            .map(|contents| &**contents)
            .ok_or_else(|| PackageError::Unlisted { path: path.to_owned() })
    }

    /// Gives away a listed file, which the package then has no more.
    ///
    /// # Errors
    /// [`PackageError::Unlisted`] when the manifest does not list it, or it was given away.
    pub fn take(&mut self, path: &str) -> Result<Contents, PackageError> {
        self.files.remove(path).ok_or_else(|| PackageError::Unlisted { path: path.to_owned() })
    }
}

fn read_file(dir: &Dir, path: &str, limit: u64) -> Result<(Contents, Digest), PackageError> {
    let error = |source| PackageError::Read { path: path.to_owned(), source };
    // Looked at first: to open a pipe would wait for somebody to write into it.
    let metadata = dir.metadata(path).map_err(error)?;
    if !metadata.is_file() {
        return Err(PackageError::NotAFile { path: path.to_owned() });
    }
    let size = metadata.len();
    let file = dir.open(path).map_err(error)?;
    Contents::read(file, size, limit).map_err(error)?.ok_or_else(|| PackageError::TooLarge {
        path: path.to_owned(),
        got: size,
        limit,
    })
}

/// The first `size` bytes of a file; nothing where they are more than `limit`, or than there is memory for.
/// A file that grows while it is read is cut off at the size it had; its digest then differs.
///
/// # Errors
/// When it cannot be read.
pub fn read_sized(file: impl Read, size: u64, limit: u64) -> std::io::Result<Option<Vec<u8>>> {
    if size > limit {
        return Ok(None);
    }
    let mut bytes: Vec<u8> = Vec::new();
    if !usize::try_from(size).is_ok_and(|n| bytes.try_reserve_exact(n).is_ok()) {
        return Ok(None);
    }
    file.take(size).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}
