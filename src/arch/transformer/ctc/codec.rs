//! Sound to windows of log-mels, log-probabilities to a transcript.

use crate::arch::OpenError;
use crate::arch::transformer::ctc::config::{Config, Preprocessing};
use crate::arch::transformer::ctc::lexicon::Lexicon;
use crate::arch::transformer::ctc::net::Frames;
use crate::arch::transformer::ctc::transcript::{self, Characters, Clock, Said, milliseconds};
use crate::arch::transformer::waveform::Waveforms;
use crate::domain::{Kind, MediaLimits, Outcome, Params, Payload, Problem, Word};
use crate::engine::Codec;
use crate::media::mel::{Mel, Spectrogram};
use crate::media::windows;

/// Below this everywhere, a window is taken for silence: −80 dB of full scale.
const SILENCE: f32 = 1e-4;

/// Below this spread of its log-mels (log10 of power), a window is taken for a steady noise without
/// speech: such noise has 0.26 to 0.28, the quietest speech of the test data 0.86.
const STEADY: f32 = 0.4;

/// Words that are as far apart as this, in seconds, are of two segments.
const PAUSE: f32 = 0.7;

/// Reads speech for a [`Transformer`](crate::arch::transformer::ctc::net::Transformer).
#[derive(Clone)]
pub struct SpeechCodec {
    mel: Mel,
    window_samples: usize,
    characters: Characters,
    /// Where only some words can be heard.
    lexicon: Option<Lexicon>,
    /// Seconds from position to position of the network.
    position_seconds: f32,
    limits: MediaLimits,
}

/// What the answer needs to know of the request.
#[derive(Debug, Clone, PartialEq)]
pub struct Ask {
    segments: bool,
    /// One an item.
    recordings: Vec<Recording>,
}

/// One item of the payload: where its windows begin, and how long it is, in seconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// One a window that is not silent.
    starts: Vec<f32>,
    duration: f32,
}

impl SpeechCodec {
    /// # Errors
    /// [`OpenError::Config`] when the mel cannot be computed, or a word holds a character that the
    /// network does not know.
    #[expect(clippy::cast_precision_loss, reason = "checked to be small")]
    pub fn new(
        preprocessing: &Preprocessing,
        config: &Config,
        characters: Characters,
        limits: MediaLimits,
    ) -> Result<Self, OpenError> {
        let mel = Mel::new(preprocessing.mel.clone())
            .map_err(|reason| OpenError::Config { section: "preprocessing.mel", reason })?;
        let samples = (config.stride * preprocessing.mel.hop) as f32;
        let some = !config.words.is_empty();
        let lexicon = some.then(|| Lexicon::new(&config.words, &characters)).transpose()?;
        Ok(Self {
            position_seconds: samples / preprocessing.mel.sample_rate as f32,
            window_samples: preprocessing.window_samples(),
            mel,
            characters,
            lexicon,
            limits,
        })
    }

    /// What a request may bring from now on.
    pub fn set_limits(&mut self, limits: MediaLimits) {
        self.limits = limits;
    }

    #[must_use]
    pub fn mel(&self) -> &Mel {
        &self.mel
    }

    /// A waveform's windows in which somebody may speak, and where they lie.
    #[must_use]
    pub fn windows(&self, samples: &[f32]) -> (Vec<Spectrogram>, Recording) {
        let mut spectrograms = Vec::new();
        let mut starts = Vec::new();
        for range in windows::cut(samples, self.window_samples, self.mel.config().sample_rate) {
            let mut part = &samples[range.clone()];
            let padded: Vec<f32>;
            if part.len() < self.mel.config().fft {
                padded = part
                    .iter()
                    .copied()
                    .chain(std::iter::repeat(0.0))
                    .take(self.mel.config().fft)
                    .collect();
                part = &padded;
            }
            let mut spectrogram = self.mel.log_mels(part);
            let silent =
                part.iter().all(|sample| sample.abs() < SILENCE) || spectrogram.spread() < STEADY;
            self.mel.normalise(&mut spectrogram);
            if !silent {
                starts.push(self.seconds(range.start));
                spectrograms.push(spectrogram);
            }
        }
        (spectrograms, Recording { starts, duration: self.seconds(samples.len()) })
    }

