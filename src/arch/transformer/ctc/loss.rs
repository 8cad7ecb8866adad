//! Connectionist temporal classification (Graves et al. 2006): the loss of a text whose characters
//! have no known place in time, with its exact gradient. Class 0 is the blank.

use candle_core::{Result, Tensor};

/// The blank's class.
pub const BLANK: usize = 0;

/// One row's loss, −log p(target), and its gradient with respect to the scores before softmax.
#[derive(Debug, Clone, PartialEq)]
pub struct Ctc {
    pub loss: f64,
    /// frames × classes.
    pub gradient: Vec<f32>,
}

/// The fewest frames that can say `target`: one a character, and a blank between equal neighbours.
#[must_use]
pub fn frames_min<T: PartialEq>(target: &[T]) -> usize {
    target.len() + target.windows(2).filter(|pair| pair[0] == pair[1]).count()
}

/// Loss and gradient of one row: `logits` is frames × classes. `None` when the row has too few frames
/// for the target, whose loss is then infinite.
#[must_use]
pub fn ctc(logits: &[f32], classes: usize, target: &[usize]) -> Option<Ctc> {
    let frames = logits.len() / classes.max(1);
    if frames == 0 || frames < frames_min(target) {
        return None;
    }
    let log_p = log_softmax(logits, classes);
    // Blanks before, between and after the characters.
    let states: Vec<usize> =
        std::iter::once(BLANK).chain(target.iter().flat_map(|&class| [class, BLANK])).collect();
    let lattice = Lattice { log_p: &log_p, classes, states: &states, frames };
    let forward = lattice.forward();
    let backward = lattice.backward();
    let width = states.len();
    let last = &forward[(frames - 1) * width..];
    let likelihood =
        log_add(last[width - 1], if width > 1 { last[width - 2] } else { f64::NEG_INFINITY });
    let mut gradient: Vec<f32> = Vec::with_capacity(logits.len());
    for t in 0..frames {
        let mut posterior = vec![0.0; classes];
        for (s, &class) in states.iter().enumerate() {
            // Both passes count frame t's own probability once, so one of them is taken back.
            let both = forward[t * width + s] + backward[t * width + s] - lattice.at(t, class);
            posterior[class] += (both - likelihood).exp();
        }
        #[expect(clippy::cast_possible_truncation, reason = "a gradient is f32")]
        gradient.extend((0..classes).map(|k| (lattice.at(t, k).exp() - posterior[k]) as f32));
    }
    Some(Ctc { loss: -likelihood, gradient })
}

/// A batch's loss as a tensor whose `backward` gives every score its exact gradient.
pub struct BatchLoss {
    /// Zero in value, right in gradient: the sum of scores times their gradients, constants here.
    pub surrogate: Tensor,
    /// Sum of the rows' losses over the sum of their characters.
    pub loss: f64,
    /// Rows that were left out because they are too short for their target.
    pub skipped: usize,
}

/// The loss of `logits` [batch, time, classes], row `i` being `lengths[i]` frames long.
///
/// # Errors
/// When the scores cannot be read from the device.
pub fn batch_loss(logits: &Tensor, lengths: &[usize], targets: &[&[usize]]) -> Result<BatchLoss> {
    let (_, time, classes) = logits.dims3()?;
    let scores: Vec<f32> = logits.flatten_all()?.to_vec1()?;
    let mut gradients = vec![0.0; scores.len()];
    let (mut loss, mut characters, mut skipped) = (0.0, 0, 0);
    let rows = scores.chunks_exact(time * classes).zip(gradients.chunks_exact_mut(time * classes));
    for ((row, gradient), (&length, target)) in rows.zip(lengths.iter().zip(targets)) {
        let Some(ctc) = ctc(&row[..length * classes], classes, target) else {
            skipped += 1;
            continue;
        };
        loss += ctc.loss;
        characters += target.len().max(1);
        gradient[..length * classes].copy_from_slice(&ctc.gradient);
    }
    #[expect(clippy::cast_precision_loss, reason = "a batch has few characters")]
    let scale = 1.0 / characters.max(1) as f64;
    let gradients = Tensor::from_vec(gradients, logits.shape(), logits.device())?;
    let surrogate = (logits.mul(&gradients)?.sum_all()? * scale)?;
    Ok(BatchLoss { surrogate, loss: loss * scale, skipped })
}

struct Lattice<'a> {
    log_p: &'a [f64],
    classes: usize,
    states: &'a [usize],
    frames: usize,
}

