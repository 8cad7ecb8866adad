//! What `maas bench` times: a recording, the encoder alone, and one step of the decoder alone.

use std::sync::{Arc, Mutex, PoisonError};

use crate::arch::measure::{self, Timed};
use crate::arch::transformer::whisper::codec::WhisperCodec;
use crate::arch::transformer::whisper::speech::Speech;
use crate::arch::transformer::whisper::transcriber::Transcriber;
use crate::arch::{OpenError, transformer::whisper::ROWS_MAX};
use crate::domain::Item;
use crate::engine::{Row, RunError, TokenId};
use crate::media::mel::Spectrogram;
use crate::package::Package;

/// The parts that are timed alone.
const ENCODER: &str = "encoder";
const STEP: &str = "step";

/// Tokens that the decoder has read before the step that is timed.
const READ: usize = 32;

struct Parts<S: Speech> {
    whole: Box<dyn Timed>,
    network: Arc<Transcriber<S>>,
    /// Silence: what is heard changes nothing to the time.
    window: Spectrogram,
    /// Before the step.
    read: Mutex<S::State>,
}

/// A network on `input`, or on the package's first golden sample.
///
/// # Errors
/// [`OpenError`] when the input cannot be read, or the arithmetic fails.
pub fn timed<S: Speech>(
    package: &Package,
    (network, codec): (Arc<Transcriber<S>>, WhisperCodec),
    input: Option<Item>,
) -> Result<Box<dyn Timed>, OpenError> {
    let whole = measure::encoder_decoder(package, (Arc::clone(&network), codec), input, ROWS_MAX)?;
    let window = network.log_mels(&[]);
    let read = read(&network.speech, &window).map_err(|error| {
        let input = "a window of silence".to_owned();
        OpenError::Golden { input, reason: error.to_string() }
    })?;
    Ok(Box::new(Parts { whole, network, window, read: Mutex::new(read) }))
}

/// The state after the window and some tokens.
fn read<S: Speech>(speech: &S, window: &Spectrogram) -> Result<S::State, RunError> {
    let audio = Arc::new(speech.encode(window)?);
    let mut states = [speech.begin(&audio)];
    step(speech, &mut states, &[0; READ])?;
    let [read] = states;
    Ok(read)
}

fn step<S: Speech>(
    speech: &S,
    states: &mut [S::State],
    tokens: &[TokenId],
) -> Result<(), RunError> {
    let row = |state| Row { state, tokens, want_logits: true };
    let mut rows: Vec<Row<'_, S::State>> = states.iter_mut().map(row).collect();
    speech.step(&mut rows, &mut Vec::new())
}

impl<S: Speech> Timed for Parts<S> {
    fn whole(&self, rows: usize) -> Result<(), String> {
        self.whole.whole(rows)
    }

    fn network(&self, part: &str, rows: usize) -> Result<(), String> {
        let speech = &self.network.speech;
        let done = match part {
            ENCODER => (0..rows).try_for_each(|_| speech.encode(&self.window).map(drop)),
            STEP => {
                let read = self.read.lock().unwrap_or_else(PoisonError::into_inner).clone();
                step(speech, &mut vec![read; rows], &[0])
            }
            _ => {
                measure::only(&[ENCODER, STEP], part)?;
                return self.whole.network(part, rows);
            }
        };
        done.map_err(|error| error.to_string())
    }
}
