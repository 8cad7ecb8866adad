//! The store: `<root>/<name>/<version>/`, read only.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cap_std::ambient_authority;
use cap_std::fs::Dir;

use crate::domain::{ModelName, Version};
use crate::package::{Package, PackageError};

/// A directory of packages.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    dir: Dir,
}

/// One version that the store holds, not yet opened.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct StoreEntry {
    pub name: ModelName,
    pub version: Version,
}

impl Store {
    /// # Errors
    /// [`PackageError::Read`] when `root` is not a directory that can be read.
    pub fn open(root: &Path) -> Result<Self, PackageError> {
        let dir = Dir::open_ambient_dir(root, ambient_authority())
            .map_err(|source| PackageError::Read { path: root.display().to_string(), source })?;
        Ok(Self { root: root.to_owned(), dir })
    }

    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Every version, by name and number. Directories whose names are not a model's or a version's
    /// are passed over.
    ///
    /// # Errors
    /// [`PackageError::Read`] when the store itself cannot be listed; a model's directory that cannot is
    /// logged and passed over.
    pub fn entries(&self) -> Result<Vec<StoreEntry>, PackageError> {
        let mut entries = Vec::new();
        for name in names(&self.dir, ".")? {
            let Ok(model) = name.parse::<ModelName>() else { continue };
            let versions = match names(&self.dir, &name) {
                Ok(versions) => versions,
                Err(error) => {
                    tracing::error!(model = %model, %error, "its versions cannot be listed");
                    continue;
                }
            };
            for place in versions {
                let Ok(version) = place.parse::<Version>() else { continue };
                // "01" is no version's place: there would be two places for one.
                if version.to_string() != place {
                    continue;
                }
                entries.push(StoreEntry { name: model.clone(), version });
            }
        }
        entries.sort();
        Ok(entries)
    }

    /// Opens one version and checks that its manifest says the name and version of its place.
    ///
    /// # Errors
    /// [`PackageError`] when it is refused.
    pub fn package(&self, entry: &StoreEntry) -> Result<Package, PackageError> {
        let place = format!("{}/{}", entry.name, entry.version);
        let dir = self
            .dir
            .open_dir(&place)
            .map_err(|source| PackageError::Read { path: place.clone(), source })?;
        let package = Package::open_dir(&dir)?;
        let manifest = package.label();
        if manifest == place {
            Ok(package)
        } else {
            Err(PackageError::Misplaced { place, manifest })
        }
    }
}

/// Every version in any of `stores`, with the store that holds it.
///
/// # Errors
/// [`PackageError::Twice`] when two stores hold the same version, [`PackageError::Read`] when a
/// directory cannot be listed.
pub fn entries_of(
    stores: impl IntoIterator<Item = Arc<Store>>,
) -> Result<Vec<(StoreEntry, Arc<Store>)>, PackageError> {
    let mut found: BTreeMap<StoreEntry, Arc<Store>> = BTreeMap::new();
    for store in stores {
        for entry in store.entries()? {
            if let Some(first) = found.get(&entry) {
                return Err(PackageError::Twice {
                    place: format!("{}/{}", entry.name, entry.version),
                    first: first.root.display().to_string(),
                    second: store.root.display().to_string(),
                });
            }
            found.insert(entry, Arc::clone(&store));
        }
    }
    Ok(found.into_iter().collect())
}

/// The names of the directories in `path`.
fn names(dir: &Dir, path: &str) -> Result<Vec<String>, PackageError> {
    let error = |source| PackageError::Read { path: path.to_owned(), source };
    let mut names = Vec::new();
    for entry in dir.read_dir(path).map_err(error)? {
        let entry = entry.map_err(error)?;
        if entry.file_type().map_err(error)?.is_dir()
            && let Ok(name) = entry.file_name().into_string()
        {
            names.push(name);
        }
    }
    Ok(names)
}
