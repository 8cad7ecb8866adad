//! Tokens to words.

use std::ops::Range;

use crate::arch::transformer::whisper::vocabulary::Vocabulary;
use crate::engine::TokenId;

/// Marks that belong to the word after them, where a space stands before them.
const OPENING: &str = "\"'“¿([{-";

/// Marks that belong to the word before them.
const CLOSING: &str = "\"'.。,，!！?？:：”)]}、";

/// What a decoder makes of bytes that are no whole character.
const BROKEN: char = '\u{fffd}';

/// A run of tokens, and its text with a leading space, if it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    pub text: String,
    pub tokens: Range<usize>,
}

impl Piece {
    /// The words of a text and, each by itself, marks. Where a language puts no spaces between its words, each
    /// character or token is one.
    #[must_use]
    pub fn split(vocabulary: &Vocabulary, tokens: &[TokenId], spaces: bool) -> Vec<Self> {
        let mut words: Vec<Self> = Vec::new();
        for part in Self::characters(vocabulary, tokens) {
            match words.last_mut() {
                Some(word) if spaces && !part.begins() => word.join(&part),
                _ => words.push(part),
            }
        }
        words
    }

    /// The shortest runs of tokens that are whole characters.
    fn characters(vocabulary: &Vocabulary, tokens: &[TokenId]) -> Vec<Self> {
        let mut parts = Vec::new();
        let mut start = 0;
        for end in 1..=tokens.len() {
            let text = vocabulary.text(&tokens[start..end]);
            if !text.contains(BROKEN) || end == tokens.len() {
                parts.push(Self { text, tokens: start..end });
                start = end;
            }
        }
        parts
    }

    fn begins(&self) -> bool {
        let mut characters = self.text.trim().chars();
        let mark = characters.next().is_some_and(|first| first.is_ascii_punctuation());
        self.text.starts_with(' ') || (mark && characters.next().is_none())
    }

    fn join(&mut self, next: &Self) {
        self.text.push_str(&next.text);
        self.tokens.end = next.tokens.end;
    }

    pub fn opens(&self) -> bool {
        let mark = self.text.trim();
        self.text.starts_with(' ') && !mark.is_empty() && OPENING.contains(mark)
    }

    pub fn closes(&self) -> bool {
        !self.text.is_empty() && CLOSING.contains(self.text.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::transformer::whisper::vocabulary::tests::TOKENIZER;

    #[test]
    fn words_begin_at_spaces_and_characters_are_whole() {
        // The letter é is the bytes C3 A9, which byte-level vocabularies write as Ã and ©.
        let tokenizer = TOKENIZER.replace("\"b\": 1", "\"Ã\": 1").replace("\"c\": 2", "\"©\": 2");
        let tokenizer = tokenizer.replace("\"d\": 3", "\".\": 3");
        let vocabulary = Vocabulary::new(tokenizer.as_bytes(), 8).unwrap();
        let split = |tokens: &[TokenId], spaces| {
            let pieces = Piece::split(&vocabulary, tokens, spaces);
            pieces.into_iter().map(|piece| (piece.text, piece.tokens)).collect::<Vec<_>>()
        };
        let said = [0, 1, 2, 4, 3, 0, 4];
        let words = split(&said, true);
        let expected = [(" aée", 0..4), (".", 4..5), (" ae", 5..7)];
        assert_eq!(words, expected.map(|(text, tokens)| (text.to_owned(), tokens)));
        assert_eq!(split(&said, false).len(), 6);
        assert_eq!(split(&said, false)[1], ("é".to_owned(), 1..3));
        // A character that was not finished is kept to the end.
        assert_eq!(split(&[0, 1], true).last().unwrap().1.end, 2);
        assert!(split(&[], true).is_empty());
    }

    #[test]
    fn marks_know_their_side() {
        let piece = |text: &str| Piece { text: text.to_owned(), tokens: 0..1 };
        assert!(piece(" \"").opens() && piece(" (").opens() && !piece("(").opens());
        assert!(piece("\"").closes() && piece(".").closes() && !piece(" .").closes());
        assert!(!piece("").closes() && !piece(" ").opens() && !piece(" a").opens());
    }
}
