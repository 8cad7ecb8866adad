//! Speech data in memory: log-mels to learn from, and examples to be measured on.

use std::collections::BTreeMap;
use std::path::Path;

use crate::arch::TrainError;
use crate::arch::report::SpeechSplit;
use crate::arch::transformer::ctc::codec::SpeechCodec;
use crate::arch::transformer::ctc::config::{Config, Preprocessing};
use crate::arch::transformer::ctc::net::Recognises;
use crate::arch::transformer::ctc::score::{self, Example};
use crate::arch::transformer::ctc::transcript::Characters;
use crate::dataset::speech::{self, Clip, Split};
use crate::domain::{Digest, MediaLimits};
use crate::media::audio::{self, Wanted};
use crate::media::mel::{Mel, MelConfig, Spectrogram};

/// A golden sample is small, so that packages are.
const GOLDEN_BYTES_MAX: usize = 150 << 10;

/// A golden sample is a code of so many words.
const GOLDEN_WORDS: usize = 4;

/// What training hears.
pub struct Utterance {
    /// Not yet normalised.
    pub log_mels: Spectrogram,
    pub target: Vec<usize>,
}

/// Everything that training needs of a directory of clips.
pub struct Corpus {
    pub train: Vec<Utterance>,
    pub characters: Characters,
    pub codec: SpeechCodec,
    pub measured: Measured,
    /// Over the list and the training clips.
    pub digest: Digest,
    pub description: String,
}

impl Corpus {
    /// # Errors
    /// [`TrainError::Data`] naming the file or line that cannot be used.
    pub fn load(
        directory: &Path,
        preprocessing: &Preprocessing,
        config: &Config,
    ) -> Result<Self, TrainError> {
        let (clips, digest) = training_clips(directory, &preprocessing.mel)?;
        let characters = Characters::of(clips.iter().map(|(text, _)| text.as_str()));
        let codec =
            SpeechCodec::new(preprocessing, config, characters.clone(), MediaLimits::default())?;
        let train: Vec<Utterance> = clips
            .into_iter()
            .filter_map(|(text, log_mels)| {
                Some(Utterance { log_mels, target: characters.encode(&text)? })
            })
            .collect();
        let measured = Measured::load(directory, &codec)?;
        let description = format!(
            "{} clips to train on, {} of voices never heard and {} recordings of people to measure on",
            train.len(),
            measured.test.len(),
            measured.real.len()
        );
        Ok(Self { train, characters, codec, measured, digest, description })
    }

    /// Mel frames of the longest training clip.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.train.iter().map(|clip| clip.log_mels.frames()).max().unwrap_or(0)
    }
}

fn training_clips(
    directory: &Path,
    config: &MelConfig,
) -> Result<(Vec<(String, Spectrogram)>, Digest), TrainError> {
    let mel = Mel::new(config.clone()).map_err(TrainError::Data)?;
    let mut clips = Vec::new();
    let mut take = |clip: Clip, bytes| {
        let samples = samples(bytes, config)?;
        clips.push((clip.text, mel.log_mels(&samples)));
        Ok(())
    };
    let digest = speech::read(directory, &[Split::Train], &mut take)
        .map_err(|error| TrainError::Data(error.to_string()))?;
    Ok((clips, digest))
}

fn samples(bytes: Vec<u8>, mel: &MelConfig) -> Result<Vec<f32>, String> {
    let seconds_max = MediaLimits::default().audio_seconds_max;
    let wanted = Wanted { sample_rate: mel.sample_rate, seconds_max };
    audio::decode(bytes.into(), wanted, "the clip").map_err(|problem| problem.to_string())
}

/// What a network is measured on.
pub struct Measured {
    pub test: Vec<Example>,
    pub real: Vec<Example>,
    /// Small codes of the test split: their places in `test` and their files.
    candidates: Vec<(usize, Vec<u8>)>,
    /// Over the list and the clips of both splits.
    pub digest: Digest,
}

impl Measured {
    /// # Errors
    /// [`TrainError::Data`] naming the file or line that cannot be used.
    pub fn load(directory: &Path, codec: &SpeechCodec) -> Result<Self, TrainError> {
        let (mut test, mut real, mut candidates) = (Vec::new(), Vec::new(), Vec::new());
        let mut take = |clip: Clip, bytes: Vec<u8>| {
            let (windows, recording) =
                codec.windows(&samples(bytes.clone(), codec.mel().config())?);
            let small = bytes.len() <= GOLDEN_BYTES_MAX;
            let code = clip.text.split_whitespace().count() == GOLDEN_WORDS;
            if clip.split == Split::Test && small && code {
                candidates.push((test.len(), bytes));
            }
            let into = if clip.split == Split::Test { &mut test } else { &mut real };
            let file = clip.audio.display().to_string();
            into.push(Example { file, text: clip.text, windows, recording });
            Ok(())
        };
        let digest = speech::read(directory, &[Split::Test, Split::Real], &mut take)
            .map_err(|error| TrainError::Data(error.to_string()))?;
        Ok(Self { test, real, candidates, digest })
    }

    /// What is heard in the test split and in the recordings of people.
    ///
    /// # Errors
    /// When the arithmetic fails.
    pub fn hear(
        &self,
        network: &impl Recognises,
        codec: &SpeechCodec,
    ) -> Result<[SpeechSplit; 2], TrainError> {
        let test = score::split(network, codec, &self.test, "test")?;
        Ok([test, score::split(network, codec, &self.real, "real")?])
    }

    /// The figures of what is heard.
    ///
    /// # Errors
    /// When the arithmetic fails.
    pub fn score(
        &self,
        network: &impl Recognises,
        codec: &SpeechCodec,
    ) -> Result<BTreeMap<String, f64>, TrainError> {
        self.hear(network, codec).map(|splits| score::metrics(&splits))
    }

    /// A code by a voice that training never heard, one that the network hears right where there is one.
    ///
    /// # Errors
    /// [`TrainError::Data`] when the test split has no small clip of four words.
    pub fn golden(
        &self,
        network: &impl Recognises,
        codec: &SpeechCodec,
    ) -> Result<Vec<u8>, TrainError> {
        for (place, bytes) in &self.candidates {
            let example = &self.test[*place];
            if score::hear(network, codec, example)? == example.text {
                return Ok(bytes.clone());
            }
        }
        self.candidates.first().map(|(_, bytes)| bytes.clone()).ok_or_else(|| {
            TrainError::Data(format!(
                "the test split has no clip of {GOLDEN_WORDS} words in at most {GOLDEN_BYTES_MAX} bytes"
            ))
        })
    }
}
