//! Who may ask for what. Keys are 256 random bits; only their SHA-256 is stored.

mod admin_key;
mod keys;
mod policy;
mod rate;

pub use admin_key::{AdminKeyError, admin_key};
pub use keys::{Key, Keys, KeysError};
pub use policy::{BindRefused, Decision, Need, Scope, allows, check_bind};

pub use rate::{Caller, Rates};

use crate::domain::Digest;

/// The keys of this server, and whether any is needed for inference.
#[derive(Debug, Default)]
pub struct Access {
    keys: Keys,
    /// The key in `<state>/admin.key`.
    admin: Option<Key>,
}

impl Access {
    #[must_use]
    pub fn new(keys: Keys, admin: Option<Key>) -> Self {
        Self { keys, admin }
    }

    /// Whether inference and metrics need no key: they do as soon as one key exists. The admin key
    /// does not count, for every server has one.
    #[must_use]
    pub fn open(&self) -> bool {
        self.keys.is_empty()
    }

    /// The key that a caller shows, if it is one of ours.
    #[must_use]
    pub fn find(&self, secret: &str) -> Option<&Key> {
        let shown = digest(secret);
        self.keys.find(&shown).or_else(|| self.admin.as_ref().filter(|key| key.is(&shown)))
    }
}

/// How a key is stored. A plain hash suffices: 256 random bits cannot be guessed, and a password
/// hash on each request would be a way to stop the server.
fn digest(secret: &str) -> Digest {
    use sha2::Digest as _;
    Digest::new(sha2::Sha256::digest(secret.as_bytes()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_by_what_it_hashes_to() {
        let keys: Keys = format!("{} inference", digest("sesame")).parse().unwrap();
        let admin = Key::new(digest("root"), vec![Scope::Admin], "admin");
        let access = Access::new(keys, Some(admin));
        assert!(!access.open());
        assert!(access.find("sesame").unwrap().has(Scope::Inference));
        assert!(access.find("root").unwrap().has(Scope::Admin));
        assert!(access.find("Sesame").is_none());
        assert!(access.find("").is_none());
    }

    #[test]
    fn only_the_admin_key_leaves_inference_open() {
        let admin = Key::new(digest("root"), vec![Scope::Admin], "admin");
        assert!(Access::new(Keys::default(), Some(admin)).open());
    }
}
