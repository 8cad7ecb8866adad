//! A long run of tokens as rows that are read side by side.

use crate::engine::TokenId;

/// Cuts tokens into `rows` contiguous streams of the same length. A row's state is carried from one
/// window to the next, so that the network sees further back than a window is long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Streams<'a> {
    tokens: &'a [TokenId],
    rows: usize,
    /// Tokens that a stream reads; each has a next one to predict.
    length: usize,
    /// Tokens in a window.
    window: usize,
}

impl<'a> Streams<'a> {
    /// `None` when there is not one token with a next one for every row. A window is cut to the length
    /// of a stream; tokens that fill no whole window at the end of a stream are left out.
    #[must_use]
    pub fn new(tokens: &'a [TokenId], rows: usize, window: usize) -> Option<Self> {
        let length = tokens.len().checked_sub(1)?.checked_div(rows)?;
        let window = window.min(length);
        (window > 0).then_some(Self { tokens, rows, length, window })
    }

    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    #[must_use]
    pub fn windows(&self) -> usize {
        self.length / self.window
    }

    /// What the rows read in a window: one list a time step, one token a row.
    pub fn inputs(&self, window: usize) -> impl Iterator<Item = Vec<TokenId>> {
        let start = window * self.window;
        (start..start + self.window).map(|time| self.at(time))
    }

    /// What comes next, in the order of [`Streams::inputs`].
    #[must_use]
    pub fn targets(&self, window: usize) -> Vec<TokenId> {
        let start = window * self.window + 1;
        (start..start + self.window).flat_map(|time| self.at(time)).collect()
    }

    fn at(&self, time: usize) -> Vec<TokenId> {
        (0..self.rows).map(|row| self.tokens[row * self.length + time]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_go_on_from_window_to_window() {
        let tokens: Vec<TokenId> = (0..12).collect();
        let streams = Streams::new(&tokens, 2, 2).unwrap();
        assert_eq!(streams.windows(), 2);
        let read = |w| streams.inputs(w).collect::<Vec<_>>();
        assert_eq!(read(0), [[0, 5], [1, 6]]);
        assert_eq!(streams.targets(0), [1, 6, 2, 7]);
        assert_eq!(read(1), [[2, 7], [3, 8]]);
        assert_eq!(streams.targets(1), [3, 8, 4, 9]);
    }

    #[test]
    fn the_last_target_is_the_last_token() {
        let tokens = [7, 8, 9];
        let streams = Streams::new(&tokens, 1, 100).unwrap();
        assert_eq!((streams.windows(), streams.targets(0)), (1, vec![8, 9]));
        assert_eq!(Streams::new(&tokens, 3, 1), None);
        assert_eq!(Streams::new(&tokens, 0, 1), None);
        assert_eq!(Streams::new(&[], 1, 1), None);
    }
}
