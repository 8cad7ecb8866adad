//! Error rates of a network on recordings.

use std::collections::BTreeMap;

use crate::arch::TrainError;
use crate::arch::transformer::ctc::codec::{Recording, SpeechCodec};
use crate::arch::transformer::ctc::net::Recognises;
use crate::arch::transformer::ctc::transcript::{edits, text};
use crate::media::mel::Spectrogram;

/// A recording with what is said in it.
pub struct Example {
    pub text: String,
    pub windows: Vec<Spectrogram>,
    pub recording: Recording,
}

/// What the network hears in an example.
///
/// # Errors
/// When the arithmetic fails.
pub fn hear(
    network: &impl Recognises,
    codec: &SpeechCodec,
    example: &Example,
) -> Result<String, TrainError> {
    let windows: Vec<&Spectrogram> = example.windows.iter().collect();
    let outputs = network.run(&windows).map_err(|e| candle_core::Error::Msg(e.0))?;
    Ok(text(&codec.words(&example.recording, &outputs)))
}

/// Adds `wer<suffix>` and `cer<suffix>`: errors over words, and over characters, of all examples
/// together. Adds nothing when there are no examples.
///
/// # Errors
/// When the arithmetic fails.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
pub fn rates(
    network: &impl Recognises,
    codec: &SpeechCodec,
    examples: &[Example],
    suffix: &str,
    metrics: &mut BTreeMap<String, f64>,
) -> Result<(), TrainError> {
    let (mut words, mut word_errors, mut characters, mut character_errors) = (0, 0, 0, 0);
    for example in examples {
        let heard = hear(network, codec, example)?;
        let (said, got) = (split(&example.text), split(&heard));
        words += said.len();
        word_errors += edits(&said, &got);
        let (said, got): (Vec<char>, Vec<char>) =
            (example.text.chars().collect(), heard.chars().collect());
        characters += said.len();
        character_errors += edits(&said, &got);
    }
    if words > 0 {
        metrics.insert(format!("wer{suffix}"), word_errors as f64 / words as f64);
        metrics.insert(format!("cer{suffix}"), character_errors as f64 / characters as f64);
    }
    Ok(())
}

fn split(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}
