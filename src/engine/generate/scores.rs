//! How likely the network held the tokens of a text to be, handed out with the text that they begin in.

use std::cmp::Ordering;
use std::ops::Range;

use crate::domain::{ScoredToken, Token};
use crate::engine::{Language, TokenId};

/// What a probability of zero is shown as: JSON has no infinity.
const LOGPROB_MIN: f64 = -9999.0;

/// Natural logarithms of the probabilities that logits stand for, in f64.
pub struct Softmax<'a> {
    logits: &'a [f32],
    /// The logarithm of the sum of all exponentials.
    total: f64,
}

impl<'a> Softmax<'a> {
    pub fn new(logits: &'a [f32]) -> Self {
        let numbers =
            || logits.iter().filter(|logit| !logit.is_nan()).map(|&logit| f64::from(logit));
        let best = numbers().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = numbers().map(|logit| (logit - best).exp()).sum();
        Self { logits, total: best + sum.ln() }
    }

    pub fn logprob(&self, token: TokenId) -> f64 {
        let logit = self.logits.get(token as usize).map_or(f64::NAN, |&logit| f64::from(logit));
        // Also where it is no number.
        (logit - self.total).max(LOGPROB_MIN)
    }

    /// The `most` likeliest tokens, best first; ties go to the lower token.
    pub fn top(&self, most: usize) -> Vec<TokenId> {
        let order = |a: &(TokenId, f32), b: &(TokenId, f32)| -> Ordering {
            b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
        };
        let mut all: Vec<_> = (0..).zip(self.logits.iter().copied()).collect();
        all.retain(|(_, logit)| !logit.is_nan());
        if most < all.len() {
            all.select_nth_unstable_by(most, order);
            all.truncate(most);
        }
        all.sort_unstable_by(order);
        all.into_iter().map(|(token, _)| token).collect()
    }
}

/// The scored tokens of one text.
pub struct Scores {
    /// Likeliest tokens that are shown in the place of each.
    most: usize,
    tokens: Vec<ScoredToken>,
    /// Of each of them, the bytes of the text before it.
    begins: Vec<usize>,
    /// How many of them are shown.
    shown: usize,
    /// A place in the text: bytes and characters before it.
    place: (usize, usize),
}

impl Scores {
    pub fn new(most: usize) -> Self {
        Self { most, tokens: Vec::new(), begins: Vec::new(), shown: 0, place: (0, 0) }
    }

    /// Adds the next token of the text, `begin` bytes of which come before it. `logits` is what it was drawn by.
    pub fn add(
        &mut self,
        token: TokenId,
        begin: usize,
        logits: Option<&[f32]>,
        language: &dyn Language,
    ) {
        let softmax = logits.map(Softmax::new);
        let logprob = |id| softmax.as_ref().map(|softmax| softmax.logprob(id));
        let one = |id| Token { id, text: language.text(&[id]), logprob: logprob(id) };
        let top = softmax.as_ref().map(|softmax| softmax.top(self.most)).unwrap_or_default();
        let top = top.into_iter().map(one).collect();
        self.tokens.push(ScoredToken { token: one(token), offset: 0, top });
        self.begins.push(begin);
    }

    /// Shows the tokens that begin in the text as far as it goes: all of them where it is the `last` of it. Those
    /// behind its end are in a stop text, which is no part of it.
    pub fn show(&mut self, text: &str, last: bool) -> &[ScoredToken] {
        let from = self.shown;
        while let Some(&begin) = self.begins.get(self.shown)
            && (begin < text.len() || last)
        {
            let begin = begin.min(text.len());
            let (bytes, characters) = self.place;
            let between: Range<usize> = bytes..begin;
            let characters = characters + text.get(between).map_or(0, |part| part.chars().count());
            self.place = (begin, characters);
            self.tokens[self.shown].offset = characters;
            self.shown += 1;
        }
        &self.tokens[from..self.shown]
    }

    /// All that was shown.
    pub fn finish(mut self) -> Vec<ScoredToken> {
        self.tokens.truncate(self.shown);
        self.tokens
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::Letters;

    #[test]
    fn logprobs_are_the_log_softmax_of_the_logits() {
        // By hand: e^1 + e^3 + e^2 + e^-1 = 30.560765…, whose logarithm is 3.4197162….
        let logits = [1.0, 3.0, 2.0, -1.0];
        let softmax = Softmax::new(&logits);
        for (token, expected) in
            [(0, -2.419_716_2), (1, -0.419_716_2), (2, -1.419_716_2), (3, -4.419_716_2)]
        {
            let got = softmax.logprob(token);
            assert!((got - expected).abs() < 1e-6, "{token}: {got}");
        }
        let sum: f64 = (0..4).map(|token| softmax.logprob(token).exp()).sum();
        assert!((sum - 1.0).abs() < 1e-12);
        assert_eq!(softmax.top(2), [1, 2]);
        assert_eq!(softmax.top(9), [1, 2, 0, 3]);
        assert!(softmax.top(0).is_empty());
    }

    #[test]
    fn large_logits_and_missing_ones_stay_numbers() {
        let softmax = Softmax::new(&[1000.0, f32::NEG_INFINITY, f32::NAN, 1000.0]);
        assert!((softmax.logprob(0) + std::f64::consts::LN_2).abs() < 1e-12);
        for token in [1, 2, 9] {
            assert!((softmax.logprob(token) - LOGPROB_MIN).abs() < 1e-12, "{token}");
        }
        assert_eq!(softmax.top(2), [0, 3]);
    }

    #[test]
    fn tokens_are_shown_with_the_text_that_they_begin_in() {
        let mut scores = Scores::new(0);
        for (token, begin) in [(0, 0), (1, 2), (2, 2), (3, 5)] {
            scores.add(token, begin, None, &Letters);
        }
        let places = |shown: &[ScoredToken]| -> Vec<(u32, usize)> {
            shown.iter().map(|scored| (scored.token.id, scored.offset)).collect()
        };
        // One character of two bytes, then one of three that two tokens make.
        assert_eq!(places(scores.show("é", false)), [(0, 0)]);
        assert_eq!(places(scores.show("é", false)), []);
        assert_eq!(places(scores.show("é€", false)), [(1, 1), (2, 1)]);
        assert_eq!(places(scores.show("é€", true)), [(3, 2)]);
        assert_eq!(scores.finish().len(), 4);
    }
}
