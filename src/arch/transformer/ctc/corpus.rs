//! Speech data: log-mels to learn from, and examples to be measured on.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;

use crate::arch::pack::DataReceipt;
use crate::arch::report::SpeechSplit;
use crate::arch::transformer::ctc::augment::Augment;
use crate::arch::transformer::ctc::codec::{Recording, SpeechCodec};
use crate::arch::transformer::ctc::config::{Config, Preprocessing};
use crate::arch::transformer::ctc::loss::frames_min;
use crate::arch::transformer::ctc::net::Recognises;
use crate::arch::transformer::ctc::score::{self, Example};
use crate::arch::transformer::ctc::transcript::Characters;
use crate::arch::{TrainError, TrainJob, section};
use crate::dataset::speech::{self, Clip, List, Split};
use crate::dataset::{BadSamples, DataError, Store};
use crate::domain::{Digest, MediaLimits};
use crate::media::audio::{self, Wanted};
use crate::media::mel::{Mel, MelConfig, Spectrogram};

/// A golden sample is small, so that packages are.
const GOLDEN_BYTES_MAX: usize = 150 << 10;

/// A golden sample is a code of so many words, where there is one.
const GOLDEN_WORDS: usize = 4;

/// Codes that are looked at before the first of them is taken: a bound on memory.
const CODES_MAX: usize = 64;

/// What training hears.
pub struct Utterance {
    pub frames: usize,
    pub target: Vec<usize>,
    /// Where its log-mels lie.
    place: Range<usize>,
}

/// Everything that training needs of a directory of clips.
pub struct Corpus {
    pub train: Vec<Utterance>,
    /// Of those, not yet normalised.
    log_mels: Store<f32>,
    pub characters: Characters,
    pub codec: SpeechCodec,
    pub measured: Measured,
    /// Its digest is over the list and the training clips.
    pub receipt: DataReceipt,
    /// What was left out, one line a clip.
    pub left_out: Vec<String>,
}

impl Corpus {
    /// # Errors
    /// [`TrainError::Data`] naming the file or line that cannot be used.
    pub fn load(
        job: &TrainJob<'_>,
        preprocessing: &Preprocessing,
        config: &Config,
        augment: &Augment,
    ) -> Result<Self, TrainError> {
        let data: speech::Config = section("data", &job.recipe.data)?;
        let mut bad = BadSamples::new(job.on_bad_sample);
        let list = List::read(&data, job.data.as_deref(), &mut bad)?;
        let room = Room { config: config.clone(), augment: augment.clone() };
        let (clips, log_mels, digest) = training_clips(&list, &preprocessing.mel, room, &mut bad)?;
        let characters = Characters::of(clips.iter().map(|clip| clip.text.as_str()));
        let codec =
            SpeechCodec::new(preprocessing, config, characters.clone(), MediaLimits::default())?;
        let train: Vec<Utterance> = clips
            .into_iter()
            .filter_map(|Heard { text, frames, place }| {
                Some(Utterance { frames, target: characters.encode(&text)?, place })
            })
            .collect();
        let splits = [Split::Validation, Split::Test, Split::Real];
        let measured = Measured::load(&list, &codec, &splits, &mut bad)?;
        let count = |part: &str, count| (part.to_owned(), count);
        let parts = BTreeMap::from([
            count("train", train.len()),
            count("validation", measured.validation.len()),
            count("test", measured.test.len()),
            count("real", measured.real.len()),
            count("left_out", bad.count()),
        ]);
        let description = "clips of speech; real are recordings of people".to_owned();
        let receipt = DataReceipt { digest, description, parts, seed: Some(data.seed) };
        let left_out = bad.left_out();
        Ok(Self { train, log_mels, characters, codec, measured, receipt, left_out })
    }

    /// What one of [`Self::train`] sounds like.
    ///
    /// # Errors
    /// [`DataError::Store`].
    pub fn log_mels(&self, utterance: &Utterance) -> Result<Spectrogram, DataError> {
        spectrogram(&self.codec, &self.log_mels, &utterance.place)
    }
}

/// What the network has room for.
struct Room {
    config: Config,
    augment: Augment,
}

impl Room {
    /// Refuses a clip that nothing can be learned from.
    fn check(&self, text: &str, log_mels: &Spectrogram) -> Result<(), String> {
        let frames = log_mels.frames();
        if frames == 0 {
            return Err("it is shorter than a mel frame's hop".to_owned());
        }
        let characters: Vec<char> = text.chars().collect();
        let (positions, least) = (self.config.positions(frames), frames_min(&characters));
        if positions < least {
            return Err(format!(
                "it has {positions} positions, and its text needs at least {least}"
            ));
        }
        let (longest, most) =
            (self.config.positions(self.augment.frames_max(frames)), self.config.positions_max);
        if longest > most {
            return Err(format!(
                "stretched and padded it has {longest} positions: expected at most positions_max, {most}"
            ));
        }
        Ok(())
    }
}

