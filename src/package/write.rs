//! Packing: a version directory appears whole, or not at all.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::domain::{Digest, ModelName};
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

/// Makes `<root>/<name>/`, so that it is there yet after a loss of power.
///
/// # Errors
/// [`PackageError::Write`] when it cannot be made.
pub fn make(root: &Path, name: &ModelName) -> Result<PathBuf, PackageError> {
    let place = root.join(name.as_str());
    let fresh = !root.exists();
    fs::create_dir_all(&place).map_err(|source| write_error(&place, source))?;
    sync_directory(root)?;
    if let Some(above) = root.parent().filter(|_| fresh) {
        sync_directory(above)?;
    }
    Ok(place)
}

/// Writes `<root>/<name>/<version>/` and returns its place and the package's digest. The files are
/// written under a temporary name, synced and renamed into place; after an error nothing is left of them.
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
    let written = write_all(&temporary, &draft.files, &text).and_then(|()| {
        fs::rename(&temporary, &place).map_err(|source| write_error(&place, source))
    });
    if written.is_err() {
        // On a full disk, what was written of it is in the way.
        let _ = fs::remove_dir_all(&temporary);
    }
    written?;
    sync_directory(&parent)?;
    sync_directory(root)?;
    Ok((place, sha256(text.as_bytes())))
}

fn write_all(
    directory: &Path,
    files: &BTreeMap<String, Vec<u8>>,
    manifest: &str,
) -> Result<(), PackageError> {
    for (path, bytes) in files {
        write_synced(&directory.join(path), bytes)?;
    }
    write_synced(&directory.join(MANIFEST_FILE), manifest.as_bytes())?;
    // A directory's entries are on disk only when it is synced itself.
    for path in files.keys().filter_map(|path| Path::new(path).parent()) {
        sync_directory(&directory.join(path))?;
    }
    sync_directory(directory)
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
    // What has one relative name lies in the directory where the program runs.
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(path).and_then(|dir| dir.sync_all()).map_err(|source| write_error(path, source))
}

fn write_error(path: &Path, source: std::io::Error) -> PackageError {
    PackageError::Write { path: path.display().to_string(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = r#"
        format = 1
        name = "tiny"
        version = 1
        task = "none"
        description = ""
        author = ""
        licence = ""
        created = "2026-11-24T09:14:00Z"
        architecture = { name = "none" }
        inputs = []
        outputs = []
        files = {}
    "#;

    fn written(root: &Path, paths: &[&str]) -> Result<(PathBuf, Digest), PackageError> {
        let files = paths.iter().map(|path| ((*path).to_owned(), b"bytes".to_vec()));
        let manifest: Manifest = toml::from_str(MANIFEST).unwrap();
        let draft = Draft { files: files.collect(), manifest };
        make(root, &draft.manifest.name)?;
        write(root, &draft)
    }

    #[test]
    fn a_package_that_cannot_be_written_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("new/store");
        // A file where another file's directory would be.
        let error = written(&root, &["a", "a/b"]).unwrap_err().to_string();
        assert!(error.contains(".1.partial/a/b"), "{error}");
        assert_eq!(fs::read_dir(root.join("tiny")).unwrap().count(), 0);
        let (place, _) = written(&root, &["a", "b/c"]).unwrap();
        assert_eq!(place, root.join("tiny/1"));
        assert_eq!(fs::read_dir(root.join("tiny")).unwrap().count(), 1);
        let error = written(&root, &["a"]).unwrap_err();
        assert!(matches!(error, PackageError::Exists { .. }), "{error}");
    }
}
