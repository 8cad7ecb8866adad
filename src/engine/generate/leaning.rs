//! What makes some tokens likelier or less likely than the network holds them to be.

use crate::engine::TokenId;
use crate::engine::generate::options::Options;

/// The leaning of one sequence.
pub struct Leaning {
    repetition: f64,
    presence: f64,
    frequency: f64,
    /// Tokens that occurred, prompt included. Stays empty without a repetition penalty.
    seen: Vec<bool>,
    /// Tokens that were generated. Stays empty without the penalties that count them.
    generated: Vec<bool>,
    /// By token, what is added to its logit. Only as long as it has to be.
    added: Vec<f64>,
}

impl Leaning {
    pub fn new(options: &Options) -> Self {
        let mut leaning = Self {
            repetition: options.repetition_penalty,
            presence: options.presence_penalty,
            frequency: options.frequency_penalty,
            seen: Vec::new(),
            generated: Vec::new(),
            added: Vec::new(),
        };
        for &(token, bias) in &options.logit_bias {
            *entry(&mut leaning.added, token) += bias;
        }
        leaning
    }

    /// Whether every token is as likely as the network says, whatever is written.
    pub fn is_none(&self) -> bool {
        let counts = differs(self.presence, 0.0) || differs(self.frequency, 0.0);
        !counts && !differs(self.repetition, 1.0) && self.added.is_empty()
    }

    /// Remembers tokens of a prompt.
    pub fn read(&mut self, tokens: &[TokenId]) {
        if differs(self.repetition, 1.0) {
            for &token in tokens {
                *entry(&mut self.seen, token) = true;
            }
        }
    }

    /// Remembers a token that was generated.
    pub fn wrote(&mut self, token: TokenId) {
        self.read(&[token]);
        if differs(self.presence, 0.0) || differs(self.frequency, 0.0) {
            let again = std::mem::replace(entry(&mut self.generated, token), true);
            let presence = if again { 0.0 } else { self.presence };
            *entry(&mut self.added, token) -= presence + self.frequency;
        }
    }

    /// The logit that a token is drawn by.
    pub fn of(&self, token: usize, logit: f32) -> f64 {
        let logit = f64::from(logit);
        let logit = match self.seen.get(token) {
            Some(true) if logit > 0.0 => logit / self.repetition,
            Some(true) => logit * self.repetition,
            _ => logit,
        };
        logit + self.added.get(token).unwrap_or(&0.0)
    }
}

fn differs(value: f64, neutral: f64) -> bool {
    (value - neutral).abs() > 0.0
}

fn entry<T: Default + Clone>(list: &mut Vec<T>, token: TokenId) -> &mut T {
    let token = token as usize;
    if list.len() <= token {
        list.resize(token + 1, T::default());
    }
    &mut list[token]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ParamValue, Params};

    fn leaning(pairs: &[(&str, f64)], bias: &[(&str, f64)]) -> Leaning {
        let mut params = Params::default();
        for (name, value) in pairs {
            params.insert(name, ParamValue::Number(*value), String::new());
        }
        let bias = bias.iter().map(|&(id, value)| (id.to_owned(), value)).collect();
        params.insert("logit_bias", ParamValue::Numbers(bias), String::new());
        Leaning::new(&Options::read(&params, 100, 10).unwrap())
    }

    #[track_caller]
    fn check(leaning: &Leaning, expected: [f64; 4]) {
        for (token, expected) in expected.into_iter().enumerate() {
            let got = leaning.of(token, [1.0, -2.0, 0.5, 3.0][token]);
            assert!((got - expected).abs() < 1e-12, "{token}: {got} for {expected}");
        }
    }

    #[test]
    fn penalties_count_what_was_generated_and_not_the_prompt() {
        let mut leaning = leaning(&[("presence_penalty", 0.5), ("frequency_penalty", 0.25)], &[]);
        leaning.read(&[0, 3]);
        check(&leaning, [1.0, -2.0, 0.5, 3.0]);
        // logit − count × 0.25 − 0.5 where the count is above 0.
        for token in [1, 2, 1, 1] {
            leaning.wrote(token);
        }
        check(&leaning, [1.0, -2.0 - 0.75 - 0.5, 0.5 - 0.25 - 0.5, 3.0]);
    }

    #[test]
    fn negative_penalties_reward() {
        let mut leaning = leaning(&[("presence_penalty", -2.0)], &[]);
        leaning.wrote(0);
        leaning.wrote(0);
        check(&leaning, [3.0, -2.0, 0.5, 3.0]);
    }

    #[test]
    fn a_bias_is_added_to_its_token_beside_the_penalties() {
        let mut leaning = leaning(
            &[("repetition_penalty", 2.0), ("frequency_penalty", 1.0)],
            &[("3", -100.0), ("1", 7.5)],
        );
        check(&leaning, [1.0, 5.5, 0.5, -97.0]);
        leaning.read(&[2]);
        leaning.wrote(3);
        // The repetition penalty scales what the network said: 3 / 2 − 100 − 1.
        check(&leaning, [1.0, 5.5, 0.25, -99.5]);
    }
}
