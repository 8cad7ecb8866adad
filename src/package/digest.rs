//! SHA-256 in the domain's form.

use sha2::{Digest as _, Sha256};

use crate::domain::Digest;

/// The SHA-256 of `bytes` (FIPS 180-4).
#[must_use]
pub fn sha256(bytes: &[u8]) -> Digest {
    Digest::new(Sha256::digest(bytes).into())
}
