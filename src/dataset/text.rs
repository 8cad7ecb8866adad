//! Texts to learn from: files in UTF-8, the tail of each held out. They may be larger than memory.

mod file;

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::dataset::split::check_share;
use crate::dataset::{BadSamples, DataError, Store};
use crate::domain::Digest;
use file::{Chunks, Position};

/// One place or several: files, or directories whose `.txt` files are read in the order of their names.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Paths {
    One(PathBuf),
    Several(Vec<PathBuf>),
}

/// The shares of each file's bytes that are not learned from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shares {
    /// Measured on after each epoch: the bytes before the tail.
    pub validation: f64,
    /// Measured on at the end: the tail.
    pub held_out: f64,
}

/// A text in its parts.
#[derive(Debug)]
pub struct Text {
    pub train: Part,
    pub validation: Part,
    pub held_out: Part,
    /// SHA-256 of the bytes of all files, in their order.
    pub digest: Digest,
}

/// The pieces of the files that one part has, joined.
#[derive(Debug, Default)]
pub struct Part {
    bytes: Store<u8>,
    pieces: Vec<Piece>,
}

/// Some lines of a file, and where they came from.
#[derive(Debug)]
struct Piece {
    /// Its first byte in the part.
    start: usize,
    path: PathBuf,
    /// Its beginning in the file.
    at: Position,
}

impl Part {
    /// The text, some lines at a time, each time with its first byte.
    pub fn chunks(&self) -> impl Iterator<Item = Result<(usize, String), DataError>> {
        let ends = self.pieces.iter().skip(1).map(|piece| piece.start).chain([self.bytes.len()]);
        let bounds = self.pieces.iter().map(|piece| piece.start).zip(ends);
        bounds.map(|(start, end)| Ok((start, self.text(start, end)?)))
    }

    /// File, line and column of the character at a byte of the text.
    #[must_use]
    pub fn place(&self, byte: usize) -> String {
        let after = self.pieces.partition_point(|piece| piece.start <= byte);
        let Some(piece) = after.checked_sub(1).map(|at| &self.pieces[at]) else {
            return "the text".to_owned();
        };
        let path = piece.path.display();
        match self.text(piece.start, byte) {
            Ok(passed) => {
                let Position { line, column, .. } = piece.at.advanced(&passed);
                format!("{path}, line {line}, column {column}")
            }
            Err(_) => path.to_string(),
        }
    }

    fn text(&self, start: usize, end: usize) -> Result<String, DataError> {
        Ok(String::from_utf8_lossy(&self.bytes.get(start..end)?).into_owned())
    }

    fn push(&mut self, path: &Path, at: Position, text: &str) -> Result<(), DataError> {
        if !text.is_empty() {
            let start = self.bytes.push(text.as_bytes())?.start;
            self.pieces.push(Piece { start, path: path.to_owned(), at });
        }
        Ok(())
    }
}

/// Reads what `paths` name and divides each file, at whole characters.
///
/// # Errors
/// [`DataError`] naming the key or the file that is of no use.
pub fn read(paths: &Paths, shares: Shares, bad: &mut BadSamples) -> Result<Text, DataError> {
    let Shares { validation, held_out } = shares;
    check_share("held_out", held_out)?;
    check_share("validation", validation)?;
    check_share("validation", validation + held_out)?;
    let mut parts = [Part::default(), Part::default(), Part::default()];
    let mut hash = Sha256::new();
    for path in files(paths)? {
        // Twice: what is no text is left out as a whole.
        let Some(length) = bad.admit(length(&path))? else { continue };
        let cuts = [validation + held_out, held_out].map(|share| boundary(length, share));
        let mut read = 0;
        for chunk in Chunks::open(&path)? {
            let (at, text) = chunk?;
            read += text.len();
            hash.update(text.as_bytes());
            let [before, tail] = cuts.map(|cut| {
                let within = cut.saturating_sub(at.byte).min(text.len());
                text.ceil_char_boundary(within)
            });
            let pieces = [0..before, before..tail, tail..text.len()];
            for (part, piece) in parts.iter_mut().zip(pieces) {
                part.push(&path, at.advanced(&text[..piece.start]), &text[piece])?;
            }
        }
        if read != length {
            return Err(DataError::Format {
                place: path.display().to_string(),
                expected: format!("the {length} bytes that it had a moment ago"),
                got: read.to_string(),
            });
        }
    }
    let [train, validation, held_out] = parts;
    Ok(Text { train, validation, held_out, digest: Digest::new(hash.finalize().into()) })
}

/// Bytes of a file that is text.
fn length(path: &Path) -> Result<usize, DataError> {
    Chunks::open(path)?.try_fold(0, |length, chunk| Ok(length + chunk?.1.len()))
}

