//! Names that were checked once, at the edge, and are trusted from there on.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a name, version or digest was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, got {got:?}")]
pub struct IdError {
    pub expected: &'static str,
    pub got: String,
}

impl IdError {
    pub(crate) fn new(expected: &'static str, got: &str) -> Self {
        // A hostile name may be as long as a URL: an error text never repeats all of it.
        Self { expected, got: got.chars().take(80).collect() }
    }
}

/// A model's name: `^[a-z0-9][a-z0-9._-]{0,127}$`. It can never leave a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModelName(String);

impl ModelName {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ModelName {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let bytes = text.as_bytes();
        let good = bytes.len() <= 128
            && bytes.first().is_some_and(|&b| plain(b))
            && bytes.iter().all(|&b| plain(b) || matches!(b, b'.' | b'_' | b'-'));
        if good {
            Ok(Self(text.to_owned()))
        } else {
            Err(IdError::new(
                "a model name: 1 to 128 of a-z 0-9 . _ - that starts with a letter or digit",
                text,
            ))
        }
    }
}

/// A package's version: a positive integer of at most nine digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Version(u32);

impl Version {
    #[must_use]
    pub fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for Version {
    type Error = IdError;

    fn try_from(number: u32) -> Result<Self, IdError> {
        if (1..=999_999_999).contains(&number) {
            Ok(Self(number))
        } else {
            Err(IdError::new("a version: an integer from 1 to 999999999", &number.to_string()))
        }
    }
}

impl FromStr for Version {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let digits = (1..=9).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<u32>()
            .ok()
            .filter(|_| digits)
            .and_then(|number| Self::try_from(number).ok())
            .ok_or_else(|| IdError::new("a version: an integer from 1 to 999999999", text))
    }
}

/// A SHA-256, shown as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

impl Digest {
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for Digest {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let bad = || IdError::new("a SHA-256 as 64 hexadecimal digits", text);
        if text.len() != 64 || !text.is_ascii() {
            return Err(bad());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| bad())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| bad())?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0; 64];
        hex(&self.0, &mut digits);
        f.write_str(str::from_utf8(&digits).unwrap_or_default())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What one request is called in answers, headers and logs: printable ASCII, at most 128 characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RequestId(String);

impl RequestId {
    /// The id that a UUID's 128 bits spell, in its usual hyphenated form.
    #[must_use]
    pub fn from_uuid(bits: u128) -> Self {
        let mut digits = [0; 32];
        hex(&bits.to_be_bytes(), &mut digits);
        let mut text = String::with_capacity(36);
        for (index, &digit) in digits.iter().enumerate() {
            if matches!(index, 8 | 12 | 16 | 20) {
                text.push('-');
            }
            text.push(char::from(digit));
        }
        Self(text)
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Writes two hexadecimal digits a byte. Every answer says a digest twice.
fn hex(bytes: &[u8], digits: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

impl FromStr for RequestId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(IdError::new("a request id: 1 to 128 printable ASCII characters", text))
        }
    }
}

/// The text forms that serde reads and writes are the same ones that people type.
macro_rules! text_form {
    ($($name:ident),*) => {$(
        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.to_string()
            }
        }
    )*};
}
text_form!(ModelName, Digest, RequestId);

impl From<Version> for u32 {
    fn from(version: Version) -> u32 {
        version.0
    }
}

macro_rules! shown_as_inside {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    )*};
}
shown_as_inside!(ModelName, Version, RequestId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_inside_a_directory() {
        for good in ["a", "fashion", "whisper-tiny.en", "0_x"] {
            assert_eq!(good.parse::<ModelName>().unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", "../x", "a/b", "A", "-a", "a b", "é", &"a".repeat(129)] {
            assert!(bad.parse::<ModelName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn versions_are_positive_integers() {
        assert_eq!("12".parse::<Version>().unwrap().get(), 12);
        for bad in ["", "0", "-1", "+1", "1.0", "1234567890", "x"] {
            assert!(bad.parse::<Version>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_digest_reads_back_what_it_shows() {
        let digest = Digest::new(std::array::from_fn(|i| u8::try_from(i).unwrap() * 7));
        assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
        assert!("zz".repeat(32).parse::<Digest>().is_err());
        assert!("é".repeat(32).parse::<Digest>().is_err());
    }
}
