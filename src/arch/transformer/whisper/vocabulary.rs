//! Tokens to text.

use tokenizers::Tokenizer;

use crate::arch::{OpenError, tokenizer};
use crate::engine::TokenId;

/// Where a package keeps its byte-pair tokens, as Hugging Face writes them.
pub const TOKENIZER_FILE: &str = "tokenizer.json";

/// Begins what was said before.
const BEFORE: &str = "<|startofprev|>";

/// The words behind the tokens.
pub struct Vocabulary {
    tokenizer: Tokenizer,
    /// Tokens from this on are no text.
    end: TokenId,
}

impl Vocabulary {
    /// # Errors
    /// [`OpenError::Config`] when the bytes are not a tokenizer.json.
    pub fn new(bytes: &[u8], end: TokenId) -> Result<Self, OpenError> {
        Ok(Self { tokenizer: tokenizer::read(TOKENIZER_FILE, bytes)?, end })
    }

    /// What is read before a window whose text goes on from `text`: its last tokens, at most `most`, behind the token
    /// that says so. `None` where the vocabulary has no such token, or the text holds one that is no text.
    #[must_use]
    pub fn before(&self, text: &str, most: usize) -> Option<Vec<TokenId>> {
        let before = self.tokenizer.token_to_id(BEFORE)?;
        let encoded = self.tokenizer.encode(format!(" {}", text.trim()), false).ok()?;
        let tokens = encoded.get_ids();
        if tokens.iter().any(|&token| token >= self.end) {
            return None;
        }
        let kept = &tokens[tokens.len().saturating_sub(most)..];
        Some([before].into_iter().chain(kept.iter().copied()).collect())
    }

    /// The text of some tokens, its leading space kept; special tokens are passed over.
    #[must_use]
    pub fn text(&self, tokens: &[TokenId]) -> String {
        let words: Vec<TokenId> =
            tokens.iter().copied().filter(|&token| token < self.end).collect();
        self.tokenizer.decode(&words, true).unwrap_or_default()
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A byte-pair vocabulary of the letters a to h: token 0 is a space and an a.
    pub const TOKENIZER: &str = r#"{
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": null, "post_processor": null,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "vocab": {"Ġa": 0, "b": 1, "c": 2, "d": 3, "e": 4, "f": 5, "g": 6, "h": 7, "<end>": 8},
                  "merges": []}
    }"#;

    #[test]
    fn spaces_are_kept_and_special_tokens_are_not() {
        let vocabulary = Vocabulary::new(TOKENIZER.as_bytes(), 8).unwrap();
        assert_eq!(vocabulary.text(&[0, 1, 8, 0, 12]), " ab a");
        assert_eq!(vocabulary.text(&[]), "");
        assert!(Vocabulary::new(b"{}", 8).is_err());
    }
}