fn files(paths: &Paths) -> Result<Vec<PathBuf>, DataError> {
    let named = match paths {
        Paths::One(path) => std::slice::from_ref(path),
        Paths::Several(paths) => paths,
    };
    let mut files = Vec::new();
    for path in named {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let refuse = |source| DataError::read(path, source);
        let mut found = Vec::new();
        for entry in fs::read_dir(path).map_err(refuse)? {
            let file = entry.map_err(refuse)?.path();
            found.extend(Some(file).filter(|file| file.extension().is_some_and(|e| e == "txt")));
        }
        found.sort_unstable();
        files.extend(found);
    }
    if files.is_empty() {
        let place = named.first().map_or("path".into(), |path| path.display().to_string());
        let hint = "add files that are called ….txt, or name the text itself".to_owned();
        return Err(DataError::Empty { part: "training", place, hint });
    }
    Ok(files)
}

/// The place with at most `fraction` of the bytes after it.
fn boundary(length: usize, fraction: f64) -> usize {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a text's length, between 0 and the length"
    )]
    let place = (length as f64 * (1.0 - fraction)).ceil() as usize;
    place
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::OnBadSample;
    use crate::package::sha256;

    fn of(files: &[(&str, &[u8])], validation: f64, held_out: f64) -> Result<Text, String> {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            fs::write(dir.path().join(name), bytes).unwrap();
        }
        let shares = Shares { validation, held_out };
        let bad = &mut BadSamples::default();
        read(&Paths::One(dir.path().to_owned()), shares, bad).map_err(|error| error.to_string())
    }

    fn joined(part: &Part) -> String {
        part.chunks().map(|chunk| chunk.unwrap().1).collect()
    }

    #[test]
    fn the_tail_is_held_out_at_a_character() {
        let bytes = "abcdefgé".as_bytes();
        let text = of(&[("a.txt", bytes)], 0.0, 0.3).unwrap();
        assert_eq!((&*joined(&text.train), &*joined(&text.held_out)), ("abcdefg", "é"));
        let text = of(&[("a.txt", bytes)], 0.0, 0.12).unwrap();
        assert_eq!((&*joined(&text.train), &*joined(&text.held_out)), ("abcdefgé", ""));
        assert_eq!(text.digest, sha256(bytes));
        let text = of(&[("a.txt", bytes)], 0.4, 0.3).unwrap();
        let parts = [&text.train, &text.validation, &text.held_out].map(joined);
        assert_eq!(parts, ["abc", "defg", "é"]);
    }

    #[test]
    fn every_file_of_a_directory_gives_its_tail_and_places_are_of_the_file() {
        let files: [(&str, &[u8]); 3] =
            [("b.txt", b"one\ntwo\nthr"), ("a.txt", b"12345678"), ("c.md", b"\xff")];
        let text = of(&files, 0.0, 0.5).unwrap();
        assert_eq!(joined(&text.train), "1234one\ntw");
        assert_eq!(joined(&text.held_out), "5678o\nthr");
        assert_eq!(text.digest, sha256(b"12345678one\ntwo\nthr"));
        assert!(text.train.place(4).ends_with("b.txt, line 1, column 1"));
        assert!(text.train.place(9).ends_with("b.txt, line 2, column 2"));
        assert!(text.held_out.place(3).ends_with("a.txt, line 1, column 8"));
        assert!(text.held_out.place(4).ends_with("b.txt, line 2, column 3"));
        assert!(text.held_out.place(7).ends_with("b.txt, line 3, column 2"));
    }

    #[test]
    fn what_is_no_text_is_refused_or_left_out() {
        let error = of(&[("a.txt", b"x\nab\xff")], 0.0, 0.1).unwrap_err();
        assert!(error.contains("a.txt, line 2, column 3: the byte is not UTF-8"), "{error}");
        assert!(of(&[("a.txt", b"ab")], 0.0, 1.0).unwrap_err().contains("held_out"));
        assert!(of(&[("a.txt", b"ab")], 0.0, f64::NAN).is_err());
        assert!(of(&[("a.txt", b"ab")], 0.5, 0.5).unwrap_err().contains("validation"));
        assert!(of(&[("a.md", b"ab")], 0.0, 0.1).unwrap_err().contains("….txt"));
        let dir = tempfile::tempdir().unwrap();
        let path = |name| dir.path().join(name);
        fs::write(path("a.txt"), "good").unwrap();
        fs::write(path("b.txt"), b"\xff").unwrap();
        let both = Paths::Several(vec![path("b.txt"), path("a.txt")]);
        let mut bad = BadSamples::new(OnBadSample::Skip);
        let shares = Shares { validation: 0.0, held_out: 0.0 };
        assert_eq!(joined(&read(&both, shares, &mut bad).unwrap().train), "good");
        assert_eq!(bad.count(), 1);
        let missing = Paths::One(path("c.txt"));
        assert!(read(&missing, shares, &mut bad).unwrap_err().to_string().contains("c.txt"));
    }
}