    /// What each window of one recording says.
    fn said<'a>(
        &'a self,
        recording: &'a Recording,
        outputs: &'a [Frames],
    ) -> impl Iterator<Item = Said<'a>> {
        recording.starts.iter().zip(outputs).map(|(&start, frames)| {
            let path = match &self.lexicon {
                Some(lexicon) => lexicon.path(frames),
                None => transcript::best(frames),
            };
            let clock = Clock { start, step: self.position_seconds, end: recording.duration };
            Said::new(frames, &path, &self.characters, clock)
        })
    }

    /// The words of one recording.
    #[must_use]
    pub fn words(&self, recording: &Recording, outputs: &[Frames]) -> Vec<Word> {
        self.said(recording, outputs).flat_map(|said| said.words()).collect()
    }

    fn outcome(&self, recording: &Recording, outputs: &[Frames], segments: bool) -> Outcome {
        let said: Vec<Said> = self.said(recording, outputs).collect();
        let words: Vec<Word> = said.iter().flat_map(Said::words).collect();
        let told = said.iter().filter(|_| segments).flat_map(|said| said.segments(PAUSE));
        Outcome::Transcript {
            text: transcript::text(&words),
            words,
            segments: told.collect(),
            language: None,
            duration: milliseconds(recording.duration),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a recording has hours at most")]
    #[expect(clippy::cast_possible_truncation, reason = "a time is told in f32")]
    fn seconds(&self, samples: usize) -> f32 {
        (samples as f64 / f64::from(self.mel.config().sample_rate)) as f32
    }
}

impl Codec for SpeechCodec {
    type Sample = Spectrogram;
    type Output = Frames;
    type Ask = Ask;

    fn decode(
        &self,
        payload: Payload,
        params: &Params,
    ) -> Result<(Vec<Spectrogram>, Ask), Problem> {
        let mut reader = params.reader();
        // Words have their times in any case.
        let segments = reader.choice("timestamps", &["segment", "word"]).is_some();
        reader.finish()?;
        let mut samples = Vec::new();
        let mut recordings = Vec::new();
        let sample_rate = self.mel.config().sample_rate;
        for sound in (Waveforms { sample_rate, limits: self.limits }).read(payload)? {
            let (windows, recording) = self.windows(&sound);
            samples.extend(windows);
            recordings.push(recording);
        }
        Ok((samples, Ask { segments, recordings }))
    }

    fn encode(&self, outputs: Vec<Frames>, ask: &Ask) -> Result<Vec<Outcome>, Problem> {
        let finite = |frames: &Frames| frames.log_probabilities.iter().all(|v| !v.is_nan());
        if !outputs.iter().all(finite) {
            let detail = "the network answered with a value that is not a number";
            return Err(Problem::new(Kind::Internal, detail));
        }
        let mut left = outputs.as_slice();
        let mut outcomes = Vec::with_capacity(ask.recordings.len());
        for recording in &ask.recordings {
            let (own, rest) = left.split_at_checked(recording.starts.len()).ok_or_else(|| {
                Problem::new(Kind::Internal, "the network answered fewer windows than it was given")
            })?;
            left = rest;
            outcomes.push(self.outcome(recording, own, ask.segments));
        }
        Ok(outcomes)
    }
}

#[cfg(test)]
#[expect(clippy::cast_precision_loss, reason = "small numbers")]
mod tests {
    use super::*;
    use crate::domain::{Item, ParamValue, Tensor};
    use crate::media::mel::{MelConfig, MelScale, Normalisation};

    /// 16 mels at 8 kHz, a position every 20 ms, windows of one second.
    fn codec() -> SpeechCodec {
        let mel = MelConfig {
            sample_rate: 8000,
            fft: 256,
            window: 200,
            hop: 80,
            mels: 16,
            f_min: 0.0,
            f_max: 4000.0,
            scale: MelScale::Htk,
            range: 6.0,
            normalisation: Normalisation::Utterance,
        };
        let limits = MediaLimits { audio_seconds_max: 5, ..MediaLimits::default() };
        let characters = Characters::of(["ab "].into_iter());
        let preprocessing = Preprocessing { mel, window_seconds: 1.0 };
        SpeechCodec::new(&preprocessing, &Config::tiny(), characters, limits).unwrap()
    }

    fn waveform(samples: Vec<f32>) -> Payload {
        let tensor = Tensor::new(vec![samples.len()], samples).unwrap();
        Payload::single(Item::Tensor(tensor), "/inputs/0")
    }

    fn tone(samples: usize) -> Vec<f32> {
        (0..samples).map(|i| (i as f32 * 0.5).sin() * 0.5).collect()
    }

    /// An `a` at the first position, and blanks.
    fn says_a(positions: usize) -> Frames {
        let mut log_probabilities = vec![-9.0; positions * 4];
        for (at, row) in log_probabilities.chunks_exact_mut(4).enumerate() {
            row[if at == 0 { 2 } else { 0 }] = -0.01;
        }
        Frames { classes: 4, log_probabilities }
    }

    #[test]
    fn windows_are_joined_again_with_their_times() {
        let codec = codec();
        let mut sound = tone(12_000);
        // A pause from 0.7 to 0.9 s: the cut falls into its middle.
        sound[5600..7200].fill(0.0);
        let (samples, ask) = codec.decode(waveform(sound), &Params::default()).unwrap();
        assert_eq!(samples.len(), 2);
        let outputs = samples.iter().map(|s| says_a(s.frames().div_ceil(2))).collect();
        let outcomes = codec.encode(outputs, &ask).unwrap();
        let [Outcome::Transcript { text, words, duration, .. }] = outcomes.as_slice() else {
            panic!("one transcript: {outcomes:?}")
        };
        assert_eq!((text.as_str(), *duration), ("a a", 1.5));
        assert_eq!((words[0].start, words[0].end), (0.0, 0.02));
        assert!((0.75..0.85).contains(&words[1].start), "{words:?}");
        assert!(words[1].confidence > 0.98);
    }

    /// White noise: Park and Miller's numbers.
    fn noise(samples: usize, level: f32) -> Vec<f32> {
        let next = |state: &mut u64| {
            *state = *state * 16_807 % 2_147_483_647;
            Some((*state as f32 / 1_073_741_824.0 - 1.0) * level)
        };
        let mut state = 1;
        std::iter::from_fn(|| next(&mut state)).take(samples).collect()
    }

    #[test]
    fn silence_steady_noise_and_very_short_sound_say_nothing() {
        let codec = codec();
        let steady = [noise(4000, 0.5), noise(12_000, 0.01)];
        for sound in [vec![0.0; 4000], vec![0.0; 1], vec![1e-5; 12_000]].into_iter().chain(steady) {
            let (samples, ask) = codec.decode(waveform(sound), &Params::default()).unwrap();
            assert!(samples.iter().all(|s| s.frames() > 0));
            let outputs = samples.iter().map(|s| says_a(s.frames().div_ceil(2))).collect();
            let outcomes = codec.encode(outputs, &ask).unwrap();
            assert!(matches!(&outcomes[0], Outcome::Transcript { text, .. } if text.is_empty()));
        }
        let (samples, _) = codec.decode(waveform(vec![0.5; 3]), &Params::default()).unwrap();
        assert_eq!(samples[0].frames(), 3);
    }

    #[test]
    fn waveforms_are_checked() {
        let codec = codec();
        let refused = |payload| codec.decode(payload, &Params::default()).unwrap_err();
        assert_eq!(refused(waveform(vec![])).kind, Kind::InvalidInput);
        assert_eq!(refused(waveform(vec![0.0, f32::INFINITY])).kind, Kind::InvalidInput);
        assert_eq!(refused(waveform(vec![0.0; 6 * 8000])).kind, Kind::TooLarge);
        let flat = Item::Tensor(Tensor::new(vec![2, 2], vec![0.0; 4]).unwrap());
        let problem = refused(Payload::single(flat, "/inputs/0"));
        assert_eq!(
            (problem.kind, problem.faults[0].pointer.as_str()),
            (Kind::InvalidInput, "/inputs/0")
        );
        let text = Payload::single(Item::Text("one".into()), "/inputs/0");
        assert_eq!(refused(text).kind, Kind::UnsupportedMedia);
    }

    #[test]
    fn segments_are_told_where_they_are_asked_for() {
        let codec = codec();
        let asked = |level: Option<&str>| {
            let mut params = Params::default();
            if let Some(level) = level {
                params.insert("timestamps", ParamValue::Text(level.into()), "/t".into());
            }
            let (samples, ask) = codec.decode(waveform(tone(4000)), &params)?;
            let outputs = samples.iter().map(|s| says_a(s.frames().div_ceil(2))).collect();
            let outcome = codec.encode(outputs, &ask)?.remove(0);
            Ok::<_, Problem>(serde_json::to_value(outcome).unwrap())
        };
        let plain = asked(None).unwrap();
        assert!(plain["words"][0]["word"] == "a" && plain.get("segments").is_none());
        for level in ["segment", "word"] {
            let told = asked(Some(level)).unwrap();
            assert_eq!(told["segments"][0]["text"], "a");
            assert_eq!(told["words"], plain["words"]);
            assert!(told["segments"][0].get("evidence").is_none());
        }
        assert_eq!(asked(Some("letter")).unwrap_err().faults[0].pointer, "/t");
    }

    #[test]
    fn no_other_parameter_is_honoured() {
        let mut params = Params::default();
        params.insert("top_k", ParamValue::Number(3.0), "/parameters/top_k".into());
        let problem = codec().decode(waveform(tone(800)), &params).unwrap_err();
        assert_eq!(problem.faults[0].pointer, "/parameters/top_k");
    }

    #[test]
    fn what_is_not_a_number_is_our_fault() {
        let codec = codec();
        let (_, ask) = codec.decode(waveform(tone(800)), &Params::default()).unwrap();
        let frames = Frames { classes: 4, log_probabilities: vec![f32::NAN; 4] };
        assert_eq!(codec.encode(vec![frames], &ask).unwrap_err().kind, Kind::Internal);
        assert_eq!(codec.encode(vec![], &ask).unwrap_err().kind, Kind::Internal);
    }
}
