//! Spoken clips with their texts: a directory with a list, `clips.jsonl`, one JSON object a line:
//! `{"audio": "train/00001.wav", "text": "one two", "voice": "espeak-ng:en-gb", "split": "train"}`.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::domain::Digest;

/// The name of the list.
pub const LIST_FILE: &str = "clips.jsonl";

/// What a clip is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    Train,
    /// Synthetic voices that training never hears.
    Test,
    /// Recordings of people.
    Real,
}

/// One line of the list.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clip {
    /// Relative to the list.
    pub audio: PathBuf,
    pub text: String,
    pub voice: String,
    pub split: Split,
}

/// Why the data were refused.
#[derive(Debug, thiserror::Error)]
pub enum SpeechError {
    #[error("{path} cannot be read: {source}; scripts/speech-data.sh makes it")]
    List { path: String, source: std::io::Error },
    #[error("{path}, line {line}: {reason}")]
    Line { path: String, line: usize, reason: String },
    #[error("{path} lists no clip")]
    Empty { path: String },
}

/// Reads the list in `directory` and gives each clip of the wanted splits to `each`, with its file's
/// bytes, in the list's order. Returns the SHA-256 over the list and those files.
///
/// # Errors
/// [`SpeechError`] naming the file and the line that cannot be used, also when `each` refuses it.
pub fn read(
    directory: &Path,
    splits: &[Split],
    each: &mut dyn FnMut(Clip, Vec<u8>) -> Result<(), String>,
) -> Result<Digest, SpeechError> {
    let list = directory.join(LIST_FILE);
    let path = list.display().to_string();
    let text = fs::read_to_string(&list)
        .map_err(|source| SpeechError::List { path: path.clone(), source })?;
    let mut hash = Sha256::new();
    hash.update(text.as_bytes());
    let mut read = 0;
    for (index, line) in text.lines().enumerate() {
        let refuse =
            |reason: String| SpeechError::Line { path: path.clone(), line: index + 1, reason };
        let clip: Clip = serde_json::from_str(line).map_err(|error| refuse(error.to_string()))?;
        if !splits.contains(&clip.split) {
            continue;
        }
        let bytes = fs::read(directory.join(&clip.audio))
            .map_err(|error| refuse(format!("{}: {error}", clip.audio.display())))?;
        hash.update(&bytes);
        each(clip, bytes).map_err(refuse)?;
        read += 1;
    }
    if read == 0 {
        return Err(SpeechError::Empty { path });
    }
    Ok(Digest::new(hash.finalize().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(list: &str) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(LIST_FILE), list).unwrap();
        fs::write(directory.path().join("a.wav"), b"a").unwrap();
        fs::write(directory.path().join("b.wav"), b"b").unwrap();
        directory
    }

    const GOOD: &str = r#"{"audio": "a.wav", "text": "one", "voice": "x", "split": "train"}
{"audio": "b.wav", "text": "two", "voice": "y", "split": "real"}"#;

    #[test]
    fn clips_come_in_order_and_the_digest_covers_their_bytes() {
        let directory = directory(GOOD);
        let mut seen = Vec::new();
        let mut collect = |clip: Clip, bytes: Vec<u8>| {
            seen.push((clip.text, bytes));
            Ok(())
        };
        let both = [Split::Train, Split::Real];
        let digest = read(directory.path(), &both, &mut collect).unwrap();
        assert_eq!(seen, [("one".to_owned(), b"a".to_vec()), ("two".to_owned(), b"b".to_vec())]);
        fs::write(directory.path().join("b.wav"), b"c").unwrap();
        assert_ne!(read(directory.path(), &both, &mut |_, _| Ok(())).unwrap(), digest);
    }

    #[test]
    fn a_bad_line_is_named_by_file_and_number() {
        let cases = [
            (GOOD.replace("real", "unreal"), "line 2"),
            (GOOD.replace("voice", "colour"), "line 1"),
            (GOOD.replace("a.wav", "missing.wav"), "missing.wav"),
        ];
        for (list, named) in cases {
            let directory = directory(&list);
            let error = read(directory.path(), &[Split::Train, Split::Real], &mut |_, _| Ok(()))
                .unwrap_err()
                .to_string();
            assert!(error.contains(LIST_FILE) && error.contains(named), "{error}");
        }
    }

    #[test]
    fn a_refused_clip_and_an_empty_split_are_errors() {
        let directory = directory(GOOD);
        let error = read(directory.path(), &[Split::Train], &mut |_, _| Err("no".into()));
        assert!(error.unwrap_err().to_string().ends_with("line 1: no"));
        let error = read(directory.path(), &[Split::Test], &mut |_, _| Ok(()));
        assert!(matches!(error, Err(SpeechError::Empty { .. })));
    }
}