/// A training clip whose text is not yet encoded.
struct Heard {
    text: String,
    frames: usize,
    /// Where its log-mels lie.
    place: Range<usize>,
}

fn training_clips(
    list: &List,
    config: &MelConfig,
    room: Room,
    bad: &mut BadSamples,
) -> Result<(Vec<Heard>, Store<f32>, Digest), TrainError> {
    let mel = Mel::new(config.clone()).map_err(TrainError::Data)?;
    let (mut clips, mut store) = (Vec::new(), Store::default());
    let decode = {
        let config = config.clone();
        move |clip: &Clip, bytes| {
            let log_mels = mel.log_mels(&samples(bytes, &config)?);
            room.check(&clip.text, &log_mels)?;
            Ok(log_mels)
        }
    };
    let digest = list.load(&[Split::Train], decode, bad, |clip, _, log_mels| {
        let (text, frames) = (clip.text.clone(), log_mels.frames());
        clips.push(Heard { text, frames, place: store.push(&log_mels.data)? });
        Ok(())
    })?;
    if clips.is_empty() {
        return Err(list.empty("training").into());
    }
    Ok((clips, store, digest))
}

fn samples(bytes: Bytes, mel: &MelConfig) -> Result<Vec<f32>, String> {
    let seconds_max = MediaLimits::default().audio_seconds_max;
    let wanted = Wanted { sample_rate: mel.sample_rate, seconds_max };
    audio::decode(bytes, wanted, "the clip").map_err(|problem| problem.to_string())
}

/// Gives each clip of `splits`, ready to be heard, to `each`; the digest of them and the list.
fn examples(
    list: &List,
    codec: &SpeechCodec,
    splits: &[Split],
    bad: &mut BadSamples,
    mut each: impl FnMut(&Clip, Bytes, Example) -> Result<(), DataError>,
) -> Result<Digest, DataError> {
    let decode = {
        let codec = codec.clone();
        move |_: &Clip, bytes| Ok(codec.windows(&samples(bytes, codec.mel().config())?))
    };
    list.load(splits, decode, bad, |clip, bytes, (windows, recording)| {
        let (file, text) = (clip.audio.display().to_string(), clip.text.clone());
        each(clip, bytes, Example { file, text, windows, recording })
    })
}

/// What is heard in the test split and in the recordings of people, each clip while those after it are decoded, and
/// the digest of them all.
///
/// # Errors
/// [`TrainError::Dataset`] naming the file or line that cannot be used, or the part that is empty; when the
/// arithmetic fails.
pub fn heard(
    list: &List,
    network: &impl Recognises,
    codec: &SpeechCodec,
    bad: &mut BadSamples,
) -> Result<([SpeechSplit; 2], Digest), TrainError> {
    let (mut test, mut real) = (SpeechSplit::new("test"), SpeechSplit::new("real"));
    let mut failed = None;
    let digest = examples(list, codec, &[Split::Test, Split::Real], bad, |clip, _, example| {
        let split = if clip.split == Split::Real { &mut real } else { &mut test };
        // After a failure nothing that is heard counts.
        match failed.is_none().then(|| score::hear(network, codec, &example)) {
            Some(Ok(heard)) => split.add(&example.file, &example.text, &heard),
            Some(Err(error)) => failed = Some(error),
            None => {}
        }
        Ok(())
    })?;
    match failed {
        Some(error) => Err(error),
        None if test.utterances + real.utterances == 0 => Err(list.empty("test").into()),
        None => Ok(([test, real], digest)),
    }
}

/// An example whose log-mels lie in a store.
pub struct Kept {
    file: String,
    text: String,
    /// Where those of each window lie.
    windows: Vec<Range<usize>>,
    recording: Recording,
}

/// What a network is measured on.
pub struct Measured {
    /// Empty when none is held out.
    pub validation: Vec<Kept>,
    pub test: Vec<Kept>,
    pub real: Vec<Kept>,
    log_mels: Store<f32>,
    candidates: Candidates,
    /// Over the list and the clips of these splits.
    pub digest: Digest,
}

/// What may become the golden sample.
#[derive(Default)]
struct Candidates {
    /// Small codes of the test split: their places in `test` and their files.
    codes: Vec<(usize, Bytes)>,
    /// The smallest file of all, where there is no such code.
    smallest: Option<Bytes>,
}

