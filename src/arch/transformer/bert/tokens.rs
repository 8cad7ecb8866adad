//! Text to tokens, by a Hugging Face tokenizer.

use tokenizers::{Encoding, PostProcessor, Token, Tokenizer, TruncationDirection};

use crate::arch::{OpenError, tokenizer};
use crate::engine::TokenId;

/// The package's file that holds the tokenizer.
pub const TOKENIZER_FILE: &str = "tokenizer.json";

/// A tokenizer that frames every text with the tokens that the network was trained with.
pub struct Tokens {
    tokenizer: Tokenizer,
    /// How many tokens frame a text.
    frame: usize,
    most: usize,
    /// Ids that the network knows are below this.
    vocabulary: usize,
}

/// Why a text has no tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It has no token of its own.
    Empty,
    /// It has this many tokens, those that frame it included.
    TooLong(usize),
    /// The id at this index is none of the network's, of which there are so many.
    Unknown { at: usize, vocabulary: usize },
    /// The tokenizer cannot read it.
    Unreadable,
}

impl Tokens {
    /// Reads a tokenizer.json for a network of `vocabulary` tokens, of which a text may have `most`.
    ///
    /// # Errors
    /// [`OpenError::Config`] when the bytes are no tokenizer, or one with tokens that the network lacks.
    pub fn read(bytes: &[u8], vocabulary: usize, most: usize) -> Result<Self, OpenError> {
        let refuse = |reason| OpenError::Config { section: TOKENIZER_FILE, reason };
        let tokenizer = tokenizer::read(TOKENIZER_FILE, bytes)?;
        let size = tokenizer.get_vocab(true).values().max().map_or(0, |&id| id as usize + 1);
        if size > vocabulary {
            let reason = format!("it has {size} tokens: expected at most vocabulary, {vocabulary}");
            return Err(refuse(reason));
        }
        let frame = tokenizer.get_post_processor().map_or(0, |frame| frame.added_tokens(false));
        if frame >= most {
            let reason =
                format!("{frame} tokens frame a text: expected fewer than it may have, {most}");
            return Err(refuse(reason));
        }
        Ok(Self { tokenizer, frame, most, vocabulary })
    }

    /// The tokens of a text. Where it has too many, `truncate` keeps the first.
    ///
    /// # Errors
    /// [`Refusal`] when the network could not read them.
    pub fn encode(&self, text: &str, truncate: bool) -> Result<Vec<TokenId>, Refusal> {
        let own = self.tokenizer.encode_fast(text, false).map_err(|_| Refusal::Unreadable)?;
        self.framed(own, truncate)
    }

    /// The same of a text that is tokens already, without those that frame it.
    ///
    /// # Errors
    /// As [`Tokens::encode`].
    pub fn of_ids(&self, ids: &[TokenId], truncate: bool) -> Result<Vec<TokenId>, Refusal> {
        let vocabulary = self.vocabulary;
        if let Some(at) = ids.iter().position(|&id| id as usize >= vocabulary) {
            return Err(Refusal::Unknown { at, vocabulary });
        }
        let token = |&id| Token::new(id, String::new(), (0, 0));
        self.framed(Encoding::from_tokens(ids.iter().map(token).collect(), 0), truncate)
    }

    fn framed(&self, mut own: Encoding, truncate: bool) -> Result<Vec<TokenId>, Refusal> {
        if own.is_empty() {
            return Err(Refusal::Empty);
        }
        let total = own.len() + self.frame;
        if total > self.most && !truncate {
            return Err(Refusal::TooLong(total));
        }
        own.truncate(self.most - self.frame, 0, TruncationDirection::Right);
        // What was cut off would be framed as well.
        own.take_overflowing();
        let framed =
            self.tokenizer.post_process(own, None, true).map_err(|_| Refusal::Unreadable)?;
        Ok(framed.get_ids().to_vec())
    }
}

/// Words by spaces, framed as BERT does; a padding and a truncation that must not happen.
#[cfg(test)]
pub const TINY: &str = r#"{
    "version": "1.0",
    "truncation": {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0},
    "padding": {"strategy": {"Fixed": 8}, "direction": "Right", "pad_to_multiple_of": null,
                "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"},
    "added_tokens": [],
    "normalizer": {"type": "Lowercase"},
    "pre_tokenizer": {"type": "WhitespaceSplit"},
    "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1]},
    "decoder": null,
    "model": {"type": "WordLevel", "unk_token": "[UNK]", "vocab": {
        "[PAD]": 0, "[CLS]": 1, "[SEP]": 2, "[UNK]": 3, "a": 4, "man": 5, "is": 6, "eating": 7,
        "food": 8, "bread": 9}}
}"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_framed_and_neither_padded_nor_cut() {
        let tokens = Tokens::read(TINY.as_bytes(), 10, 8).unwrap();
        let read = |text: &str| tokens.encode(text, false);
        assert_eq!(read("A man is eating food").unwrap(), [1, 4, 5, 6, 7, 8, 2]);
        assert_eq!(read("dog").unwrap(), [1, 3, 2]);
        assert_eq!(read(" \n"), Err(Refusal::Empty));
        assert_eq!(read("a a a a a a").unwrap().len(), 8);
        assert_eq!(read("a a a a a a a"), Err(Refusal::TooLong(9)));
        let cut = tokens.encode(&"man a ".repeat(1000), true).unwrap();
        assert_eq!(cut, [1, 5, 4, 5, 4, 5, 4, 2]);
        assert_eq!(tokens.encode("", true), Err(Refusal::Empty));
        assert_eq!(tokens.of_ids(&[4, 5], false).unwrap(), read("a man").unwrap());
        assert_eq!(tokens.of_ids(&[4; 7], false), Err(Refusal::TooLong(9)));
        assert_eq!(tokens.of_ids(&[4; 7], true).unwrap(), [1, 4, 4, 4, 4, 4, 4, 2]);
        assert_eq!(tokens.of_ids(&[], false), Err(Refusal::Empty));
        let unknown = Refusal::Unknown { at: 1, vocabulary: 10 };
        assert_eq!(tokens.of_ids(&[4, 10], false), Err(unknown));
    }

    #[test]
    fn a_tokenizer_that_does_not_fit_the_network_is_refused() {
        let refused = |bytes: &[u8], vocabulary, most| {
            let Err(error) = Tokens::read(bytes, vocabulary, most) else { panic!("it was read") };
            error.to_string()
        };
        assert!(refused(TINY.as_bytes(), 9, 8).contains("at most vocabulary, 9"));
        assert!(refused(TINY.as_bytes(), 10, 2).contains("may have, 2"));
        refused(b"{}", 10, 8);
    }
}
