//! Error rates of a network on recordings.

use std::collections::BTreeMap;

use crate::arch::TrainError;
use crate::arch::report::SpeechSplit;
use crate::arch::transformer::ctc::codec::{Recording, SpeechCodec};
use crate::arch::transformer::ctc::net::Recognises;
use crate::arch::transformer::ctc::transcript::text;
use crate::media::mel::Spectrogram;

/// A recording with what is said in it.
pub struct Example {
    /// As the list names it.
    pub file: String,
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

/// The figures as manifests and reports name them: `wer` and `cer` on voices that training never heard,
/// `wer_real` and `cer_real` on recordings of people.
#[must_use]
pub fn metrics(splits: &[SpeechSplit; 2]) -> BTreeMap<String, f64> {
    let mut metrics = BTreeMap::new();
    let [test, real] = splits;
    test.rates("", &mut metrics);
    real.rates("_real", &mut metrics);
    metrics
}
