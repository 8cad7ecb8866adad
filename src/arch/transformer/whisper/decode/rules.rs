//! Which tokens may come next: the rules of the reference decoder.

use crate::arch::transformer::whisper::config::Tokens;
use crate::engine::{RunError, TokenId};

/// The latest time that a window may begin with, in steps of 20 ms: one second.
const FIRST_TIME_MAX: usize = 50;

/// What may be said, of one window.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    tokens: &'a Tokens,
    timestamps: bool,
}

impl<'a> Rules<'a> {
    #[must_use]
    pub fn new(tokens: &'a Tokens, timestamps: bool) -> Self {
        Self { tokens, timestamps }
    }

    /// The token that ends a text.
    #[must_use]
    pub fn end(&self) -> TokenId {
        self.tokens.end
    }

    /// Turns the logits after `said` into log-probabilities of what may come; −∞ of what may not.
    ///
    /// # Errors
    /// When a logit is +∞ or not a number.
    pub fn apply(&self, logits: &mut [f32], said: &[TokenId]) -> Result<(), RunError> {
        check(logits)?;
        if said.is_empty() {
            self.tokens.suppress_first.iter().for_each(|&token| forbid_one(logits, token));
        }
        self.tokens.suppress.iter().for_each(|&token| forbid_one(logits, token));
        if self.timestamps {
            self.times(logits, said);
        } else {
            forbid(logits, self.tokens.no_timestamps as usize..usize::MAX);
        }
        normalise(logits);
        if self.timestamps {
            self.prefer_time(logits);
        }
        Ok(())
    }

    /// Times come in pairs, but for the first and the last; they grow, and none is taken back.
    fn times(&self, logits: &mut [f32], said: &[TokenId]) {
        let first = self.tokens.first_time();
        let is_time = |at: usize| said.iter().rev().nth(at).is_some_and(|&token| token >= first);
        forbid_one(logits, self.tokens.no_timestamps);
        let after_time = is_time(0);
        let after_pair = after_time && (said.len() < 2 || is_time(1));
        if after_pair {
            forbid(logits, first as usize..usize::MAX);
        } else if after_time {
            forbid(logits, 0..self.tokens.end as usize);
        }
        if let Some(&last) = said.iter().rfind(|&&token| token >= first) {
            // A segment that lasts no time would never end.
            let least = if after_time && !after_pair { last } else { last.saturating_add(1) };
            forbid(logits, first as usize..least as usize);
        }
        if said.is_empty() {
            forbid(logits, 0..first as usize);
            forbid(logits, first as usize + FIRST_TIME_MAX + 1..usize::MAX);
        }
    }

    /// Where all times together are likelier than any word, only a time may come.
    fn prefer_time(&self, log_probabilities: &mut [f32]) {
        let first = (self.tokens.first_time() as usize).min(log_probabilities.len());
        let (words, times) = log_probabilities.split_at(first);
        let word = words.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        if log_sum(times) > word {
            forbid(log_probabilities, 0..first);
            normalise(log_probabilities);
        }
    }
}

/// The log-probability of one token.
///
/// # Errors
/// When a logit is +∞ or not a number, or there is no such token.
pub fn log_probability(logits: &[f32], token: TokenId) -> Result<f32, RunError> {
    check(logits)?;
    let none = || RunError(format!("the network has no token {token}"));
    Ok(logits.get(token as usize).ok_or_else(none)? - log_sum(logits))
}

/// −∞ is a token that the network itself suppresses.
fn check(logits: &[f32]) -> Result<(), RunError> {
    // All are looked at, which takes less time than to stop at the first.
    let bad = |value: f32| u32::from(value.is_nan() || value == f32::INFINITY);
    if logits.iter().fold(0, |any, &value| any | bad(value)) > 0 {
        let reason = "the network answered with a value that is infinite or not a number";
        return Err(RunError(reason.to_owned()));
    }
    Ok(())
}

fn forbid_one(logits: &mut [f32], token: TokenId) {
    if let Some(value) = logits.get_mut(token as usize) {
        *value = f32::NEG_INFINITY;
    }
}

/// What a range has within the vocabulary.
fn forbid(logits: &mut [f32], range: std::ops::Range<usize>) {
    let end = range.end.min(logits.len());
    if let Some(part) = logits.get_mut(range.start..end) {
        part.fill(f32::NEG_INFINITY);
    }
}

