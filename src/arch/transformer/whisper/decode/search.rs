//! The search for one window's text: greedy, by beams, or drawn.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::arch::transformer::whisper::decode::{Decoded, Manner, Rules};
use crate::engine::{Row, RunError, TokenId};

/// Some tokens and the sum of their log-probabilities.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Hypothesis {
    pub tokens: Vec<TokenId>,
    /// Of each of them.
    pub log_probabilities: Vec<f32>,
    pub sum: f32,
}

/// A hypothesis that goes on.
struct Beam<S> {
    state: S,
    hypothesis: Hypothesis,
}

/// A token that may come after one of the beams.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    beam: usize,
    token: TokenId,
    /// With the beam's.
    sum: f32,
}

/// The hypotheses about one window.
pub struct Search<S> {
    beams: Vec<Beam<S>>,
    ended: Vec<Hypothesis>,
    /// Hypotheses that are followed, and that are enough when they have ended.
    width: usize,
    temperature: f32,
    /// Tokens that a text may have.
    limit: usize,
    no_speech: f32,
    language: Option<TokenId>,
}

impl<S: Clone> Search<S> {
    pub fn new(
        state: S,
        manner: Manner,
        limit: usize,
        no_speech: f32,
        language: Option<TokenId>,
    ) -> Self {
        // What is drawn is one hypothesis.
        let width = if manner.temperature > 0.0 { 1 } else { manner.beams.max(1) };
        let beams = vec![Beam { state, hypothesis: Hypothesis::default() }];
        let temperature = manner.temperature;
        Self { beams, ended: Vec::new(), width, temperature, limit, no_speech, language }
    }

    /// What the network is to read next: the last token of every beam.
    pub fn rows<'a>(&'a mut self, rows: &mut Vec<Row<'a, S>>) {
        rows.extend(self.beams.iter_mut().filter_map(|beam| {
            let last = beam.hypothesis.tokens.len().checked_sub(1)?;
            let tokens = &beam.hypothesis.tokens[last..];
            Some(Row { state: &mut beam.state, tokens, want_logits: true })
        }));
    }

    pub fn is_over(&self) -> bool {
        let long = self.beams.iter().all(|beam| beam.hypothesis.tokens.len() >= self.limit);
        self.ended.len() >= self.width || long
    }

    /// Takes the logits after each beam.
    ///
    /// # Errors
    /// When a logit is +∞ or not a number.
    pub fn advance<'a>(
        &mut self,
        logits: impl Iterator<Item = &'a mut [f32]>,
        rules: &Rules<'_>,
        rng: &mut ChaCha8Rng,
    ) -> Result<(), RunError> {
        let mut candidates = Vec::new();
        for (beam, row) in logits.enumerate() {
            let Some(Beam { hypothesis, .. }) = self.beams.get(beam) else { continue };
            rules.apply(row, &hypothesis.tokens)?;
            let chosen = if self.temperature > 0.0 {
                vec![draw(row, self.temperature, rules.end(), rng)]
            } else {
                best(row, self.width + 1)
            };
            let sum = |token: TokenId| {
                hypothesis.sum + row.get(token as usize).copied().unwrap_or_default()
            };
            candidates.extend(chosen.into_iter().map(|token| Candidate {
                beam,
                token,
                sum: sum(token),
            }));
        }
        // Stable: of equals, the one of the better beam and the smaller token stays first.
        candidates.sort_by(|a, b| b.sum.total_cmp(&a.sum));
        self.follow(&candidates, rules.end());
        Ok(())
    }

    /// Ends those candidates that end, and goes on with the best of the others.
    fn follow(&mut self, candidates: &[Candidate], end: TokenId) {
        let mut kept: Vec<Candidate> = Vec::with_capacity(self.width);
        for &candidate in candidates.iter().filter(|candidate| candidate.sum > f32::NEG_INFINITY) {
            if kept.len() == self.width {
                break;
            }
            if candidate.token != end {
                kept.push(candidate);
            } else if self.ended.len() < self.width {
                let hypothesis = self.beams[candidate.beam].hypothesis.clone();
                self.ended.push(Hypothesis { sum: candidate.sum, ..hypothesis });
            }
        }
        if kept.is_empty() && self.ended.is_empty() {
            self.give_up();
        }
        // Beams that nothing follows are gone: what ended is enough, however few it is.
        let mut left: Vec<Option<Beam<S>>> =
            std::mem::take(&mut self.beams).into_iter().map(Some).collect();
        for (i, candidate) in kept.iter().enumerate() {
            let again = kept[i + 1..].iter().any(|later| later.beam == candidate.beam);
            let beam = if again {
                left[candidate.beam].as_ref().map(Beam::fork)
            } else {
                left[candidate.beam].take()
            };
            self.beams.extend(beam.map(|beam| beam.with(*candidate)));
        }
    }

    /// Nothing may come after any beam: they end as they are.
    fn give_up(&mut self) {
        self.ended.extend(self.beams.drain(..).map(|beam| beam.hypothesis));
    }

    /// The best hypothesis, by its mean log-probability; those that never ended count where too few did.
    pub fn finish(mut self) -> Decoded {
        self.beams.sort_by(|a, b| b.hypothesis.sum.total_cmp(&a.hypothesis.sum));
        let missing = self.width.saturating_sub(self.ended.len());
        self.ended.extend(self.beams.into_iter().take(missing).map(|beam| beam.hypothesis));
        let best = self
            .ended
            .into_iter()
            .reduce(|best, other| if other.rank() > best.rank() { other } else { best });
        let best = best.unwrap_or_default();
        Decoded {
            log_probability: best.mean(),
            tokens: best.tokens,
            log_probabilities: best.log_probabilities,
            no_speech: self.no_speech,
            language: self.language,
        }
    }
}

