//! The keys file: one line a key, `<sha256 hex> <scopes> [name]`, where scopes are comma-separated.

use std::io;
use std::path::Path;
use std::str::FromStr;

use subtle::ConstantTimeEq;

use crate::access::{Caller, Scope};
use crate::domain::Digest;

/// The most keys a file may hold: each request looks at all of them.
const KEYS_MAX: usize = 10_000;

/// One key: what it may do, and what it is called in people's talk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    digest: Digest,
    scopes: Vec<Scope>,
    name: String,
}

impl Key {
    #[must_use]
    pub fn new(digest: Digest, scopes: Vec<Scope>, name: &str) -> Self {
        Self { digest, scopes, name: name.to_owned() }
    }

    #[must_use]
    pub fn has(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    /// Whoever holds it, for what one caller may ask for.
    #[must_use]
    pub fn holder(&self) -> Caller {
        Caller::Key(self.digest)
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Compares in constant time, so that timing says nothing about a stored digest.
    pub(super) fn is(&self, shown: &Digest) -> bool {
        self.digest.as_bytes().ct_eq(shown.as_bytes()).into()
    }
}

/// Why a keys file was refused. Texts never repeat a line: it may hold a key by mistake.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    #[error("the keys file {path} cannot be read: {source}")]
    Read { path: String, source: io::Error },
    #[error("the keys file is not usable: {}", .0.join("; "))]
    Lines(Vec<String>),
}

/// All keys of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keys(Vec<Key>);

impl Keys {
    /// Reads a keys file.
    ///
    /// # Errors
    /// [`KeysError::Read`], or [`KeysError::Lines`] with every bad line by its number.
    pub fn read(path: &Path) -> Result<Self, KeysError> {
        std::fs::read_to_string(path)
            .map_err(|source| KeysError::Read { path: path.display().to_string(), source })?
            .parse()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Looks at every key, always: where a match lies does not show in the time it takes.
    pub(super) fn find(&self, shown: &Digest) -> Option<&Key> {
        self.0.iter().fold(None, |found, key| if key.is(shown) { Some(key) } else { found })
    }
}

impl FromStr for Keys {
    type Err = KeysError;

    fn from_str(text: &str) -> Result<Self, KeysError> {
        let mut keys: Vec<Key> = Vec::new();
        let mut faults = Vec::new();
        let lines = text.lines().enumerate().filter(|(_, line)| {
            let line = line.trim();
            !line.is_empty() && !line.starts_with('#')
        });
        for (index, line) in lines {
            match line.parse::<Key>() {
                Ok(key) if keys.iter().any(|other| other.digest == key.digest) => {
                    faults.push(format!("line {} repeats a key", index + 1));
                }
                Ok(key) => keys.push(key),
                Err(reason) => faults.push(format!("line {}: {reason}", index + 1)),
            }
            if keys.len() > KEYS_MAX {
                faults.push(format!("more than {KEYS_MAX} keys"));
            }
            if faults.len() >= 20 {
                break;
            }
        }
        if faults.is_empty() { Ok(Self(keys)) } else { Err(KeysError::Lines(faults)) }
    }
}

impl FromStr for Key {
    type Err = &'static str;

    fn from_str(line: &str) -> Result<Self, &'static str> {
        let mut words = line.split_whitespace();
        let digest = words
            .next()
            .and_then(|word| word.parse().ok())
            .ok_or("expected the SHA-256 of a key as 64 hexadecimal digits first")?;
        let scopes = words
            .next()
            .and_then(|word| word.split(',').map(|scope| scope.parse().ok()).collect())
            .ok_or("expected scopes second: inference, metrics or admin, separated by commas")?;
        Ok(Self { digest, scopes, name: words.collect::<Vec<_>>().join(" ") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_keys_reads() {
        let text = format!(
            "# ours\n\n{} inference,metrics the web shop\n  {} admin\n",
            "ab".repeat(32),
            "CD".repeat(32)
        );
        let keys: Keys = text.parse().unwrap();
        assert_eq!(keys.len(), 2);
        assert_eq!(keys.0[0].name(), "the web shop");
        assert!(keys.0[0].has(Scope::Metrics) && !keys.0[0].has(Scope::Admin));
        assert!(keys.0[1].has(Scope::Admin) && !keys.0[1].has(Scope::Inference));
    }

    #[test]
    fn bad_lines_are_named_by_number_and_never_shown() {
        let good = "ab".repeat(32);
        let text =
            format!("{good} inference\nsecret-key inference\n{good} root\n{good} admin\n{good}\n");
        let error = text.parse::<Keys>().unwrap_err().to_string();
        for line in ["line 2:", "line 3:", "line 4 repeats", "line 5:"] {
            assert!(error.contains(line), "{error}");
        }
        assert!(!error.contains("secret-key") && !error.contains(&good), "{error}");
    }
}
