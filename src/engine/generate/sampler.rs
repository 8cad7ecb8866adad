//! From logits to the next token. All in f64 and in a fixed order: a seed gives the same text again.

use std::cmp::Ordering;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::engine::TokenId;
use crate::engine::generate::leaning::Leaning;
use crate::engine::generate::options::Options;

/// The sampler of one sequence: nobody else draws from its random numbers.
pub struct Sampler {
    temperature: f64,
    top_k: usize,
    top_p: f64,
    min_p: f64,
    leaning: Leaning,
    rng: ChaCha8Rng,
}

struct Candidate {
    token: usize,
    weight: f64,
}

impl Candidate {
    /// The likelier first. Ties go to the lower token, so that the order never depends on how it is found.
    fn order(a: &Self, b: &Self) -> Ordering {
        b.weight.total_cmp(&a.weight).then(a.token.cmp(&b.token))
    }
}

impl Sampler {
    pub fn new(options: &Options, seed: u64) -> Self {
        Self {
            temperature: options.temperature,
            top_k: options.top_k.unwrap_or(usize::MAX),
            top_p: options.top_p,
            min_p: options.min_p,
            leaning: Leaning::new(options),
            rng: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    /// Remembers the prompt.
    pub fn read(&mut self, prompt: &[TokenId]) {
        self.leaning.read(prompt);
    }

    /// Remembers that `token` was generated.
    pub fn wrote(&mut self, token: TokenId) {
        self.leaning.wrote(token);
    }

    /// The next token, or `None` when no logit is a number.
    pub fn next(&mut self, logits: &[f32]) -> Option<TokenId> {
        if self.temperature == 0.0 && self.leaning.is_none() {
            return likeliest(logits);
        }
        let candidates = logits
            .iter()
            .enumerate()
            .filter(|(_, logit)| !logit.is_nan())
            .map(|(token, &logit)| Candidate { token, weight: self.leaning.of(token, logit) });
        let chosen = if self.temperature == 0.0 {
            let best = candidates.min_by(Candidate::order)?;
            best.weight.is_finite().then_some(best.token)?
        } else {
            let mut candidates: Vec<Candidate> = candidates.collect();
            // Whoever comes after the k best is out before anything is sorted.
            if self.top_k < candidates.len() {
                candidates.select_nth_unstable_by(self.top_k, Candidate::order);
                candidates.truncate(self.top_k);
            }
            candidates.sort_unstable_by(Candidate::order);
            let best = candidates.first()?.weight;
            best.is_finite().then_some(())?;
            self.narrow(&mut candidates, best);
            self.draw(&candidates)
        };
        TokenId::try_from(chosen).ok()
    }

    /// Turns sorted logits into probabilities and drops those that the options exclude.
    fn narrow(&self, candidates: &mut Vec<Candidate>, best: f64) {
        for candidate in &mut *candidates {
            candidate.weight = ((candidate.weight - best) / self.temperature).exp();
        }
        candidates.retain(|candidate| candidate.weight >= self.min_p);
        let target = self.top_p * candidates.iter().map(|c| c.weight).sum::<f64>();
        let mut sum = 0.0;
        let enough = candidates.iter().position(|candidate| {
            sum += candidate.weight;
            sum >= target
        });
        candidates.truncate(enough.map_or(candidates.len(), |last| last + 1));
    }

    fn draw(&mut self, candidates: &[Candidate]) -> usize {
        let total: f64 = candidates.iter().map(|candidate| candidate.weight).sum();
        let mut left = self.rng.random::<f64>() * total;
        for candidate in candidates {
            left -= candidate.weight;
            if left < 0.0 {
                return candidate.token;
            }
        }
        // Rounding may leave a crumb: it belongs to the most probable one.
        candidates[0].token
    }
}

/// The first of the largest logits, or `None` when the largest is no finite number: what most ask for, in passes that a
/// processor makes many comparisons of at a time.
pub fn likeliest(logits: &[f32]) -> Option<TokenId> {
    const LANES: usize = 16;
    // What is no number is larger than nothing.
    let larger = |most: f32, logit: f32| if logit > most { logit } else { most };
    let (chunks, rest) = logits.as_chunks::<LANES>();
    let mut lanes = [f32::NEG_INFINITY; LANES];
    // The last chunk again, or more of it: nothing is larger for being seen twice.
    let end = logits.last_chunk::<LANES>().filter(|_| !rest.is_empty());
    for chunk in chunks.iter().chain(end) {
        for (most, &logit) in lanes.iter_mut().zip(chunk) {
            *most = larger(*most, logit);
        }
    }
    if chunks.is_empty() {
        lanes[0] = rest.iter().copied().fold(f32::NEG_INFINITY, larger);
    }
    // By halves: one after the other, each comparison would wait for the one before.
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] = larger(lanes[lane], lanes[lane + half]);
        }
        half /= 2;
    }
    let most = lanes[0];
    if !most.is_finite() {
        return None;
    }
    let among = |chunk: &[f32; LANES]| chunk.iter().filter(|&&logit| logit >= most).count() > 0;
    let before = chunks.iter().take_while(|chunk| !among(chunk)).count() * LANES;
    let at = logits[before..].iter().position(|&logit| logit >= most)?;
    TokenId::try_from(before + at).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ParamValue, Params};

    fn sampler(pairs: &[(&str, f64)]) -> Sampler {
        let mut params = Params::default();
        for (name, value) in pairs {
            params.insert(name, ParamValue::Number(*value), String::new());
        }
        let options = Options::read(&params, 100, 4).unwrap();
        Sampler::new(&options, options.seed(0, 0))
    }

    fn drawn(pairs: &[(&str, f64)], logits: &[f32]) -> Vec<u32> {
        let mut sampler = sampler(pairs);
        let mut drawn: Vec<u32> = (0..300).map(|_| sampler.next(logits).unwrap()).collect();
        drawn.sort_unstable();
        drawn.dedup();
        drawn
    }

    const LOGITS: [f32; 4] = [1.0, 3.0, 2.0, -1.0];

    #[test]
    fn temperature_zero_takes_the_best() {
        assert_eq!(drawn(&[("temperature", 0.0)], &LOGITS), [1]);
    }

    #[test]
    fn each_option_narrows_the_choice() {
        let seed = ("seed", 1.0);
        assert_eq!(drawn(&[seed, ("temperature", 2.0)], &LOGITS), [0, 1, 2, 3]);
        assert_eq!(drawn(&[seed, ("top_k", 2.0)], &LOGITS), [1, 2]);
        // Probabilities are 0.66, 0.24, 0.09 and 0.01.
        assert_eq!(drawn(&[seed, ("top_p", 0.8)], &LOGITS), [1, 2]);
        assert_eq!(drawn(&[seed, ("min_p", 0.5)], &LOGITS), [1]);
        assert_eq!(drawn(&[seed, ("top_p", 0.0)], &LOGITS), [1]);
    }

    #[test]
    fn a_penalty_makes_a_token_that_occurred_less_likely() {
        let mut sampler = sampler(&[("temperature", 0.0), ("repetition_penalty", 2.0)]);
        assert_eq!(sampler.next(&LOGITS), Some(1));
        sampler.read(&[1]);
        assert_eq!(sampler.next(&LOGITS), Some(2));
    }

    #[test]
    fn what_was_generated_often_enough_is_not_the_best_any_more() {
        let mut sampler = sampler(&[("temperature", 0.0), ("frequency_penalty", 0.6)]);
        let texts = [0; 4].map(|_| {
            let next = sampler.next(&LOGITS).unwrap();
            sampler.wrote(next);
            next
        });
        // 3, 2.4, then 1.8 against 2.
        assert_eq!(texts, [1, 1, 2, 1]);
    }

    #[test]
    fn one_seed_gives_one_text() {
        let run = |seed| {
            let mut sampler = sampler(&[("seed", seed), ("temperature", 1.0)]);
            (0..50).map(|_| sampler.next(&LOGITS)).collect::<Vec<_>>()
        };
        assert_eq!(run(7.0), run(7.0));
        assert_ne!(run(7.0), run(8.0));
    }

    #[test]
    fn the_likeliest_of_many_is_the_one_that_sorting_finds() {
        let mut random = ChaCha8Rng::seed_from_u64(3);
        for count in (1..70).chain([1000]) {
            // Few different values, so that there are ties, and some that are no numbers.
            let values = [0.0, 0.5, 1.0, -2.0, f32::NAN, f32::NEG_INFINITY, 7.25];
            let logits: Vec<f32> =
                (0..count).map(|_| values[random.random_range(0..values.len())]).collect();
            // A bias of nothing makes it take the long way.
            let mut params = Params::default();
            params.insert("temperature", ParamValue::Number(0.0), String::new());
            let bias = vec![("0".to_owned(), 0.0)];
            params.insert("logit_bias", ParamValue::Numbers(bias), String::new());
            let options = Options::read(&params, 100, count).unwrap();
            let mut sorting = Sampler::new(&options, 0);
            assert!(!sorting.leaning.is_none());
            assert_eq!(likeliest(&logits), sorting.next(&logits), "{logits:?}");
        }
    }

    #[test]
    fn logits_that_are_no_numbers_give_no_token() {
        let mut sampler = sampler(&[]);
        assert_eq!(sampler.next(&[f32::NAN, f32::NAN]), None);
        assert_eq!(sampler.next(&[f32::NEG_INFINITY]), None);
        assert_eq!(sampler.next(&[]), None);
    }
}
