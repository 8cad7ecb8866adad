//! Spoken clips with their texts: a list, as JSON (one object a line) or as CSV (with a header), of
//! `audio`, a path from the list's own directory, and `text`; `voice` and `split` may be there too.
//!
//! ```text
//! {"audio": "train/00001.wav", "text": "one two", "voice": "espeak-ng:en-gb", "split": "train"}
//! ```

mod list;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::dataset::split::{Held, check_share, hold_out};
use crate::dataset::{Ahead, BadSamples, DataError};
use crate::domain::Digest;
use list::Line;

/// Names that a list has when the recipe does not say.
const LIST_FILES: [&str; 2] = ["clips.jsonl", "clips.csv"];

/// A recipe's `[data]`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the list lies.
    pub directory: PathBuf,
    /// The list's name there, `….csv` for CSV; clips.jsonl or clips.csv when it is not said.
    list: Option<PathBuf>,
    /// The share of the training clips that is measured on after each epoch, where the list names none.
    #[serde(default)]
    validation: f64,
    /// The share of the clips that is measured on at the end, where the list has no splits.
    #[serde(default)]
    test: f64,
    /// Fixes which clips are held out, whatever seed training has.
    #[serde(default)]
    pub seed: u64,
}

/// What a clip is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    Train,
    /// Measured on after each epoch.
    Validation,
    /// Never heard in training: other voices, or clips drawn by chance.
    Test,
    /// Recordings of people, where training hears synthetic voices.
    Real,
}

/// One line of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clip {
    /// Relative to the list.
    pub audio: PathBuf,
    pub text: String,
    pub split: Split,
    line: usize,
}

/// A list, read and divided.
pub struct List {
    path: PathBuf,
    bytes: Vec<u8>,
    clips: Vec<Clip>,
    /// Neither the list nor the recipe says what is held out.
    undivided: bool,
}

impl List {
    /// Reads the list of the recipe, or of `data`: a directory, or the list itself.
    ///
    /// # Errors
    /// [`DataError`] naming the file and the line, or the key, that is of no use.
    pub fn read(
        config: &Config,
        data: Option<&Path>,
        bad: &mut BadSamples,
    ) -> Result<Self, DataError> {
        check_share("validation", config.validation)?;
        check_share("test", config.test)?;
        if config.validation + config.test >= 1.0 {
            let reason = "with data.validation it leaves nothing to learn from";
            return Err(DataError::key("test", reason));
        }
        let path = config.path(data);
        let bytes = fs::read(&path).map_err(|source| DataError::Read {
            place: format!("{}, the list of clips,", path.display()),
            source,
        })?;
        let lines = list::lines(&path, &bytes, bad)?;
        let (clips, undivided) = divide(config, &path, lines)?;
        Ok(Self { path, bytes, clips, undivided })
    }

    /// Takes all clips as test clips when nothing says what is held out: for measuring.
    #[must_use]
    pub fn to_measure(mut self) -> Self {
        if self.undivided {
            self.clips.iter_mut().for_each(|clip| clip.split = Split::Test);
        }
        self
    }

    /// Gives each clip of `splits`, as `decode` makes it of the file's bytes, to `each`, in the list's
    /// order; threads decode ahead. Returns the SHA-256 over the list and the files that are used.
    ///
    /// # Errors
    /// [`DataError::Sample`] naming the file and line of a clip that does not decode; those of `each`.
    pub fn load<T: Send + 'static>(
        &self,
        splits: &[Split],
        decode: impl Fn(&Clip, Bytes) -> Result<T, String> + Send + Sync + 'static,
        bad: &mut BadSamples,
        mut each: impl FnMut(&Clip, Bytes, T) -> Result<(), DataError>,
    ) -> Result<Digest, DataError> {
        let wanted = self.clips.iter().filter(|clip| splits.contains(&clip.split));
        let clips: Arc<[Clip]> = wanted.cloned().collect();
        let ahead = Ahead::new(clips.len(), {
            let (clips, path) = (Arc::clone(&clips), self.path.clone());
            move |index| Ok(decoded(&path, &clips[index], &decode))
        })?;
        let mut hash = Sha256::new();
        hash.update(&self.bytes);
        for (clip, made) in clips.iter().zip(ahead) {
            if let Some((bytes, made)) = bad.admit(made?)? {
                hash.update(&bytes);
                each(clip, bytes, made)?;
            }
        }
        Ok(Digest::new(hash.finalize().into()))
    }

    /// The refusal of a part without a clip.
    #[must_use]
    pub fn empty(&self, part: &'static str) -> DataError {
        DataError::Empty {
            part,
            place: self.path.display().to_string(),
            hint: format!("give some clips the split, or let data.{part} draw a share of them"),
        }
    }
}

impl Config {
    fn path(&self, data: Option<&Path>) -> PathBuf {
        let directory = match data {
            Some(list) if list.is_file() => return list.to_owned(),
            Some(directory) => directory,
            None => &self.directory,
        };
        if let Some(list) = &self.list {
            return directory.join(list);
        }
        let paths = LIST_FILES.map(|name| directory.join(name));
        let there = paths.iter().find(|path| path.is_file());
        there.unwrap_or(&paths[0]).clone()
    }
}

fn decoded<T>(
    list: &Path,
    clip: &Clip,
    decode: &impl Fn(&Clip, Bytes) -> Result<T, String>,
) -> Result<(Bytes, T), DataError> {
    let refuse = |reason: String| DataError::Sample {
        place: place(list, clip.line),
        reason: format!("{}: {reason}", clip.audio.display()),
    };
    let path = list.parent().unwrap_or(Path::new("")).join(&clip.audio);
    let bytes = fs::read(path).map_err(|error| refuse(error.to_string()))?;
    let bytes = Bytes::from(bytes);
    let made = decode(clip, bytes.clone()).map_err(refuse)?;
    Ok((bytes, made))
}

fn place(list: &Path, line: usize) -> String {
    format!("{}, line {line}", list.display())
}

/// The splits that the list names, or else a share that the seed draws. Also whether nothing is held out.
fn divide(config: &Config, path: &Path, lines: Vec<Line>) -> Result<(Vec<Clip>, bool), DataError> {
    let named = lines.first().is_some_and(|line| line.split.is_some());
    if let Some(odd) = lines.iter().find(|line| line.split.is_some() != named) {
        let of = |named| if named { "a split" } else { "none" };
        return Err(DataError::Format {
            place: place(path, odd.number),
            expected: format!("{}, as the lines before it have", of(named)),
            got: of(!named).to_owned(),
        });
    }
    let mut clips: Vec<Clip> = lines.into_iter().map(Line::clip).collect();
    if named && config.test > 0.0 {
        return Err(DataError::key(
            "test",
            "the list says which clips are for the test: leave it out",
        ));
    }
    if config.validation > 0.0 && clips.iter().any(|clip| clip.split == Split::Validation) {
        let reason = "the list says which clips are for validation: leave it out";
        return Err(DataError::key("validation", reason));
    }
    let train = |&index: &usize| clips[index].split == Split::Train;
    let stay: Vec<usize> = (0..clips.len()).filter(train).collect();
    let (stay, test) = hold_out(&stay, config.test, config.seed, Held::Test);
    let (_, validation) = hold_out(&stay, config.validation, config.seed, Held::Validation);
    for (drawn, split) in [(test, Split::Test), (validation, Split::Validation)] {
        for index in drawn {
            clips[index].split = split;
        }
    }
    Ok((clips, !named && config.test == 0.0))
}
