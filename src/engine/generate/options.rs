//! What a caller may ask of a generation.

use std::hash::{BuildHasher, Hasher, RandomState};

use crate::domain::{Kind, Params, Problem};
use crate::engine::TokenId;

/// Seeds stay below 2^53, so that they survive JSON readers that know only doubles.
const SEED_MAX: u64 = (1 << 53) - 1;

/// Tokens that are generated when the caller does not say.
const MAX_TOKENS_DEFAULT: u64 = 64;

/// Stop texts, and bytes in one: each is looked for after every token.
const STOPS_MAX: usize = 4;
const STOP_BYTES_MAX: usize = 256;

/// Texts of a request that wants several of an item.
const TEXTS_MAX: usize = 32;

/// Tokens that may have a bias.
const BIASES_MAX: usize = 1024;

/// Likeliest tokens that are shown in the place of one.
const LOGPROBS_MAX: u64 = 20;

/// Probabilities that one answer may hold: some tens of megabytes.
const SCORES_MAX: usize = 1 << 20;

/// The parameters of one generation, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// 0 only with an echo.
    pub max_tokens: usize,
    /// Divides the logits; 0 takes the most probable token each time.
    pub temperature: f64,
    /// Keeps the k most probable tokens.
    pub top_k: Option<usize>,
    /// Keeps the fewest tokens whose probabilities reach this sum (Holtzman et al. 2020).
    pub top_p: f64,
    /// Keeps tokens of at least this fraction of the best one's probability.
    pub min_p: f64,
    /// Above 1 makes tokens less likely that occurred before (Keskar et al. 2019).
    pub repetition_penalty: f64,
    /// Taken from the logits of tokens that were generated before.
    pub presence_penalty: f64,
    /// Taken from the logits of tokens as often as they were generated before.
    pub frequency_penalty: f64,
    /// Added to the logits of these tokens.
    pub logit_bias: Vec<(TokenId, f64)>,
    /// Texts that end the generation; they are not part of the answer.
    pub stop: Vec<String>,
    /// The same seed gives the same text.
    seed: Option<u64>,
    /// Where the caller names no seed.
    any_seed: u64,
    /// Texts of each item.
    pub n: usize,
    /// Whether the answer begins with the prompt.
    pub echo: bool,
    /// Whether probabilities are shown, and those of how many of the likeliest tokens.
    pub logprobs: Option<usize>,
    /// Whether the text is sent as it comes.
    pub stream: bool,
}

impl Options {
    /// For a model with so many token ids.
    ///
    /// # Errors
    /// [`Problem`] with every parameter that is unknown or out of range.
    pub fn read(
        params: &Params,
        max_tokens_limit: usize,
        vocabulary: usize,
    ) -> Result<Self, Problem> {
        let mut reader = params.reader();
        let echo = reader.flag("echo").unwrap_or(false);
        let limit = max_tokens_limit as u64;
        let options = Self {
            max_tokens: to_usize(
                reader
                    .integer("max_tokens", u64::from(!echo)..=limit)
                    .unwrap_or(MAX_TOKENS_DEFAULT.min(limit)),
            ),
            temperature: reader.number("temperature", 0.0..=10.0).unwrap_or(1.0),
            top_k: reader.integer("top_k", 1..=1_000_000).map(to_usize),
            top_p: reader.number("top_p", 0.0..=1.0).unwrap_or(1.0),
            min_p: reader.number("min_p", 0.0..=1.0).unwrap_or(0.0),
            repetition_penalty: reader.number("repetition_penalty", 0.1..=10.0).unwrap_or(1.0),
            presence_penalty: reader.number("presence_penalty", -2.0..=2.0).unwrap_or(0.0),
            frequency_penalty: reader.number("frequency_penalty", -2.0..=2.0).unwrap_or(0.0),
            logit_bias: reader
                .by_token("logit_bias", BIASES_MAX, -100.0..=100.0, vocabulary)
                .unwrap_or_default(),
            stop: reader.texts("stop", STOPS_MAX, STOP_BYTES_MAX).unwrap_or_default(),
            seed: reader.integer("seed", 0..=SEED_MAX),
            any_seed: any_seed(),
            n: to_usize(reader.integer("n", 1..=TEXTS_MAX as u64).unwrap_or(1)),
            echo,
            logprobs: reader.integer("logprobs", 0..=LOGPROBS_MAX).map(to_usize),
            stream: reader.flag("stream").unwrap_or(false),
        };
        reader.finish()?;
        Ok(options)
    }

    /// The seed of one of an item's texts. The first text has the seed that the caller named, whatever the item;
    /// without one, each text has its own.
    pub fn seed(&self, item: usize, choice: usize) -> u64 {
        match self.seed {
            Some(seed) => derived(seed, choice),
            None => derived(self.any_seed, item * self.n + choice),
        }
    }

