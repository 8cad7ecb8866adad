//! Recordings to transcripts: the windows of a batch are encoded and decoded together, round by round.

use std::sync::Arc;

use crate::arch::transformer::whisper::config::{Config, Tokens};
use crate::arch::transformer::whisper::decode::{Attempt, decode};
use crate::arch::transformer::whisper::recording::{Recording, Session, Sizes, Transcript};
use crate::arch::transformer::whisper::speech::Speech;
use crate::arch::transformer::whisper::vocabulary::Vocabulary;
use crate::engine::{Network, RunError};
use crate::media::mel::{Mel, Spectrogram};

/// Windows that are decoded together. More would hardly be faster, and each holds what it hears: 18 MB in
/// the smallest Whisper, 500 in the largest.
const ROWS_MAX: usize = 8;

/// Positions of the encoder that take as long as a token: a token is decoded alone, so that every weight, those
/// of the whole vocabulary included, is read for it. An estimate. With it a part of two minutes, 16 752 in
/// every Whisper, runs alone at the default limit of a batch's cost.
const TOKEN_COST: usize = 12;

/// A network that listens. A sample is one recording, however long; its windows follow one another,
/// since where one begins is known when the last one has been understood.
pub struct Transcriber<S> {
    pub speech: S,
    pub config: Config,
    pub tokens: Tokens,
    pub mel: Mel,
    pub vocabulary: Arc<Vocabulary>,
}

/// A recording and what the decoder hears of its window.
struct Listening<'a, A> {
    /// In the batch.
    place: usize,
    session: Session<'a>,
    /// None where the window is new.
    audio: Option<A>,
}

impl<S: Speech> Transcriber<S> {
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        let hop = self.mel.config().hop;
        Sizes { window: self.config.frames() * hop, time: 2 * hop }
    }

    /// The log-mels of a window, which is filled with silence to its whole length.
    #[must_use]
    pub fn log_mels(&self, window: &[f32]) -> Spectrogram {
        let mut padded = window.to_vec();
        padded.resize(self.sizes().window, 0.0);
        self.mel.spectrogram(&padded)
    }

    /// Encodes every window that is new.
    fn listen(&self, all: &mut [Listening<'_, S::Audio>]) -> Result<(), RunError> {
        let new: Vec<&mut Listening<'_, S::Audio>> =
            all.iter_mut().filter(|one| one.audio.is_none()).collect();
        let mels: Vec<Spectrogram> =
            new.iter().map(|one| self.log_mels(one.session.window().unwrap_or_default())).collect();
        let encoded = self.speech.encode(&mels.iter().collect::<Vec<_>>())?;
        for (one, audio) in new.into_iter().zip(encoded) {
            one.audio = Some(audio);
        }
        Ok(())
    }

    /// Decodes each recording's window once.
    fn round(&self, all: &mut [Listening<'_, S::Audio>]) -> Result<(), RunError> {
        self.listen(all)?;
        let mut attempts: Vec<Attempt<'_, S::Audio>> = all
            .iter_mut()
            .filter_map(|Listening { session, audio, .. }| {
                let manner = session.manner();
                Some(Attempt { audio: audio.as_ref()?, manner, rng: &mut session.rng })
            })
            .collect();
        let decoded = decode(&self.speech, &self.config, &self.tokens, &mut attempts)?;
        for (one, decoded) in all.iter_mut().zip(decoded) {
            let text = self.vocabulary.text(&decoded.tokens);
            if one.session.take(&decoded, &text, &self.tokens) {
                one.audio = None;
            }
        }
        Ok(())
    }
}

impl<S: Speech> Network for Transcriber<S> {
    type Sample = Recording;
    type Output = Transcript;

    /// Of each window, the last one filled up: the encoder's positions, and the longest text of each beam.
    fn cost(&self, sample: &Recording) -> usize {
        let windows = sample.samples.len().div_ceil(self.sizes().window).max(1);
        let tokens = self.config.text_positions / 2 * sample.options.beams.max(1);
        windows * (self.config.audio_positions + tokens * TOKEN_COST)
    }

    fn pads(&self) -> bool {
        false
    }

    /// As one recording ends, the next one joins those that are listened to.
    fn run(&self, batch: &[&Recording]) -> Result<Vec<Transcript>, RunError> {
        let sizes = self.sizes();
        let mut done: Vec<Transcript> = vec![Transcript::default(); batch.len()];
        let mut waiting = batch.iter().enumerate();
        let mut all: Vec<Listening<'_, S::Audio>> = Vec::new();
        loop {
            let (on, over): (Vec<_>, Vec<_>) =
                all.into_iter().partition(|one| one.session.window().is_some());
            for one in over {
                done[one.place] = one.session.finish();
            }
            all = on;
            while all.len() < ROWS_MAX
                && let Some((place, recording)) = waiting.next()
            {
                let session = Session::new(recording, sizes);
                match session.window() {
                    Some(_) => all.push(Listening { place, session, audio: None }),
                    None => done[place] = session.finish(),
                }
            }
            if all.is_empty() {
                return Ok(done);
            }
            self.round(&mut all)?;
        }
    }
}
