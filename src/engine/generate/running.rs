//! The sequences that run, and one step of them all.

use std::time::{Duration, Instant};

use crate::engine::{Row, RunError, Sequence, Stepwise};

/// Prompt tokens that a sequence reads in one step at most.
const PROMPT_CHUNK: usize = 64;

/// Prompt tokens that one step reads at most, whatever the number of prompts: what those who are past theirs
/// wait for at each of their tokens.
const PROMPT_TOKENS: usize = 4 * PROMPT_CHUNK;

/// A sequence in the loop.
pub struct Seat<M> {
    pub sequence: M,
    /// When it came.
    pub joined: Instant,
    /// Its share of the steps that it was part of, by rows.
    pub work: Duration,
    /// Its rows in this step.
    rows: u32,
    /// Rows in the widest step that it was part of.
    pub widest: usize,
    /// Its rows in this step that want logits.
    scored: usize,
    fate: Fate,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Stays,
    Over,
    Failed,
}

/// Sequences, and room for their logits.
pub struct Running<M> {
    pub seats: Vec<Seat<M>>,
    logits: Vec<f32>,
}

/// What a step gave.
pub struct Stepped {
    pub rows: usize,
    /// Of prompts too.
    pub tokens: usize,
    /// Rows of logits.
    pub scored: usize,
    /// Tokens of texts that it adds: one a sequence that has read its prompt, however many beams it follows.
    pub generated: usize,
}

impl<M> Default for Running<M> {
    fn default() -> Self {
        Self { seats: Vec::new(), logits: Vec::new() }
    }
}

impl<M: Sequence> Running<M> {
    pub fn join(&mut self, sequence: M) {
        self.seats.push(Seat {
            sequence,
            joined: Instant::now(),
            work: Duration::ZERO,
            rows: 0,
            widest: 0,
            scored: 0,
            fate: Fate::Stays,
        });
    }

    /// The network's part: reads the rows of all sequences.
    ///
    /// # Errors
    /// When the network fails: all of them are lost.
    pub fn read(&mut self, network: &impl Stepwise<State = M::State>) -> Result<Stepped, RunError> {
        let others = self.seats.len().saturating_sub(1);
        let mut rows = gather(&mut self.seats, network.chunk(others));
        let count = rows.len();
        let tokens = rows.iter().map(|row| row.tokens.len()).sum();
        network.step(&mut rows, &mut self.logits)?;
        let scored = self.seats.iter().map(|seat| seat.scored).sum();
        if scored > 0 && (self.logits.is_empty() || !self.logits.len().is_multiple_of(scored)) {
            let got = self.logits.len();
            return Err(RunError(format!("{got} logits for {scored} rows")));
        }
        for seat in &mut self.seats {
            seat.widest = seat.widest.max(count);
        }
        let adding =
            self.seats.iter().filter(|seat| seat.scored > 0 && seat.sequence.unread() == 0);
        let generated = adding.count();
        Ok(Stepped { rows: count, tokens, scored, generated })
    }

    /// Shares out what a step of so many rows took.
    pub fn share(&mut self, took: Duration, rows: usize) {
        let each = took / u32::try_from(rows).unwrap_or(u32::MAX).max(1);
        for seat in &mut self.seats {
            seat.work += each * seat.rows;
        }
    }

    /// The sequences' part: each takes its logits. `failed` is told why one could not.
    pub fn take(&mut self, stepped: &Stepped, mut failed: impl FnMut(&M, RunError)) {
        let width = (self.logits.len() / stepped.scored.max(1)).max(1);
        let mut left = self.logits.as_mut_slice();
        for seat in self.seats.iter_mut().filter(|seat| seat.scored > 0) {
            let (own, rest) = left.split_at_mut(seat.scored * width);
            left = rest;
            seat.fate = match seat.sequence.take(own.chunks_exact_mut(width)) {
                Ok(true) => Fate::Stays,
                Ok(false) => Fate::Over,
                Err(error) => {
                    failed(&seat.sequence, error);
                    Fate::Failed
                }
            };
        }
    }

    /// Those that have left; what failed is dropped.
    pub fn leave(&mut self) -> Vec<Seat<M>> {
        let left = self.seats.extract_if(.., |seat| seat.fate != Fate::Stays);
        left.filter(|seat| seat.fate == Fate::Over).collect()
    }
}

/// The rows of a step, each prompt with at most `chunk` tokens. What it may read of prompts is shared out evenly, and what short ones leave goes to the
/// others.
fn gather<M: Sequence>(seats: &mut [Seat<M>], chunk: usize) -> Vec<Row<'_, M::State>> {
    let mut readers = seats.iter().filter(|seat| seat.sequence.unread() > 0).count();
    let mut left = PROMPT_TOKENS;
    let mut rows = Vec::with_capacity(seats.len());
    for Seat { sequence, scored, rows: own, .. } in seats {
        let unread = sequence.unread();
        let most = unread.min(chunk.clamp(1, PROMPT_CHUNK)).min(left.div_ceil(readers.max(1)));
        readers -= usize::from(unread > 0);
        left -= most;
        let before = rows.len();
        sequence.rows(most, &mut rows);
        *scored = rows[before..].iter().filter(|row| row.want_logits).count();
        *own = u32::try_from(rows.len() - before).unwrap_or(u32::MAX);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Scores;

    /// A prompt of some tokens that nobody goes on from.
    struct Prompt {
        state: (),
        unread: Vec<u32>,
        read: usize,
    }

    impl Sequence for Prompt {
        type State = ();

        fn unread(&self) -> usize {
            self.unread.len() - self.read
        }

        fn rows<'a>(&'a mut self, most: usize, rows: &mut Vec<Row<'a, ()>>) {
            let tokens = &self.unread[self.read..][..most];
            self.read += most;
            if most > 0 {
                rows.push(Row { state: &mut self.state, tokens, want_logits: false });
            }
        }

        fn take(&mut self, _: Scores<'_>) -> Result<bool, RunError> {
            Ok(true)
        }
    }

    fn chunks(running: &mut Running<Prompt>) -> Vec<usize> {
        gather(&mut running.seats, usize::MAX).iter().map(|row| row.tokens.len()).collect()
    }

    #[test]
    fn a_step_reads_a_bounded_part_of_all_prompts_and_shares_it_evenly() {
        let running = |lengths: &[usize]| {
            let mut running = Running::default();
            for &length in lengths {
                running.join(Prompt { state: (), unread: vec![0; length], read: 0 });
            }
            running
        };
        assert_eq!(chunks(&mut running(&[500])), [PROMPT_CHUNK]);
        // What short ones leave goes to those behind them.
        let mut some = running(&[10, 500, 10, 500, 500, 20, 500, 500]);
        assert_eq!(chunks(&mut some), [10, 36, 10, 40, 40, 20, 50, 50]);
        assert_eq!(chunks(&mut some).iter().sum::<usize>(), PROMPT_TOKENS);
        let mut many = running(&[500; 300]);
        let first = chunks(&mut many);
        assert_eq!((first.len(), first.iter().sum()), (PROMPT_TOKENS, PROMPT_TOKENS));
        // All come to their end.
        let mut steps = 0;
        while !chunks(&mut many).is_empty() {
            steps += 1;
        }
        assert!(steps >= 500 * 300 / PROMPT_TOKENS, "{steps}");
    }
}
