//! The lines of a list of clips.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::dataset::speech::{Clip, Split, place};
use crate::dataset::{BadSamples, DataError};

/// A line as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Line {
    audio: PathBuf,
    text: String,
    /// Who speaks: for people who read the list.
    #[serde(rename = "voice")]
    _voice: Option<String>,
    pub split: Option<Split>,
    /// In the file, from 1.
    #[serde(skip)]
    pub number: usize,
}

impl Line {
    pub fn clip(self) -> Clip {
        let split = self.split.unwrap_or(Split::Train);
        Clip { audio: self.audio, text: self.text, split, line: self.number }
    }
}

/// Reads the lines of CSV when the file is called so, and of JSON otherwise.
pub(super) fn lines(
    path: &Path,
    bytes: &[u8],
    bad: &mut BadSamples,
) -> Result<Vec<Line>, DataError> {
    let read = if path.extension().is_some_and(|name| name.eq_ignore_ascii_case("csv")) {
        of_csv(path, bytes)?
    } else {
        of_json(path, bytes)
    };
    let mut lines = Vec::new();
    for line in read {
        lines.extend(bad.admit(line)?);
    }
    if lines.is_empty() {
        return Err(DataError::Format {
            place: path.display().to_string(),
            expected: "a clip a line".to_owned(),
            got: "none".to_owned(),
        });
    }
    Ok(lines)
}

type Read = Result<Line, DataError>;

fn of_json(path: &Path, bytes: &[u8]) -> Vec<Read> {
    let lines = bytes.split(|&byte| byte == b'\n').enumerate();
    let read = lines.filter(|(_, line)| !line.trim_ascii().is_empty()).map(|(index, line)| {
        let read = serde_json::from_slice(line).map(|read| Line { number: index + 1, ..read });
        read.map_err(|error| refuse(path, index + 1, &without_place(&error)))
    });
    read.collect()
}

/// What is wrong, without the line and column that `serde_json` counts in the line alone.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.clone(), |(reason, _)| reason.to_owned())
}

fn of_csv(path: &Path, bytes: &[u8]) -> Result<Vec<Read>, DataError> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(bytes);
    let header = reader.headers().cloned().map_err(|error| refuse(path, 1, &error.to_string()))?;
    let known = ["audio", "text", "voice", "split"];
    let wrong = header.iter().find(|name| !known.contains(name));
    let missing = known[..2].iter().find(|name| !header.iter().any(|column| column == **name));
    if let Some(name) = wrong.or(missing.copied()) {
        return Err(DataError::Format {
            place: place(path, 1),
            expected: "a header of audio and text, and voice and split if there are such"
                .to_owned(),
            got: match wrong {
                Some(_) => format!("a column {name:?}"),
                None => format!("no column {name:?}"),
            },
        });
    }
    let mut lines = Vec::new();
    let mut record = csv::StringRecord::new();
    loop {
        let line = line_at(bytes, reader.position());
        match reader.read_record(&mut record) {
            Ok(false) => return Ok(lines),
            Ok(true) => {
                let read =
                    record.deserialize(Some(&header)).map(|read| Line { number: line, ..read });
                lines.push(read.map_err(|error| refuse(path, line, &reason(&error))));
            }
            Err(error) => lines.push(Err(refuse(path, line, &reason(&error)))),
        }
    }
}

/// The line of the next record, past empty ones.
fn line_at(bytes: &[u8], at: &csv::Position) -> usize {
    let number = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
    let rest = bytes.get(number(at.byte())..).unwrap_or_default();
    let empty = rest.iter().take_while(|byte| byte.is_ascii_whitespace());
    number(at.line()) + empty.filter(|&&byte| byte == b'\n').count()
}

/// What is wrong, without the place, which is said before it.
fn reason(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::Deserialize { err, .. } => err.kind().to_string(),
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("expected {expected_len} fields, as the header has, got {len}")
        }
        csv::ErrorKind::Utf8 { .. } => "expected UTF-8".to_owned(),
        _ => error.to_string(),
    }
}

fn refuse(path: &Path, line: usize, reason: &str) -> DataError {
    DataError::Sample { place: place(path, line), reason: reason.to_owned() }
}