impl Measured {
    /// # Errors
    /// [`TrainError::Dataset`] naming the file or line that cannot be used, or the part that is empty.
    pub fn load(
        list: &List,
        codec: &SpeechCodec,
        splits: &[Split],
        bad: &mut BadSamples,
    ) -> Result<Self, TrainError> {
        let (mut validation, mut test, mut real) = (Vec::new(), Vec::new(), Vec::new());
        let (mut log_mels, mut candidates) = (Store::default(), Candidates::default());
        let digest = examples(list, codec, splits, bad, |clip, bytes, example| {
            if clip.split != Split::Validation {
                candidates.consider(clip, bytes, test.len());
            }
            let into = match clip.split {
                Split::Validation => &mut validation,
                Split::Real => &mut real,
                Split::Train | Split::Test => &mut test,
            };
            into.push(Kept::new(example, &mut log_mels)?);
            Ok(())
        })?;
        if test.is_empty() && real.is_empty() {
            return Err(list.empty("test").into());
        }
        Ok(Self { validation, test, real, log_mels, candidates, digest })
    }

    /// The figure of [`Self::watch`] that tells a better epoch from a worse one.
    #[must_use]
    pub fn goal(&self) -> &'static str {
        let only_people = self.validation.is_empty() && self.test.is_empty();
        if only_people { "wer_real" } else { "wer" }
    }

    /// The metrics of [`Self::score`] on the validation clips, and where there are none on the others.
    ///
    /// # Errors
    /// When the arithmetic fails.
    pub fn watch(
        &self,
        network: &impl Recognises,
        codec: &SpeechCodec,
    ) -> Result<BTreeMap<String, f64>, TrainError> {
        if self.validation.is_empty() {
            return self.score(network, codec);
        }
        let mut metrics = BTreeMap::new();
        self.split(network, codec, &self.validation, "validation")?.rates("", &mut metrics);
        Ok(metrics)
    }

    /// The figures of what is heard in the test split and in the recordings of people.
    ///
    /// # Errors
    /// When the arithmetic fails.
    pub fn score(
        &self,
        network: &impl Recognises,
        codec: &SpeechCodec,
    ) -> Result<BTreeMap<String, f64>, TrainError> {
        let test = self.split(network, codec, &self.test, "test")?;
        let real = self.split(network, codec, &self.real, "real")?;
        Ok(score::metrics(&[test, real]))
    }

    /// What the network hears in all clips of a split.
    fn split(
        &self,
        network: &impl Recognises,
        codec: &SpeechCodec,
        clips: &[Kept],
        name: &'static str,
    ) -> Result<SpeechSplit, TrainError> {
        let mut split = SpeechSplit::new(name);
        for clip in clips {
            let example = clip.example(codec, &self.log_mels)?;
            split.add(&clip.file, &clip.text, &score::hear(network, codec, &example)?);
        }
        Ok(split)
    }

    /// A small test clip, one that the network hears right where there is one.
    ///
    /// # Errors
    /// When the arithmetic fails.
    pub fn golden(
        &self,
        network: &impl Recognises,
        codec: &SpeechCodec,
    ) -> Result<Bytes, TrainError> {
        for (place, bytes) in &self.candidates.codes {
            let example = self.test[*place].example(codec, &self.log_mels)?;
            if score::hear(network, codec, &example)? == example.text {
                return Ok(bytes.clone());
            }
        }
        let code = self.candidates.codes.first().map(|(_, bytes)| bytes);
        code.or(self.candidates.smallest.as_ref()).cloned().ok_or_else(|| {
            TrainError::Data("there is no test clip to make a golden sample of".to_owned())
        })
    }
}

impl Kept {
    fn new(example: Example, log_mels: &mut Store<f32>) -> Result<Self, DataError> {
        let Example { file, text, windows, recording } = example;
        let windows = windows.iter().map(|window| log_mels.push(&window.data));
        Ok(Self { file, text, windows: windows.collect::<Result<_, _>>()?, recording })
    }

    fn example(&self, codec: &SpeechCodec, log_mels: &Store<f32>) -> Result<Example, DataError> {
        let Self { file, text, windows, recording } = self;
        let windows = windows.iter().map(|place| spectrogram(codec, log_mels, place));
        Ok(Example {
            file: file.clone(),
            text: text.clone(),
            windows: windows.collect::<Result<_, _>>()?,
            recording: recording.clone(),
        })
    }
}

fn spectrogram(
    codec: &SpeechCodec,
    log_mels: &Store<f32>,
    place: &Range<usize>,
) -> Result<Spectrogram, DataError> {
    let data = log_mels.get(place.clone())?.into_owned();
    Ok(Spectrogram { mels: codec.mel().config().mels, data })
}

impl Candidates {
    /// A clip that is the one at `place` of its split.
    fn consider(&mut self, clip: &Clip, bytes: Bytes, place: usize) {
        let code = clip.text.split_whitespace().count() == GOLDEN_WORDS;
        if self.smallest.as_ref().is_none_or(|smallest| bytes.len() < smallest.len()) {
            self.smallest = Some(bytes.clone());
        }
        let few = self.codes.len() < CODES_MAX;
        if clip.split == Split::Test && code && few && bytes.len() <= GOLDEN_BYTES_MAX {
            self.codes.push((place, bytes));
        }
    }
}
