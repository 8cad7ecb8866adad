//! A long run of tokens as rows that are read side by side.

use std::borrow::Cow;

use crate::dataset::{DataError, Store};
use crate::engine::TokenId;

/// Cuts tokens into `rows` contiguous streams of the same length. A row's state is carried from one
/// window to the next, so that the network sees further back than a window is long.
#[derive(Debug)]
pub struct Streams<'a> {
    tokens: &'a Store<TokenId>,
    rows: usize,
    /// Tokens that a stream reads; each has a next one to predict.
    length: usize,
    /// Tokens in a window.
    window: usize,
}

/// Some tokens of each row, and the one that comes next.
pub struct Window<'a> {
    rows: Vec<Cow<'a, [TokenId]>>,
    /// Tokens that a row reads.
    length: usize,
}

impl<'a> Streams<'a> {
    /// `None` when there is not one token with a next one for every row. A window is cut to the length
    /// of a stream; tokens that fill no whole window at the end of a stream are left out.
    #[must_use]
    pub fn new(tokens: &'a Store<TokenId>, rows: usize, window: usize) -> Option<Self> {
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

    /// A window by its number, which is below [`Streams::windows`].
    ///
    /// # Errors
    /// [`DataError::Store`] when the tokens cannot be read.
    pub fn window(&self, number: usize) -> Result<Window<'a>, DataError> {
        let rows = (0..self.rows).map(|row| {
            let start = row * self.length + number * self.window;
            self.tokens.get(start..start + self.window + 1)
        });
        Ok(Window { rows: rows.collect::<Result<_, _>>()?, length: self.window })
    }
}

impl Window<'_> {
    /// What the rows read: one list a time step, one token a row.
    pub fn inputs(&self) -> impl Iterator<Item = Vec<TokenId>> {
        (0..self.length).map(|time| self.at(time))
    }

    /// What comes next, in the order of [`Window::inputs`].
    #[must_use]
    pub fn targets(&self) -> Vec<TokenId> {
        (1..=self.length).flat_map(|time| self.at(time)).collect()
    }

    fn at(&self, time: usize) -> Vec<TokenId> {
        self.rows.iter().map(|row| row[time]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_go_on_from_window_to_window() {
        let tokens = Store::from((0..12).collect::<Vec<_>>());
        let streams = Streams::new(&tokens, 2, 2).unwrap();
        assert_eq!(streams.windows(), 2);
        let [first, second] = [0, 1].map(|number| streams.window(number).unwrap());
        assert_eq!(first.inputs().collect::<Vec<_>>(), [[0, 5], [1, 6]]);
        assert_eq!(first.targets(), [1, 6, 2, 7]);
        assert_eq!(second.inputs().collect::<Vec<_>>(), [[2, 7], [3, 8]]);
        assert_eq!(second.targets(), [3, 8, 4, 9]);
    }

    #[test]
    fn the_last_target_is_the_last_token() {
        let tokens = Store::from(vec![7, 8, 9]);
        let streams = Streams::new(&tokens, 1, 100).unwrap();
        assert_eq!((streams.windows(), streams.window(0).unwrap().targets()), (1, vec![8, 9]));
        assert!(Streams::new(&tokens, 3, 1).is_none());
        assert!(Streams::new(&tokens, 0, 1).is_none());
        assert!(Streams::new(&Store::from(Vec::new()), 1, 1).is_none());
    }
}
