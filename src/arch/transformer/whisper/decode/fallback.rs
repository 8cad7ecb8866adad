//! When a window's text is not to be trusted, it is drawn again, hotter and hotter; and when nobody
//! speaks there is none.

use crate::arch::transformer::compression;
use crate::arch::transformer::whisper::decode::Decoded;

/// What the reference tries, one after the other.
const TEMPERATURES: &[f32] = &[0.0, 0.2, 0.4, 0.6, 0.8, 1.0];

/// A text that shrinks by more than this repeats itself.
const COMPRESSION_MAX: f32 = 2.4;

/// Below this mean log-probability a text is a guess.
const LOG_PROBABILITY_MIN: f32 = -1.0;

/// Above this probability of no speech, a guess is silence.
const NO_SPEECH_MAX: f32 = 0.6;

/// What is done with a window's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Kept,
    /// Nobody speaks.
    Silence,
    /// Try the next temperature.
    Retry,
}

/// The temperatures of one window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fallback {
    /// The only one, where the caller chose it.
    fixed: Option<f32>,
    at: usize,
}

impl Fallback {
    #[must_use]
    pub fn new(fixed: Option<f32>) -> Self {
        Self { fixed, at: 0 }
    }

    #[must_use]
    pub fn temperature(&self) -> f32 {
        self.fixed.unwrap_or(TEMPERATURES[self.at])
    }

    /// Judges what was made at this temperature, and goes to the next one where that is of no use.
    pub fn judge(&mut self, decoded: &Decoded, text: &str) -> Verdict {
        let guess = decoded.log_probability < LOG_PROBABILITY_MIN;
        if guess && decoded.no_speech > NO_SPEECH_MAX {
            return Verdict::Silence;
        }
        let last = self.fixed.is_some() || self.at + 1 == TEMPERATURES.len();
        if last || !(guess || compression::ratio(text) > COMPRESSION_MAX) {
            return Verdict::Kept;
        }
        self.at += 1;
        Verdict::Retry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(log_probability: f32, no_speech: f32) -> Decoded {
        let log_probabilities = vec![log_probability];
        Decoded { tokens: vec![1], log_probabilities, log_probability, no_speech, language: None }
    }

    #[test]
    fn a_text_is_kept_retried_or_taken_for_silence() {
        let text = "Please enter your agent number followed by the pound key.";
        let verdict = |decoded: Decoded, text: &str| Fallback::new(None).judge(&decoded, text);
        assert_eq!(verdict(decoded(-0.3, 0.9), text), Verdict::Kept);
        assert_eq!(verdict(decoded(-1.2, 0.9), text), Verdict::Silence);
        assert_eq!(verdict(decoded(-1.2, 0.1), text), Verdict::Retry);
        assert_eq!(verdict(decoded(-0.3, 0.1), &"and the ".repeat(40)), Verdict::Retry);
    }

    #[test]
    fn temperatures_rise_to_the_last_and_a_chosen_one_is_the_only_one() {
        let mut fallback = Fallback::new(None);
        let mut tried = vec![fallback.temperature()];
        while fallback.judge(&decoded(-2.0, 0.0), "") == Verdict::Retry {
            tried.push(fallback.temperature());
        }
        assert_eq!(tried, TEMPERATURES);
        let mut fixed = Fallback::new(Some(0.4));
        assert!((fixed.temperature() - 0.4).abs() < 1e-6);
        assert_eq!(fixed.judge(&decoded(-2.0, 0.0), ""), Verdict::Kept);
    }
}
