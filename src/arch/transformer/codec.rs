//! Sound to windows of log-mels, log-probabilities to a transcript.

use bytes::Bytes;

use crate::arch::transformer::config::Preprocessing;
use crate::arch::transformer::net::Frames;
use crate::arch::transformer::transcript::{self, Characters};
use crate::domain::{Item, Kind, MediaLimits, Outcome, Params, Payload, Problem, Tensor, Word};
use crate::engine::Codec;
use crate::media::audio::{self, Wanted};
use crate::media::mel::{Mel, Spectrogram};
use crate::media::windows;

/// Below this everywhere, a window is taken for silence: −80 dB of full scale.
const SILENCE: f32 = 1e-4;

/// Reads speech for a [`Transformer`](crate::arch::transformer::net::Transformer).
pub struct SpeechCodec {
    mel: Mel,
    window_samples: usize,
    characters: Characters,
    /// Seconds from position to position of the network.
    position_seconds: f32,
    limits: MediaLimits,
}

/// One item of the payload: where its windows begin, and how long it is, in seconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    windows: Vec<WindowPlace>,
    duration: f32,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct WindowPlace {
    start: f32,
    silent: bool,
}

impl SpeechCodec {
    /// `stride` is how many mel frames the network advances from position to position.
    ///
    /// # Errors
    /// What is wrong with the mel's description.
    #[expect(clippy::cast_precision_loss, reason = "checked to be small")]
    pub fn new(
        preprocessing: &Preprocessing,
        stride: usize,
        characters: Characters,
        limits: MediaLimits,
    ) -> Result<Self, String> {
        let mel = Mel::new(preprocessing.mel.clone())?;
        let samples = (stride * preprocessing.mel.hop) as f32;
        Ok(Self {
            position_seconds: samples / preprocessing.mel.sample_rate as f32,
            window_samples: preprocessing.window_samples(),
            mel,
            characters,
            limits,
        })
    }

    #[must_use]
    pub fn mel(&self) -> &Mel {
        &self.mel
    }

    /// A waveform's windows and where they lie. There is always one, however short the sound.
    #[must_use]
    pub fn windows(&self, samples: &[f32]) -> (Vec<Spectrogram>, Recording) {
        let mut spectrograms = Vec::new();
        let mut places = Vec::new();
        for range in windows::cut(samples, self.window_samples, self.mel.config().sample_rate) {
            let mut part = &samples[range.clone()];
            let padded: Vec<f32>;
            if part.len() < self.mel.config().fft {
                padded = part.iter().copied().chain(std::iter::repeat(0.0)).take(self.mel.config().fft).collect();
                part = &padded;
            }
            let silent = part.iter().all(|sample| sample.abs() < SILENCE);
            places.push(WindowPlace { start: self.seconds(range.start), silent });
            spectrograms.push(self.mel.spectrogram(part));
        }
        (spectrograms, Recording { windows: places, duration: self.seconds(samples.len()) })
    }

    /// The words of one recording.
    #[must_use]
    pub fn words(&self, recording: &Recording, outputs: &[Frames]) -> Vec<Word> {
        let heard = recording.windows.iter().zip(outputs).filter(|(place, _)| !place.silent);
        let mut words: Vec<Word> = heard
            .flat_map(|(place, frames)| {
                transcript::words(frames, &self.characters, place.start, self.position_seconds)
            })
            .collect();
        for word in &mut words {
            word.end = word.end.min(recording.duration);
            word.start = word.start.min(word.end);
        }
        words
    }

    #[expect(clippy::cast_precision_loss, reason = "a recording has hours at most")]
    #[expect(clippy::cast_possible_truncation, reason = "a time is told in f32")]
    fn seconds(&self, samples: usize) -> f32 {
        (samples as f64 / f64::from(self.mel.config().sample_rate)) as f32
    }

    fn samples(&self, item: Item, pointer: &str) -> Result<Vec<f32>, Problem> {
        match item {
            Item::Audio(bytes) | Item::Opaque(bytes) => self.decode_file(bytes, pointer),
            Item::Tensor(tensor) => self.waveform(tensor, pointer),
            other => Err(Problem::fault(
                Kind::UnsupportedMedia,
                pointer,
                "audio, or a tensor of one dimension that is a waveform",
                other.kind(),
                "send WAV, FLAC, MP3 or OGG Vorbis",
            )),
        }
    }

    fn decode_file(&self, bytes: Bytes, pointer: &str) -> Result<Vec<f32>, Problem> {
        let sample_rate = self.mel.config().sample_rate;
        audio::decode(bytes, Wanted { sample_rate, seconds_max: self.limits.audio_seconds_max }, pointer)
    }

    fn waveform(&self, tensor: Tensor, pointer: &str) -> Result<Vec<f32>, Problem> {
        let rate = self.mel.config().sample_rate;
        let expected = format!("a waveform of one dimension at {rate} Hz, finite and in about ±1");
        let hint = "resample it on your side, or send the audio file itself";
        let refuse = |kind, got: String| Problem::fault(kind, pointer, &expected, got, hint);
        if tensor.shape().len() != 1 {
            return Err(refuse(Kind::InvalidInput, format!("shape {:?}", tensor.shape())));
        }
        let seconds = tensor.data().len() / rate as usize;
        if seconds > self.limits.audio_seconds_max as usize {
            let got = format!("{seconds} seconds: at most {} are taken", self.limits.audio_seconds_max);
            return Err(refuse(Kind::TooLarge, got));
        }
        if tensor.data().is_empty() {
            return Err(refuse(Kind::InvalidInput, "no sample".to_owned()));
        }
        match tensor.data().iter().position(|sample| !sample.is_finite() || sample.abs() > 1e3) {
            None => Ok(tensor.into_data()),
            Some(at) => {
                Err(refuse(Kind::InvalidInput, format!("{} at {at}", tensor.data()[at])))
            }
        }
    }
}

impl Codec for SpeechCodec {
    type Sample = Spectrogram;
    type Output = Frames;
    type Ask = Vec<Recording>;

    fn decode(
        &self,
        payload: Payload,
        params: &Params,
    ) -> Result<(Vec<Spectrogram>, Vec<Recording>), Problem> {
        params.reader().finish()?;
        let mut samples = Vec::new();
        let mut recordings = Vec::new();
        for (item, pointer) in payload.into_pairs() {
            let (windows, recording) = self.windows(&self.samples(item, &pointer)?);
            samples.extend(windows);
            recordings.push(recording);
        }
        Ok((samples, recordings))
    }

    fn encode(
        &self,
        outputs: Vec<Frames>,
        recordings: &Vec<Recording>,
    ) -> Result<Vec<Outcome>, Problem> {
        let finite = |frames: &Frames| frames.log_probabilities.iter().all(|v| !v.is_nan());
        if !outputs.iter().all(finite) {
            let detail = "the network answered with a value that is not a number";
            return Err(Problem::new(Kind::Internal, detail));
        }
        let mut left = outputs.as_slice();
        let mut outcomes = Vec::with_capacity(recordings.len());
        for recording in recordings {
            let (own, rest) = left.split_at_checked(recording.windows.len()).ok_or_else(|| {
                Problem::new(Kind::Internal, "the network answered fewer windows than it was given")
            })?;
            left = rest;
            let words = self.words(recording, own);
            let text = transcript::text(&words);
            outcomes.push(Outcome::Transcript { text, words, duration: recording.duration });
        }
        Ok(outcomes)
    }
}