impl<S: Clone> Beam<S> {
    fn fork(&self) -> Self {
        Self { state: self.state.clone(), hypothesis: self.hypothesis.clone() }
    }

    fn with(mut self, candidate: Candidate) -> Self {
        self.hypothesis.tokens.push(candidate.token);
        self.hypothesis.log_probabilities.push(candidate.sum - self.hypothesis.sum);
        self.hypothesis.sum = candidate.sum;
        self
    }
}

#[expect(clippy::cast_precision_loss, reason = "texts are short")]
impl Hypothesis {
    /// What hypotheses are compared by.
    fn rank(&self) -> f32 {
        self.sum / self.tokens.len().max(1) as f32
    }

    /// Over the tokens and the end.
    fn mean(&self) -> f32 {
        self.sum / (self.tokens.len() + 1) as f32
    }
}

/// The `count` likeliest tokens, best first; of equals the smaller one first.
fn best(log_probabilities: &[f32], count: usize) -> Vec<TokenId> {
    let mut kept: Vec<(f32, TokenId)> = Vec::with_capacity(count + 1);
    for (&value, token) in log_probabilities.iter().zip(0..) {
        if kept.len() == count && kept.last().is_some_and(|&(least, _)| value <= least) {
            continue;
        }
        let place = kept.partition_point(|&(other, _)| other >= value);
        kept.insert(place, (value, token));
        kept.truncate(count);
    }
    kept.into_iter().map(|(_, token)| token).collect()
}

