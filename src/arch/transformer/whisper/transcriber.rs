//! Recordings to transcripts: a recording's windows follow one another, each encoded and then decoded.

use std::sync::Arc;

use crate::arch::transformer::whisper::align::{self, Attended, Piece};
use crate::arch::transformer::whisper::config::{Config, Tokens};
use crate::arch::transformer::whisper::decode::{Attempt, Manner, rest_of_prompt};
use crate::arch::transformer::whisper::recording::{Recording, Session, Sizes, Transcript};
use crate::arch::transformer::whisper::speech::Speech;
use crate::arch::transformer::whisper::vocabulary::Vocabulary;
use crate::engine::{Decoding, EncoderDecoder, Row, RunError, Scores, Sequence, Stepwise, TokenId};
use crate::media::mel::{Mel, Spectrogram};

/// A network that listens. A sample is one recording, however long; where a window begins is known when the last
/// one has been understood.
pub struct Transcriber<S> {
    pub speech: S,
    pub config: Config,
    pub tokens: Tokens,
    pub mel: Mel,
    pub vocabulary: Arc<Vocabulary>,
}

/// A recording that is being listened to.
pub struct Listening<S: Speech> {
    network: Arc<Transcriber<S>>,
    session: Session,
    /// While its window is encoded and not yet understood.
    window: Option<Window<S>>,
}

/// A window that is decoded, perhaps not for the first time.
struct Window<S: Speech> {
    audio: Arc<S::Audio>,
    attempt: Attempt<S::State>,
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

    fn attempt(&self, audio: &Arc<S::Audio>, session: &Session) -> Attempt<S::State> {
        Attempt::new(self.speech.begin(audio), session.manner(), session.before(), &self.tokens)
    }

    /// Gives the last window's segments their words. The decoder reads its text once more, as the prompt of a text
    /// without times has it.
    fn align(
        &self,
        audio: &Arc<S::Audio>,
        manner: Manner,
        length: usize,
        session: &mut Session,
    ) -> Result<(), RunError> {
        let (segments, silent_since) = session.latest();
        let Some(first) = segments.first() else { return Ok(()) };
        let Sizes { time: frame, .. } = self.sizes();
        let window = align::Window { start: first.heard.seek, length, frame, silent_since };
        let text: Vec<TokenId> = segments.iter().flat_map(|said| &said.tokens).copied().collect();
        let manner = Manner { timestamps: false, ..manner };
        let prompt = rest_of_prompt(&self.tokens, &manner, manner.language);
        let mut tokens: Vec<TokenId> = [self.tokens.start].into_iter().chain(prompt).collect();
        // What is listened to after a token is what comes next.
        let before = tokens.len() - 1;
        tokens.extend(text.iter().copied().chain([self.tokens.end]));
        let frames = (length / frame).clamp(1, self.config.audio_positions);
        let mut attended = Attended::new(tokens.len(), frames);
        let heads = self.config.heads();
        self.speech.attend(audio, &tokens, &heads, &mut |scores| attended.add(scores))?;
        let onsets = attended.onsets(before..tokens.len() - 1);
        let spaces = self.tokens.parts_words(manner.language);
        let pieces = Piece::split(&self.vocabulary, &text, spaces);
        align::place(segments, pieces, spaces, &onsets, window);
        Ok(())
    }
}

impl<S: Speech> Stepwise for Transcriber<S> {
    type State = S::State;

    fn step(&self, rows: &mut [Row<'_, S::State>], logits: &mut Vec<f32>) -> Result<(), RunError> {
        self.speech.step(rows, logits)
    }
}

impl<S: Speech> EncoderDecoder for Transcriber<S> {
    type Sample = Recording;
    type Decoding = Listening<S>;

    fn open(self: &Arc<Self>, sample: Recording) -> Listening<S> {
        let session = Session::new(sample, self.sizes());
        Listening { network: Arc::clone(self), session, window: None }
    }
}

impl<S: Speech> Decoding for Listening<S> {
    type Output = Transcript;

    fn is_over(&self) -> bool {
        self.session.window().is_none()
    }

    fn encode(&mut self) -> Result<(), RunError> {
        let network = &*self.network;
        if let Some(sound) = self.session.window() {
            let audio = Arc::new(network.speech.encode(&network.log_mels(sound))?);
            let attempt = network.attempt(&audio, &self.session);
            self.window = Some(Window { audio, attempt });
        }
        Ok(())
    }

    fn said(&self) -> String {
        let segments = self.session.told().iter();
        segments.map(|said| self.network.vocabulary.text(&said.tokens)).collect()
    }

    fn finish(self) -> Transcript {
        self.session.finish()
    }
}

impl<S: Speech> Sequence for Listening<S> {
    type State = S::State;

    /// A prompt is as short as any row.
    fn unread(&self) -> usize {
        0
    }

    fn rows<'a>(&'a mut self, _: usize, rows: &mut Vec<Row<'a, S::State>>) {
        if let Some(window) = &mut self.window {
            window.attempt.rows(rows);
        }
    }

    fn take(&mut self, scores: Scores<'_>) -> Result<bool, RunError> {
        let (network, session) = (&*self.network, &mut self.session);
        let Some(Window { audio, attempt }) = &mut self.window else { return Ok(false) };
        let positions = network.config.text_positions;
        let decoded = attempt.take(scores, &network.tokens, positions, &mut session.rng)?;
        let Some(decoded) = decoded else { return Ok(true) };
        let text = network.vocabulary.text(&decoded.tokens);
        let length = session.window().map_or(0, <[f32]>::len);
        let manner = Manner { language: decoded.language, ..session.manner() };
        if session.take(&decoded, &text, &network.tokens) {
            if session.wants_words() {
                network.align(audio, manner, length, session)?;
            }
            self.window = None;
            return Ok(false);
        }
        *attempt = network.attempt(audio, session);
        Ok(true)
    }
}
