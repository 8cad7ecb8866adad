//! Where some heads listen while a text is read.

use std::ops::Range;

use crate::arch::transformer::whisper::align::path;

/// Frames that a median is taken of.
const MEDIAN: usize = 7;

/// What the heads listen to, together: the more, the higher a token stands out at a frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Attended {
    frames: usize,
    /// [tokens, frames].
    sum: Vec<f32>,
}

impl Attended {
    /// Of no head yet, over the first `frames` positions of what is heard.
    #[must_use]
    pub fn new(tokens: usize, frames: usize) -> Self {
        Self { frames, sum: vec![0.0; tokens * frames] }
    }

    /// Adds a head by its scores before softmax: [tokens, positions].
    pub fn add(&mut self, scores: &[f32]) {
        let (frames, tokens) = (self.frames.max(1), self.sum.len() / self.frames.max(1));
        let positions = scores.len() / tokens.max(1);
        let mut weights = Vec::with_capacity(self.sum.len());
        for row in scores.chunks_exact(positions.max(1)) {
            weights.extend(softmax(&row[..frames.min(row.len())]));
        }
        standardise(&mut weights, frames);
        for (sum, row) in self.sum.chunks_exact_mut(frames).zip(weights.chunks_exact(frames)) {
            for (sum, value) in sum.iter_mut().zip(smooth(row)) {
                *sum += value;
            }
        }
    }

    /// The frame at which each of some tokens begins to be heard: never before that of the one before it.
    #[must_use]
    pub fn onsets(&self, tokens: Range<usize>) -> Vec<usize> {
        let part = &self.sum[tokens.start * self.frames..tokens.end * self.frames];
        let costs: Vec<f32> = part.iter().map(|value| -value).collect();
        path::onsets(&costs, self.frames)
    }
}

fn softmax(row: &[f32]) -> impl Iterator<Item = f32> {
    let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let total: f32 = row.iter().map(|value| (value - most).exp()).sum();
    row.iter().map(move |value| (value - most).exp() / total)
}

/// Gives every column the mean 0 and the standard deviation 1; one that is the same everywhere tells nothing.
#[expect(clippy::cast_precision_loss, reason = "a text has few tokens")]
fn standardise(rows: &mut [f32], columns: usize) {
    let count = (rows.len() / columns).max(1) as f32;
    for column in 0..columns {
        let values = || rows[column..].iter().step_by(columns);
        let mean = values().sum::<f32>() / count;
        let variance = values().map(|value| (value - mean).powi(2)).sum::<f32>() / count;
        let scale = if variance > 0.0 { variance.sqrt().recip() } else { 0.0 };
        for value in rows[column..].iter_mut().step_by(columns) {
            *value = (*value - mean) * scale;
        }
    }
}

/// The median of each value and its neighbours; beyond the ends the row is reflected. A row that is too short for
/// that stays as it is.
fn smooth(row: &[f32]) -> Vec<f32> {
    let (half, last) = (MEDIAN / 2, row.len().saturating_sub(1));
    if row.len() <= half {
        return row.to_vec();
    }
    let at = |place: usize| {
        let distance = place.abs_diff(half);
        row[if distance > last { 2 * last - distance } else { distance }]
    };
    let median = |first: usize| {
        let mut near: [f32; MEDIAN] = std::array::from_fn(|offset| at(first + offset));
        near.sort_by(f32::total_cmp);
        near[half]
    };
    (0..row.len()).map(median).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_those_of_seven_with_reflected_ends() {
        // Worked out by hand: 3 2 1 | 0 1 2 3 9 5 6 | 5 9 3, sevens of it sorted.
        let row = [0.0, 1.0, 2.0, 3.0, 9.0, 5.0, 6.0];
        assert_eq!(smooth(&row), [2.0, 2.0, 2.0, 3.0, 5.0, 5.0, 5.0]);
        assert_eq!(smooth(&[3.0, 1.0, 2.0]), [3.0, 1.0, 2.0]);
        // One outlier is gone; four in a row are kept.
        assert_eq!(smooth(&[0.0, 0.0, 0.0, 0.0, 8.0, 0.0, 0.0, 0.0]), [0.0; 8]);
        assert_eq!(smooth(&[0.0, 0.0, 4.0, 4.0, 4.0, 4.0, 0.0, 0.0, 0.0])[3..4], [4.0]);
    }

    #[test]
    fn columns_are_compared_between_tokens() {
        let mut rows = vec![1.0, 5.0, 3.0, 5.0];
        standardise(&mut rows, 2);
        assert_eq!(rows, [-1.0, 0.0, 1.0, 0.0]);
    }

    #[test]
    fn tokens_begin_where_heads_begin_to_listen() {
        // Three tokens that listen to frames 0 to 3, 4 to 8 and 9 to 11; what lies after the 12th is not looked at.
        let mut scores = vec![0.0; 3 * 16];
        for (token, frames) in [(0, 0..4), (1, 4..9), (2, 9..12)] {
            scores[token * 16..][frames].fill(6.0);
        }
        scores[14] = 90.0;
        let mut attended = Attended::new(3, 12);
        attended.add(&scores);
        assert_eq!(attended.onsets(0..3), [0, 4, 9]);
        let once = attended.clone();
        attended.add(&scores);
        assert_eq!(attended.onsets(1..3), once.onsets(1..3));
    }
}