    /// Refuses what would be more than one answer may hold.
    ///
    /// # Errors
    /// [`Kind::TooLarge`] for too many texts, or too many probabilities.
    pub fn check(&self, prompts: &[usize], params: &Params) -> Result<(), Problem> {
        let refuse = |name: &str, expected: String, got: String, hint: &str| {
            let pointer = params.pointer(name).unwrap_or("/parameters");
            Err(Problem::fault(Kind::TooLarge, pointer, expected, got, hint))
        };
        let texts = prompts.len().saturating_mul(self.n);
        if self.n > 1 && texts > TEXTS_MAX {
            let hint = "send several requests";
            return refuse(
                "n",
                format!("at most {TEXTS_MAX} texts in all"),
                texts.to_string(),
                hint,
            );
        }
        let Some(top) = self.logprobs else { return Ok(()) };
        let echoed: usize = if self.echo { prompts.iter().sum() } else { 0 };
        let tokens = prompts.len().saturating_mul(self.max_tokens).saturating_add(echoed);
        let scores = tokens.saturating_mul(self.n).saturating_mul(top + 1);
        if scores > SCORES_MAX {
            let expected = format!("at most {SCORES_MAX} probabilities in an answer");
            let hint = "ask for fewer tokens, texts or logprobs";
            return refuse("logprobs", expected, scores.to_string(), hint);
        }
        Ok(())
    }
}

/// The seed itself, and from it those of further texts: the numbers of `SplitMix64` (Steele et al. 2014).
fn derived(seed: u64, which: usize) -> u64 {
    if which == 0 {
        return seed;
    }
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(which as u64));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (z ^ (z >> 31)) & SEED_MAX
}

/// The standard library seeds each of these states from the system's randomness.
fn any_seed() -> u64 {
    RandomState::new().build_hasher().finish() & SEED_MAX
}

fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ParamValue;

    fn params(pairs: &[(&str, ParamValue)]) -> Params {
        let mut params = Params::default();
        for (name, value) in pairs {
            params.insert(name, value.clone(), format!("/{name}"));
        }
        params
    }

    fn number(name: &str, value: f64) -> (&str, ParamValue) {
        (name, ParamValue::Number(value))
    }

    fn read(pairs: &[(&str, ParamValue)]) -> Result<Options, Problem> {
        Options::read(&params(pairs), 100, 10)
    }

    #[test]
    fn what_is_out_of_range_is_refused() {
        let bias =
            |id: &str, value| ("logit_bias", ParamValue::Numbers(vec![(id.to_owned(), value)]));
        for bad in [
            number("presence_penalty", 2.1),
            number("frequency_penalty", -2.1),
            number("logprobs", 21.0),
            number("n", 0.0),
            number("n", 33.0),
            number("max_tokens", 0.0),
            bias("10", 0.0),
            bias("+1", 0.0),
            bias("-1", 0.0),
            bias("", 0.0),
            bias("a", 0.0),
            bias("9", 100.5),
            ("logit_bias", ParamValue::Text("9".into())),
        ] {
            let problem = read(std::slice::from_ref(&bad)).unwrap_err();
            assert_eq!(problem.faults[0].pointer, format!("/{}", bad.0), "{problem}");
        }
        let options = read(&[bias("9", -100.0), number("n", 32.0)]).unwrap();
        assert_eq!((options.logit_bias, options.n), (vec![(9, -100.0)], 32));
        let echo = [("echo", ParamValue::Bool(true)), number("max_tokens", 0.0)];
        assert_eq!(read(&echo).unwrap().max_tokens, 0);
    }

    #[test]
    fn an_answer_is_bounded() {
        let check = |pairs: &[(&str, ParamValue)], prompts: &[usize]| {
            let params = params(pairs);
            let options = Options::read(&params, 4096, 10).unwrap();
            options.check(prompts, &params).map_err(|problem| problem.faults[0].pointer.clone())
        };
        assert_eq!(check(&[], &[1_000_000; 256]), Ok(()));
        assert_eq!(check(&[number("n", 16.0)], &[1, 1]), Ok(()));
        assert_eq!(check(&[number("n", 16.0)], &[1, 1, 1]), Err("/n".into()));
        let (logprobs, most) = (number("logprobs", 5.0), number("max_tokens", 4096.0));
        assert_eq!(check(&[logprobs.clone(), most.clone()], &[1; 42]), Ok(()));
        assert_eq!(check(&[logprobs.clone(), most.clone()], &[1; 43]), Err("/logprobs".into()));
        let echo = ("echo", ParamValue::Bool(true));
        assert_eq!(check(&[logprobs, most, echo], &[200_000]), Err("/logprobs".into()));
    }

    #[test]
    fn each_text_has_a_seed_of_its_own() {
        let options = read(&[number("seed", 7.0), number("n", 3.0)]).unwrap();
        let seeds = [0, 1, 2].map(|choice| options.seed(0, choice));
        // 7 itself, then the first and second numbers of SplitMix64 from 7, cut to 53 bits.
        assert_eq!(seeds[0], 7);
        assert!(seeds[1] != seeds[2] && seeds.iter().all(|&seed| seed <= SEED_MAX));
        // The same prompt has the same texts wherever it stands.
        assert_eq!([0, 1, 2].map(|choice| options.seed(5, choice)), seeds);
        let any = read(&[number("n", 2.0)]).unwrap();
        let mut seeds = [any.seed(0, 0), any.seed(0, 1), any.seed(1, 0), any.seed(1, 1)].to_vec();
        seeds.sort_unstable();
        seeds.dedup();
        assert_eq!(seeds.len(), 4);
    }
}