/// Where nothing may come, all stays −∞.
fn normalise(logits: &mut [f32]) {
    let sum = log_sum(logits);
    if sum > f32::NEG_INFINITY {
        for value in logits {
            *value -= sum;
        }
    }
}

/// ln Σ exp.
fn log_sum(values: &[f32]) -> f32 {
    let most = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if most == f32::NEG_INFINITY {
        return most;
    }
    // Most of a vocabulary is too unlikely to count, and its powers would take longest.
    let near = values.iter().filter(|&&value| value > most - 80.0);
    most + near.map(|value| (value - most).exp()).sum::<f32>().ln()
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "small numbers")]
mod tests {
    use super::*;

    /// Words 0 to 7, end 8, start 9, no speech 10, no timestamps 11, times from 12.
    fn tokens() -> Tokens {
        Tokens {
            start: 9,
            end: 8,
            no_speech: 10,
            no_timestamps: 11,
            suppress: vec![3, 9, 10],
            suppress_first: vec![0, 8],
            multilingual: None,
        }
    }

    fn allowed(timestamps: bool, said: &[TokenId], logits: &mut [f32]) -> Vec<TokenId> {
        let tokens = tokens();
        Rules::new(&tokens, timestamps).apply(logits, said).unwrap();
        let sum: f32 = logits.iter().map(|value| value.exp()).sum();
        assert!((sum - 1.0).abs() < 1e-5, "{sum}");
        (0..logits.len() as TokenId).filter(|&t| logits[t as usize] > f32::NEG_INFINITY).collect()
    }

    /// Logits at which words are likelier than times.
    fn wordy() -> Vec<f32> {
        (0..80).map(|token| if token < 12 { 9.0 } else { 0.0 }).collect()
    }

    #[test]
    fn without_times_only_words_and_the_end_come_and_the_end_not_first() {
        assert_eq!(allowed(false, &[], &mut wordy()), [1, 2, 4, 5, 6, 7]);
        assert_eq!(allowed(false, &[1], &mut wordy()), [0, 1, 2, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn a_text_with_times_begins_with_one_of_the_first_second() {
        let first = allowed(true, &[], &mut wordy());
        assert_eq!(first, (12..=62).collect::<Vec<_>>());
    }

    #[test]
    fn times_come_in_pairs_and_grow() {
        // After the first time, and after a pair, comes a word.
        for said in [&[13][..], &[12, 1, 20, 20]] {
            assert_eq!(allowed(true, said, &mut wordy()), [0, 1, 2, 4, 5, 6, 7, 8], "{said:?}");
        }
        // After a word and a time: the same time again, a later one, or the end.
        let after_one = allowed(true, &[12, 1, 20], &mut wordy());
        assert_eq!(after_one, std::iter::once(8).chain(20..80).collect::<Vec<_>>());
        // After a word: words, the end, and times after the last one.
        let after_word = allowed(true, &[13, 1], &mut wordy());
        assert_eq!(
            after_word,
            [0, 1, 2, 4, 5, 6, 7, 8].into_iter().chain(14..80).collect::<Vec<_>>()
        );
    }

    #[test]
    fn times_that_are_likelier_together_than_any_word_win() {
        let mut logits = vec![0.0; 80];
        logits[1] = 3.0;
        assert_eq!(allowed(true, &[13, 2], &mut logits), (14..80).collect::<Vec<_>>());
        logits = vec![0.0; 80];
        logits[1] = 5.0;
        assert!(allowed(true, &[13, 2], &mut logits).contains(&1));
    }

    #[test]
    fn what_is_infinite_or_not_a_number_is_an_error() {
        let tokens = tokens();
        for bad in [f32::NAN, f32::INFINITY] {
            let mut logits = wordy();
            logits[5] = bad;
            assert!(Rules::new(&tokens, false).apply(&mut logits, &[1]).is_err());
            assert!(log_probability(&logits, 1).is_err());
        }
        let mut logits = wordy();
        logits[5] = f32::NEG_INFINITY;
        assert!(log_probability(&logits, 1).is_ok());
        assert!(log_probability(&wordy(), 99).is_err());
    }
}
