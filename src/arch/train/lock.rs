//! One run at a time makes a version: two would write one checkpoint.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use crate::arch::train::TrainError;
use crate::domain::{ModelName, Version};

/// The right to make a version. It ends with the process, however that ends.
pub struct Lock {
    path: PathBuf,
    /// The system's lock goes when it is closed.
    _file: File,
}

impl Lock {
    /// Takes the file `<out>/<name>/.<version>.lock`; its directory is there.
    ///
    /// # Errors
    /// [`TrainError::Locked`] when another run has it, or it cannot be made.
    pub fn take(out: &Path, name: &ModelName, version: Version) -> Result<Self, TrainError> {
        let path = out.join(name.as_str()).join(format!(".{version}.lock"));
        let refuse = |reason: String| TrainError::Locked { path: path.clone(), reason };
        let file = File::options().create(true).append(true).open(&path);
        let file = file.map_err(|error| refuse(error.to_string()))?;
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => refuse("another run makes this version now".to_owned()),
            TryLockError::Error(error) => refuse(error.to_string()),
        })?;
        Ok(Self { path, _file: file })
    }

    /// Removes the file, once the version's directory is there: who has opened it by then takes a lock that nobody
    /// else sees, and finds that directory.
    pub fn done(self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_has_one_run_at_a_time() {
        let out = tempfile::tempdir().unwrap();
        let name: ModelName = "bowl".parse().unwrap();
        let take = |version: &str| Lock::take(out.path(), &name, version.parse().unwrap());
        assert!(take("1").err().unwrap().to_string().contains(".1.lock"));
        fs::create_dir(out.path().join("bowl")).unwrap();
        let first = take("1").unwrap();
        assert!(take("1").err().unwrap().to_string().contains("another run"));
        let second = take("2").unwrap();
        drop(first);
        take("1").unwrap().done();
        second.done();
        assert_eq!(fs::read_dir(out.path().join("bowl")).unwrap().count(), 0);
    }
}
