//! The one place that asks the environment and the file system for settings.

use std::path::{Path, PathBuf};

use crate::config::{Faults, File, Settings, load};

/// Read when neither a flag nor a variable names a file, and it exists.
const DEFAULT_FILE: &str = "config/maas.toml";

/// What the command line says of settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// The settings file.
    pub file: Option<PathBuf>,
    /// Keys and their values.
    pub values: Vec<(String, String)>,
}

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("the settings file {path} cannot be read: {source}")]
    File { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Faults(#[from] Faults),
}

/// Settings from the file, the environment of this process and the command line.
///
/// # Errors
/// [`ReadError`] when a file that was named cannot be read, or anything in the settings is wrong.
pub fn read(overrides: &Overrides) -> Result<Settings, ReadError> {
    let named = overrides.file.clone().or_else(|| std::env::var_os("MAAS_CONFIG").map(Into::into));
    let path = named.or_else(|| Some(DEFAULT_FILE.into()).filter(|path: &PathBuf| path.exists()));
    let text = path.as_deref().map(read_file).transpose()?;
    let name = path.map(|path| path.display().to_string()).unwrap_or_default();
    let file = text.as_deref().map(|text| File { name: &name, text });
    let environment = std::env::vars_os().map(|(name, value)| {
        (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())
    });
    Ok(load(file, environment, &overrides.values)?)
}

fn read_file(path: &Path) -> Result<String, ReadError> {
    std::fs::read_to_string(path)
        .map_err(|source| ReadError::File { path: path.to_owned(), source })
}
