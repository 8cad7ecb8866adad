//! The admin key: made at the first start, kept in a file that only the server's user can read.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rand::TryRng;
use rand::rngs::SysRng;

use crate::access::{Key, Scope, digest};

const FILE: &str = "admin.key";

#[derive(Debug, thiserror::Error)]
pub enum AdminKeyError {
    #[error("the admin key {path} cannot be read or made: {source}")]
    File { path: PathBuf, source: io::Error },
    #[error("the system gives no random numbers for the admin key")]
    Random,
    #[error("the admin key {path} is shorter than 32 characters: remove the file to get a new one")]
    Short { path: PathBuf },
}

/// The key in `<state>/admin.key`, which is made when it is not there: 256 random bits as
/// hexadecimal digits, mode 0600. The log says where it lies, never what it is.
///
/// # Errors
/// [`AdminKeyError`] when the file cannot be read or made, or holds something too short to be a key.
pub fn admin_key(state: &Path) -> Result<Key, AdminKeyError> {
    let path = state.join(FILE);
    let failed = |source| AdminKeyError::File { path: path.clone(), source };
    let secret = match fs::read_to_string(&path) {
        Ok(secret) => secret,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let secret = random_secret()?;
            create(state, &path, &secret).map_err(failed)?;
            tracing::info!(path = %path.display(), "made an admin key");
            secret
        }
        Err(error) => return Err(failed(error)),
    };
    let secret = secret.trim();
    if secret.len() < 32 {
        return Err(AdminKeyError::Short { path });
    }
    Ok(Key::new(digest(secret), vec![Scope::Admin], "admin"))
}

fn random_secret() -> Result<String, AdminKeyError> {
    let mut bytes = [0_u8; 32];
    SysRng.try_fill_bytes(&mut bytes).map_err(|_| AdminKeyError::Random)?;
    Ok(crate::domain::Digest::new(bytes).to_string())
}

/// Writes the whole file under another name first: a crash never leaves half a key.
fn create(state: &Path, path: &Path, secret: &str) -> io::Result<()> {
    fs::create_dir_all(state)?;
    let draft = state.join(format!(".{FILE}.{}", std::process::id()));
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&draft)?;
    writeln!(file, "{secret}")?;
    file.sync_all()?;
    fs::rename(&draft, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once_and_only_its_owner_reads_it() {
        let state = tempfile::tempdir().unwrap();
        let place = state.path().join("new");
        let first = admin_key(&place).unwrap();
        assert_eq!(admin_key(&place).unwrap(), first);
        assert!(first.has(Scope::Admin) && !first.has(Scope::Inference));
        let secret = fs::read_to_string(place.join(FILE)).unwrap();
        assert_eq!(secret.trim().len(), 64);
        assert!(first.is(&digest(secret.trim())));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(place.join(FILE)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        assert_eq!(fs::read_dir(&place).unwrap().count(), 1, "the draft is gone");
    }

    #[test]
    fn a_short_key_is_refused() {
        let state = tempfile::tempdir().unwrap();
        fs::write(state.path().join(FILE), "changeme\n").unwrap();
        assert!(matches!(admin_key(state.path()), Err(AdminKeyError::Short { .. })));
    }
}