/// A token by chance; `end` where none can come.
fn draw(
    log_probabilities: &[f32],
    temperature: f32,
    end: TokenId,
    rng: &mut ChaCha8Rng,
) -> TokenId {
    let most = log_probabilities.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if most == f32::NEG_INFINITY {
        return end;
    }
    let weight = |value: f32| ((value - most) / temperature).exp();
    let whole: f32 = log_probabilities.iter().map(|&value| weight(value)).sum();
    let mut left = rng.random::<f32>() * whole;
    let mut last = end;
    for (&value, token) in log_probabilities.iter().zip(0..) {
        let weight = weight(value);
        if weight > 0.0 {
            last = token;
            left -= weight;
            if left < 0.0 {
                break;
            }
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::transformer::whisper::config::Tokens;
    use crate::arch::transformer::whisper::decode::Task;
    use rand::SeedableRng;

    /// Words 0 and 1, end 2. A text of 0 leads nowhere; one of 1 goes on surely, and ends at two.
    fn probabilities(said: &[TokenId]) -> [f32; 3] {
        match said {
            [] => [0.51, 0.49, 0.0],
            [1] => [0.01, 0.97, 0.02],
            [1, 1, ..] => [0.01, 0.01, 0.98],
            _ => [0.34, 0.33, 0.33],
        }
    }

    /// Searches in a network that remembers just what it has read.
    fn found(beams: usize) -> Decoded {
        let special =
            Tokens { start: 3, end: 2, no_speech: 4, no_timestamps: 5, ..Tokens::default() };
        let rules = Rules::new(&special, false);
        let manner = Manner {
            language: None,
            task: Task::Transcribe,
            timestamps: false,
            temperature: 0.0,
            beams,
        };
        let mut search = Search::new(Vec::new(), manner, 4, 0.0, None);
        let rng = &mut ChaCha8Rng::seed_from_u64(0);
        let mut logits = vec![probabilities(&[]).map(f32::ln).to_vec()];
        loop {
            search.advance(logits.iter_mut().map(Vec::as_mut_slice), &rules, rng).unwrap();
            if search.is_over() {
                break;
            }
            let mut rows: Vec<Row<'_, Vec<TokenId>>> = Vec::new();
            search.rows(&mut rows);
            logits.clear();
            for Row { state, tokens, .. } in rows {
                state.extend(tokens);
                logits.push(probabilities(state).map(f32::ln).to_vec());
            }
        }
        search.finish()
    }

    #[test]
    fn beams_find_a_text_that_begins_less_likely() {
        assert_eq!(found(1).tokens, [0, 0, 0, 0]);
        for beams in [2, 3] {
            let found = found(beams);
            assert_eq!(found.tokens, [1, 1]);
            let sum: f32 = [0.49_f32, 0.97, 0.98].map(f32::ln).iter().sum();
            assert!((found.log_probability - sum / 3.0).abs() < 1e-5, "{found:?}");
            let each = [0.49_f32, 0.97].map(f32::ln);
            let apart = found.log_probabilities.iter().zip(each).map(|(a, b)| (a - b).abs());
            assert!(apart.fold(0.0, f32::max) < 1e-5 && found.log_probabilities.len() == 2);
        }
    }

    #[test]
    fn a_drawn_text_counts_its_end() {
        let special = Tokens { end: 2, no_timestamps: 5, ..Tokens::default() };
        let rules = Rules::new(&special, false);
        let manner = Manner {
            language: None,
            task: Task::Transcribe,
            timestamps: false,
            temperature: 0.01,
            beams: 1,
        };
        let mut search = Search::new((), manner, 4, 0.0, None);
        let rng = &mut ChaCha8Rng::seed_from_u64(0);
        // So cold that the likeliest is drawn: word 0, then the end.
        for row in [[0.8_f32, 0.1, 0.1], [0.2, 0.2, 0.6]] {
            search.advance(std::iter::once(&mut row.map(f32::ln)[..]), &rules, rng).unwrap();
        }
        assert!(search.is_over());
        let found = search.finish();
        assert_eq!(found.tokens, [0]);
        let mean = f32::midpoint(0.8_f32.ln(), 0.6_f32.ln());
        assert!((found.log_probability - mean).abs() < 1e-5, "{found:?}");
    }

    #[test]
    fn the_best_come_in_order_and_equals_by_their_number() {
        assert_eq!(best(&[0.1, 0.5, 0.5, 0.9, 0.2], 3), [3, 1, 2]);
        assert_eq!(best(&[0.1], 3), [0]);
    }

    #[test]
    fn draws_follow_the_temperature() {
        let row = [-1.0, f32::NEG_INFINITY, 0.0];
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut counts = [0; 3];
        for _ in 0..2000 {
            counts[draw(&row, 1.0, 9, &mut rng) as usize] += 1;
        }
        // e⁻¹ of 1 + e⁻¹ is 0.269.
        assert!((480..600).contains(&counts[0]) && counts[1] == 0, "{counts:?}");
        assert!((0..2000).all(|_| draw(&row, 0.01, 9, &mut rng) == 2));
        assert_eq!(draw(&[f32::NEG_INFINITY; 2], 1.0, 9, &mut rng), 9);
    }
}
