//! The bytes of a file, where weights are used as they were read.

use std::io::{Error, ErrorKind, Read, Result};
use std::ops::Deref;

use sha2::{Digest as _, Sha256};

use crate::domain::Digest;

/// Bytes that are read and hashed at once: they are still in the cache when they are hashed.
const PIECE: usize = 128 << 10;

/// The size of a word.
const WORD: usize = size_of::<f32>();

/// A file's bytes in words, so that its floats can be used where they lie.
#[derive(Debug, Default)]
pub struct Contents {
    words: Vec<f32>,
    /// Bytes of the file; those of the last word after its end are 0.
    length: usize,
}

impl Contents {
    /// The first `size` bytes of a file, and their SHA-256; nothing where they are more than `limit`, or than
    /// there is memory for.
    ///
    /// # Errors
    /// When it cannot be read, or ends earlier.
    pub fn read(mut file: impl Read, size: u64, limit: u64) -> Result<Option<(Self, Digest)>> {
        let mut all = Self::default();
        let Some(length) = usize::try_from(size).ok().filter(|_| size <= limit) else {
            return Ok(None);
        };
        if all.words.try_reserve_exact(length.div_ceil(WORD)).is_err() {
            return Ok(None);
        }
        let (mut hash, mut piece) = (Sha256::new(), vec![0; PIECE.min(length)]);
        while all.length < length {
            let piece = &mut piece[..PIECE.min(length - all.length)];
            file.read_exact(piece).map_err(shortened)?;
            hash.update(&*piece);
            all.push(piece);
        }
        Ok(Some((all, Digest::new(hash.finalize().into()))))
    }

    /// Adds bytes after whole words.
    fn push(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<WORD>();
        self.words.extend(words.iter().map(|&word| f32::from_ne_bytes(word)));
        if !rest.is_empty() {
            let mut last = [0; WORD];
            last[..rest.len()].copy_from_slice(rest);
            self.words.push(f32::from_ne_bytes(last));
        }
        self.length += bytes.len();
    }

    /// The bytes as words, and how many bytes there are.
    #[must_use]
    pub fn into_words(self) -> (Vec<f32>, usize) {
        (self.words, self.length)
    }
}

fn shortened(error: Error) -> Error {
    if error.kind() == ErrorKind::UnexpectedEof {
        return Error::new(error.kind(), "it became shorter while it was read");
    }
    error
}

impl From<&[u8]> for Contents {
    fn from(bytes: &[u8]) -> Self {
        let mut all = Self::default();
        all.words.reserve_exact(bytes.len().div_ceil(WORD));
        all.push(bytes);
        all
    }
}

impl Deref for Contents {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::sha256;

    #[test]
    fn bytes_are_what_was_read_whatever_their_number() {
        for length in [0, 1, 3, 4, 5, 8, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE + 7] {
            // Among them those of words that are no number.
            let bytes: Vec<u8> =
                (0..length).map(|i| u8::try_from(i % 251).unwrap() | 0xf0).collect();
            let read = Contents::read(&bytes[..], length as u64, length as u64).unwrap();
            let (contents, digest) = read.unwrap();
            assert!(contents[..] == bytes[..], "{length}");
            assert_eq!(digest, sha256(&bytes));
            assert!(Contents::from(&bytes[..])[..] == bytes[..], "{length}");
            let (words, said) = contents.into_words();
            assert_eq!((words.len(), said), (length.div_ceil(4), length));
        }
    }

    #[test]
    fn more_than_the_limit_is_not_read_and_less_than_was_said_is_an_error() {
        assert!(Contents::read(&[0; 8][..], 8, 7).unwrap().is_none());
        assert!(Contents::read(&[0; 8][..], u64::MAX, u64::MAX).unwrap().is_none());
        let error = Contents::read(&[0; 8][..], 9, 9).unwrap_err().to_string();
        assert!(error.contains("shorter"), "{error}");
    }
}
