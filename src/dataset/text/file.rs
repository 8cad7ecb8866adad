//! A file of text, read some lines at a time.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::str;

use crate::dataset::DataError;

/// Bytes that are read at once.
const CHUNK: usize = 1 << 20;

/// The lines of a file, as many together as a mebibyte holds. A line that is longer comes in several chunks.
pub(super) struct Chunks<'a> {
    path: &'a Path,
    file: File,
    /// What was read and is not yet given.
    ahead: Vec<u8>,
    ended: bool,
    at: Position,
    size: usize,
}

/// A place in a file: its byte from 0, its line and its column from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    pub byte: usize,
    pub line: usize,
    pub column: usize,
}

impl Position {
    /// The place behind `passed`.
    pub fn advanced(self, passed: &str) -> Self {
        let lines = passed.matches('\n').count();
        let last = passed.rsplit('\n').next().unwrap_or_default().chars().count();
        let column = if lines == 0 { self.column + last } else { last + 1 };
        Self { byte: self.byte + passed.len(), line: self.line + lines, column }
    }
}

impl<'a> Chunks<'a> {
    pub fn open(path: &'a Path) -> Result<Self, DataError> {
        Self::sized(path, CHUNK)
    }

    fn sized(path: &'a Path, size: usize) -> Result<Self, DataError> {
        let refuse = |source| DataError::read(path, source);
        // Asked before it is opened: a pipe would wait for whoever writes to it.
        if !fs::metadata(path).map_err(refuse)?.is_file() {
            return Err(DataError::Format {
                place: path.display().to_string(),
                expected: "a file, since a text is read twice".to_owned(),
                got: "a pipe or the like".to_owned(),
            });
        }
        let file = File::open(path).map_err(refuse)?;
        let at = Position { byte: 0, line: 1, column: 1 };
        Ok(Self { path, file, ahead: Vec::new(), ended: false, at, size })
    }

    /// Reads on until there is a chunk, or no more.
    fn fill(&mut self) -> Result<(), DataError> {
        let missing = self.size.saturating_sub(self.ahead.len());
        let read = self.file.by_ref().take(missing as u64).read_to_end(&mut self.ahead);
        self.ended = read.map_err(|source| DataError::read(self.path, source))? < missing;
        Ok(())
    }

    /// What is given next of what was read: whole characters, and whole lines where there are some.
    fn cut(&self) -> Result<&str, DataError> {
        let text = match str::from_utf8(&self.ahead) {
            Ok(text) => text,
            Err(error) => {
                let valid = String::from_utf8_lossy(&self.ahead[..error.valid_up_to()]);
                if self.ended || error.error_len().is_some() {
                    let Position { line, column, .. } = self.at.advanced(&valid);
                    let place = format!("{}, line {line}, column {column}", self.path.display());
                    return Err(DataError::Sample {
                        place,
                        reason: "the byte is not UTF-8".to_owned(),
                    });
                }
                str::from_utf8(&self.ahead[..error.valid_up_to()]).unwrap_or_default()
            }
        };
        let lines = text.rfind('\n').filter(|_| !self.ended).map_or(text.len(), |end| end + 1);
        Ok(&text[..lines])
    }

    fn chunk(&mut self) -> Result<Option<(Position, String)>, DataError> {
        self.fill()?;
        let text = self.cut()?.to_owned();
        self.ahead.drain(..text.len());
        let at = self.at;
        self.at = at.advanced(&text);
        Ok((!text.is_empty()).then_some((at, text)))
    }
}

impl Iterator for Chunks<'_> {
    /// A text, and where it begins.
    type Item = Result<(Position, String), DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.chunk().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(bytes: &[u8], size: usize) -> Vec<Result<(Position, String), String>> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.txt");
        std::fs::write(&path, bytes).unwrap();
        let mut all = Vec::new();
        for chunk in Chunks::sized(&path, size).unwrap() {
            let ended = chunk.is_err();
            all.push(chunk.map_err(|error| error.to_string()));
            if ended {
                break;
            }
        }
        all
    }

    #[test]
    fn a_chunk_is_whole_lines_or_whole_characters_of_a_long_one() {
        let text = "one\ntwo\néèêëéèêë\n\nend";
        for size in 4..40 {
            let mut joined = String::new();
            for chunk in chunks(text.as_bytes(), size) {
                let (at, chunk) = chunk.unwrap();
                assert!(chunk.len() <= size);
                let start = Position { byte: 0, line: 1, column: 1 };
                assert_eq!(at, start.advanced(&joined), "{size}");
                joined += &chunk;
            }
            assert_eq!(joined, text, "{size}");
        }
        let texts = |size| {
            chunks(text.as_bytes(), size)
                .into_iter()
                .map(|chunk| chunk.unwrap().1)
                .collect::<Vec<_>>()
        };
        assert_eq!(texts(9), ["one\ntwo\n", "éèêë", "éèêë\n", "\nend"]);
        assert!(chunks(b"", 4).is_empty());
    }

    #[test]
    fn what_cannot_be_read_twice_is_refused() {
        let error = Chunks::open(Path::new("/dev/null")).err().unwrap().to_string();
        assert!(error.contains("/dev/null: expected a file"), "{error}");
    }

    #[test]
    fn a_byte_that_is_no_text_is_told_by_its_place() {
        for bytes in [&b"one\nab\xffcd\n"[..], b"one\nab\xc3"] {
            for size in 4..20 {
                let error = chunks(bytes, size).pop().unwrap().unwrap_err();
                assert!(
                    error.contains("a.txt, line 2, column 3: the byte is not UTF-8"),
                    "{error}"
                );
            }
        }
    }
}
