//! Packing: a version directory appears whole, or not at all.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::domain::Digest;
use crate::package::{MANIFEST_FILE, Manifest, PackageError, sha256};

/// A package before it is packed: `manifest.files` is filled in from `files`.
#[derive(Debug, Clone)]
pub struct Draft {
    pub manifest: Manifest,
    /// Bytes by path, `golden/…` included.
    pub files: BTreeMap<String, Vec<u8>>,
}

impl Draft {
    /// The manifest with the digests of the files, and its text.
    pub(super) fn sealed(&self) -> Result<(Manifest, String), PackageError> {
        let digests = self.files.iter().map(|(path, bytes)| (path.clone(), sha256(bytes)));
        let manifest = Manifest { files: digests.collect(), ..self.manifest.clone() };
        let text = toml::to_string(&manifest)
            .map_err(|error| PackageError::Manifest(error.to_string()))?;
        Ok((manifest, text))
    }
}

/// Writes `<root>/<name>/<version>/` and returns its place and the package's digest. The files are
/// written under a temporary name, synced and renamed into place.
///
/// # Errors
/// [`PackageError::Exists`] when the version is there already, [`PackageError::Write`] when a file
/// cannot be written.
pub fn write(root: &Path, draft: &Draft) -> Result<(PathBuf, Digest), PackageError> {
    let (manifest, text) = draft.sealed()?;
    let parent = root.join(manifest.name.as_str());
    let place = parent.join(manifest.version.to_string());
    if place.exists() {
        return Err(PackageError::Exists { place: place.display().to_string() });
    }
    let temporary = parent.join(format!(".{}.partial", manifest.version));
    let _ = fs::remove_dir_all(&temporary);
    for (path, bytes) in &draft.files {
        write_synced(&temporary.join(path), bytes)?;
    }
    write_synced(&temporary.join(MANIFEST_FILE), text.as_bytes())?;
    // A directory's entries are on disk only when it is synced itself.
    for path in draft.files.keys().filter_map(|path| Path::new(path).parent()) {
        sync_directory(&temporary.join(path))?;
    }
    sync_directory(&temporary)?;
    fs::rename(&temporary, &place).map_err(|source| write_error(&place, source))?;
    sync_directory(&parent)?;
    sync_directory(root)?;
    Ok((place, sha256(text.as_bytes())))
}

/// Puts a file of these bytes in the place of the one at `path`: whoever looks finds one or the other, whole.
///
/// # Errors
/// [`PackageError::Write`] when it cannot be written; the one before is there yet.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), PackageError> {
    let temporary = path.with_added_extension("partial");
    let written = write_synced(&temporary, bytes)
        .and_then(|()| fs::rename(&temporary, path).map_err(|source| write_error(path, source)));
    if written.is_err() {
        // On a full disk, what was written of it is in the way.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    path.parent().map_or(Ok(()), sync_directory)
}

fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), PackageError> {
    let write = || {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|source| write_error(path, source))
}

fn sync_directory(path: &Path) -> Result<(), PackageError> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(|source| write_error(path, source))
}

fn write_error(path: &Path, source: std::io::Error) -> PackageError {
    PackageError::Write { path: path.display().to_string(), source }
}