impl Lattice<'_> {
    fn at(&self, frame: usize, class: usize) -> f64 {
        self.log_p[frame * self.classes + class]
    }

    /// Whether a path may step over the state before `s`: only over a blank between two characters
    /// that differ.
    fn skips(&self, s: usize) -> bool {
        s >= 2 && self.states[s] != BLANK && self.states[s] != self.states[s - 2]
    }

    /// α of the paper, in logarithms: frames × states.
    fn forward(&self) -> Vec<f64> {
        let width = self.states.len();
        let mut alpha = vec![f64::NEG_INFINITY; self.frames * width];
        for (alpha, &state) in alpha.iter_mut().zip(self.states).take(2) {
            *alpha = self.at(0, state);
        }
        for t in 1..self.frames {
            let (before, now) = alpha.split_at_mut(t * width);
            let before = &before[(t - 1) * width..];
            for s in 0..width {
                let mut sum = before[s];
                if s >= 1 {
                    sum = log_add(sum, before[s - 1]);
                }
                if self.skips(s) {
                    sum = log_add(sum, before[s - 2]);
                }
                now[s] = sum + self.at(t, self.states[s]);
            }
        }
        alpha
    }

    /// β of the paper, in logarithms: frames × states, frame t's own probability included.
    fn backward(&self) -> Vec<f64> {
        let width = self.states.len();
        let mut beta = vec![f64::NEG_INFINITY; self.frames * width];
        let end = (self.frames - 1) * width;
        for s in width.saturating_sub(2)..width {
            beta[end + s] = self.at(self.frames - 1, self.states[s]);
        }
        for t in (0..self.frames - 1).rev() {
            let (now, after) = beta.split_at_mut((t + 1) * width);
            let now = &mut now[t * width..];
            for s in 0..width {
                let mut sum = after[s];
                if s + 1 < width {
                    sum = log_add(sum, after[s + 1]);
                }
                if s + 2 < width && self.skips(s + 2) {
                    sum = log_add(sum, after[s + 2]);
                }
                now[s] = sum + self.at(t, self.states[s]);
            }
        }
        beta
    }
}

/// log(exp a + exp b).
fn log_add(a: f64, b: f64) -> f64 {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    if low == f64::NEG_INFINITY { high } else { high + (low - high).exp().ln_1p() }
}

fn log_softmax(logits: &[f32], classes: usize) -> Vec<f64> {
    let mut out = Vec::with_capacity(logits.len());
    for row in logits.chunks_exact(classes) {
        let most = f64::from(row.iter().copied().fold(f32::MIN, f32::max));
        let sum: f64 = row.iter().map(|&v| (f64::from(v) - most).exp()).sum();
        out.extend(row.iter().map(|&v| f64::from(v) - most - sum.ln()));
    }
    out
}

#[cfg(test)]
#[expect(clippy::cast_precision_loss, reason = "small numbers")]
mod tests {
    use super::*;
    use candle_core::{Device, Var};
    use serde_json::Value;

    fn floats(value: &Value) -> Vec<f32> {
        serde_json::from_value(value.clone()).unwrap()
    }

    #[test]
    fn loss_and_gradient_are_those_of_a_reference() {
        let case: Value =
            serde_json::from_str(include_str!("../../../../tests/it/data/ctc.json")).unwrap();
        let lengths: Vec<usize> = serde_json::from_value(case["input_lengths"].clone()).unwrap();
        let targets: Vec<Vec<usize>> = serde_json::from_value(case["targets"].clone()).unwrap();
        let losses = floats(&case["loss"]);
        for (row, (&length, target)) in lengths.iter().zip(&targets).enumerate() {
            let of_row = |key: &str| -> Vec<f32> {
                (0..length).flat_map(|t| floats(&case[key][t][row])).collect()
            };
            let got = ctc(&of_row("logits"), 5, target).unwrap();
            assert!((got.loss - f64::from(losses[row])).abs() < 1e-5, "{}", got.loss);
            for (got, expected) in got.gradient.iter().zip(of_row("grad")) {
                assert!((got - expected).abs() < 1e-5, "{got}, expected {expected}");
            }
        }
    }

    fn logits(frames: usize) -> Vec<f32> {
        (0..frames * 3).map(|i| (i as f32 * 1.3).sin() * 2.0).collect()
    }

    #[test]
    fn the_gradient_is_what_small_changes_do() {
        for target in [&[1, 1, 2][..], &[2], &[]] {
            let base = logits(6);
            let got = ctc(&base, 3, target).unwrap();
            for i in 0..base.len() {
                let moved = |by: f32| {
                    let mut moved = base.clone();
                    moved[i] += by;
                    ctc(&moved, 3, target).unwrap().loss
                };
                let slope = (moved(1e-2) - moved(-1e-2)) / 2e-2;
                assert!((slope - f64::from(got.gradient[i])).abs() < 1e-4, "{target:?} {i}");
            }
        }
    }

    #[test]
    fn a_text_that_needs_more_frames_has_no_loss() {
        assert_eq!(frames_min(&[1, 1, 2]), 4);
        assert!(ctc(&logits(3), 3, &[1, 1, 2]).is_none());
        assert!(ctc(&logits(4), 3, &[1, 1, 2]).unwrap().loss.is_finite());
        assert!(ctc(&[], 3, &[]).is_none());
    }

    #[test]
    fn a_batch_passes_each_row_its_gradient_and_skips_what_does_not_fit() {
        let mut values = logits(4);
        values.extend(logits(4));
        let scores = Tensor::from_vec(values, (2, 4, 3), &Device::Cpu).unwrap();
        let scores = Var::from_tensor(&scores).unwrap();
        // The second row has two frames only: too few for its text.
        let batch = batch_loss(&scores, &[3, 2], &[&[1, 2], &[1, 1]]).unwrap();
        assert_eq!(batch.skipped, 1);
        let gradients = batch.surrogate.backward().unwrap();
        let got: Vec<f32> =
            gradients.get(&scores).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        let alone = ctc(&logits(3), 3, &[1, 2]).unwrap();
        assert!((batch.loss - alone.loss / 2.0).abs() < 1e-9);
        for (got, expected) in got[..9].iter().zip(&alone.gradient) {
            assert!((got - expected / 2.0).abs() < 1e-6);
        }
        assert!(got[9..].iter().all(|&g| g == 0.0));
    }
}
