//! What is wrong with data, and what to do with a sample that is of no use.

use std::fmt;
use std::io;
use std::path::Path;
use std::str::FromStr;

/// Why data cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    #[error("{place} cannot be read: {source}")]
    Read { place: String, source: io::Error },
    /// A file that is not what it should be as a whole.
    #[error("{place}: expected {expected}, got {got}")]
    Format { place: String, expected: String, got: String },
    /// One sample of many; `place` names its file, and its line or number where the file has several.
    #[error("{place}: {reason}; --on-bad-sample skip leaves such samples out")]
    Sample { place: String, reason: String },
    #[error("the {part} part of {place} is empty: {hint}")]
    Empty { part: &'static str, place: String, hint: String },
    #[error("data.{key}: {reason}")]
    Key { key: &'static str, reason: String },
    #[error(
        "samples that are too many for memory cannot be kept in a temporary file: {source}; TMPDIR may name a directory \
         with more room"
    )]
    Store { source: io::Error },
    #[error("a thread that loads samples ahead could not go on: {reason}")]
    Lost { reason: String },
}

impl DataError {
    pub(super) fn read(place: &Path, source: io::Error) -> Self {
        Self::Read { place: place.display().to_string(), source }
    }

    pub(super) fn key(key: &'static str, reason: impl Into<String>) -> Self {
        Self::Key { key, reason: reason.into() }
    }
}

/// What to do with a sample that is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnBadSample {
    /// The run ends and names it.
    #[default]
    Fail,
    /// It is left out, listed and counted.
    Skip,
}

impl FromStr for OnBadSample {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "fail" => Ok(Self::Fail),
            "skip" => Ok(Self::Skip),
            _ => Err("expected fail or skip".to_owned()),
        }
    }
}

impl fmt::Display for OnBadSample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fail => "fail",
            Self::Skip => "skip",
        })
    }
}

/// The samples that were left out.
#[derive(Debug, Default)]
pub struct BadSamples {
    policy: OnBadSample,
    left_out: Vec<String>,
}

impl BadSamples {
    #[must_use]
    pub fn new(policy: OnBadSample) -> Self {
        Self { policy, left_out: Vec::new() }
    }

    /// The sample, or `None` when it is of no use and left out.
    ///
    /// # Errors
    /// The sample's own, when the policy is to fail, and every error that is not of one sample.
    pub fn admit<T>(&mut self, sample: Result<T, DataError>) -> Result<Option<T>, DataError> {
        match sample {
            Ok(sample) => Ok(Some(sample)),
            Err(DataError::Sample { place, reason }) if self.policy == OnBadSample::Skip => {
                self.left_out.push(format!("{place}: {reason}"));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// One line for each, in the order they were met.
    #[must_use]
    pub fn left_out(self) -> Vec<String> {
        self.left_out
    }

    #[must_use]
    pub fn count(&self) -> usize {
        self.left_out.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bad() -> Result<(), DataError> {
        Err(DataError::Sample { place: "a.png".to_owned(), reason: "no picture".to_owned() })
    }

    #[test]
    fn a_bad_sample_ends_the_run_or_is_listed() {
        let mut fail = BadSamples::new("fail".parse().unwrap());
        assert!(fail.admit(bad()).unwrap_err().to_string().starts_with("a.png: no picture"));
        let mut skip = BadSamples::new("skip".parse().unwrap());
        assert_eq!(skip.admit(bad()).unwrap(), None);
        assert_eq!(skip.admit(Ok(1)).unwrap(), Some(1));
        let whole: Result<(), _> = Err(DataError::key("seed", "no"));
        assert!(skip.admit(whole).is_err(), "only samples are skipped");
        assert_eq!((skip.count(), skip.left_out()), (1, vec!["a.png: no picture".to_owned()]));
        assert!("ignore".parse::<OnBadSample>().is_err());
    }
}
