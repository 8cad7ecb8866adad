//! Tokens: single characters, or what a Hugging Face tokenizer makes of a text.

use std::collections::{BTreeSet, HashMap};

use tokenizers::Tokenizer;

use crate::arch::OpenError;
use crate::arch::gru::config::Tokens;
use crate::arch::tokenizer;
use crate::engine::TokenId;

/// A text that the vocabulary cannot write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// A character, and how many come before it.
    Character(char, usize),
    /// The tokenizer does not say where.
    Somewhere,
}

/// Text to tokens and back.
pub enum Vocabulary {
    Characters { list: Vec<char>, ids: HashMap<char, TokenId> },
    Tokenizer(Box<Tokenizer>),
}

impl Tokens {
    /// The package's file that holds the vocabulary.
    #[must_use]
    pub fn file(self) -> &'static str {
        match self {
            Tokens::Characters => "vocabulary.json",
            Tokens::Tokenizer => "tokenizer.json",
        }
    }
}

impl Vocabulary {
    /// Reads the bytes of the vocabulary's file.
    ///
    /// # Errors
    /// [`OpenError::Config`] when it is not such a file.
    pub fn read(tokens: Tokens, bytes: &[u8]) -> Result<Self, OpenError> {
        match tokens {
            Tokens::Characters => characters(bytes),
            Tokens::Tokenizer => words(bytes),
        }
    }

    /// The characters of a text, in the order of their code points, as the bytes of `vocabulary.json`.
    ///
    /// # Errors
    /// When the list cannot be written, which does not happen.
    pub fn characters_of(distinct: &BTreeSet<char>) -> Result<Vec<u8>, serde_json::Error> {
        let list: Vec<String> = distinct.iter().map(char::to_string).collect();
        serde_json::to_vec(&list)
    }

    /// One more than the largest id. A tokenizer may give several ids to one text, and leave ids out.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Characters { list, .. } => list.len(),
            Self::Tokenizer(tokenizer) => {
                tokenizer.get_vocab(true).values().max().map_or(0, |&id| id as usize + 1)
            }
        }
    }

    /// # Errors
    /// [`Unknown`] when the vocabulary lacks a part of it.
    pub fn encode(&self, text: &str) -> Result<Vec<TokenId>, Unknown> {
        match self {
            Self::Characters { ids, .. } => text
                .chars()
                .enumerate()
                .map(|(at, c)| ids.get(&c).copied().ok_or(Unknown::Character(c, at)))
                .collect(),
            // Without the tokens that frame a sentence: a text that is to be continued has no end yet.
            Self::Tokenizer(tokenizer) => tokenizer
                .encode_fast(text, false)
                .map(|encoding| encoding.get_ids().to_vec())
                .map_err(|_| Unknown::Somewhere),
        }
    }

    /// Ids without a text are passed over.
    #[must_use]
    pub fn decode(&self, tokens: &[TokenId]) -> String {
        match self {
            Self::Characters { .. } => tokens.iter().filter_map(|&id| self.character(id)).collect(),
            Self::Tokenizer(tokenizer) => tokenizer.decode(tokens, true).unwrap_or_default(),
        }
    }

    /// The character that a token is, where tokens are characters.
    #[must_use]
    pub fn character(&self, token: TokenId) -> Option<char> {
        match self {
            Self::Characters { list, .. } => list.get(usize::try_from(token).ok()?).copied(),
            Self::Tokenizer(_) => None,
        }
    }

    /// The id of exactly this token.
    #[must_use]
    pub fn id(&self, token: &str) -> Option<TokenId> {
        match self {
            Self::Characters { ids, .. } => {
                let mut chars = token.chars();
                let only = chars.next().filter(|_| chars.next().is_none())?;
                ids.get(&only).copied()
            }
            Self::Tokenizer(tokenizer) => tokenizer.token_to_id(token),
        }
    }
}

fn characters(bytes: &[u8]) -> Result<Vocabulary, OpenError> {
    let refuse = |reason: String| OpenError::Config { section: Tokens::Characters.file(), reason };
    let list: Vec<char> = serde_json::from_slice(bytes)
        .map_err(|e| refuse(format!("expected a list of texts of one character each: {e}")))?;
    if list.is_empty() {
        return Err(refuse("it lists no character".to_owned()));
    }
    let mut ids = HashMap::with_capacity(list.len());
    for (id, &c) in (0..).zip(&list) {
        if let Some(first) = ids.insert(c, id) {
            return Err(refuse(format!("{c:?} is listed twice, as {first} and as {id}")));
        }
    }
    Ok(Vocabulary::Characters { list, ids })
}

fn words(bytes: &[u8]) -> Result<Vocabulary, OpenError> {
    let tokenizer = tokenizer::read(Tokens::Tokenizer.file(), bytes)?;
    Ok(Vocabulary::Tokenizer(Box::new(tokenizer)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_keep_their_ids() {
        let bytes = Vocabulary::characters_of(&"hello, é".chars().collect()).unwrap();
        let vocabulary = Vocabulary::read(Tokens::Characters, &bytes).unwrap();
        assert_eq!(vocabulary.size(), 7);
        let tokens = vocabulary.encode("hole é").unwrap();
        assert_eq!(vocabulary.decode(&tokens), "hole é");
        assert_eq!(vocabulary.encode("héx"), Err(Unknown::Character('x', 2)));
        assert_eq!(vocabulary.id("é"), Some(6));
        assert_eq!(vocabulary.id("he"), None);
        assert_eq!(vocabulary.decode(&[6, 99]), "é");
    }

    #[test]
    fn a_list_that_is_not_one_of_characters_is_refused() {
        for bad in ["[]", "{}", "[\"ab\"]", "[\"\"]", "[\"a\",\"a\"]", "[1]", ""] {
            assert!(Vocabulary::read(Tokens::Characters, bad.as_bytes()).is_err(), "{bad}");
        }
    }

    /// Words by spaces; ids 0 to 5 with 3 left out, and a padding to eight tokens that must not happen.
    const TOKENIZER: &str = r#"{
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 8}, "direction": "Right", "pad_to_multiple_of": null,
                    "pad_id": 0, "pad_type_id": 0, "pad_token": "<pad>"},
        "added_tokens": [{"id": 4, "content": "<end>", "single_word": false, "lstrip": false,
                          "rstrip": false, "normalized": false, "special": true}],
        "normalizer": null, "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null,
        "decoder": null,
        "model": {"type": "WordLevel", "vocab": {"<pad>": 0, "in": 1, "the": 2, "beginning": 5},
                  "unk_token": "<unk>"}
    }"#;

    #[test]
    fn a_tokenizer_neither_pads_nor_cuts() {
        let vocabulary = Vocabulary::read(Tokens::Tokenizer, TOKENIZER.as_bytes()).unwrap();
        assert_eq!(vocabulary.size(), 6);
        assert_eq!(vocabulary.encode("in the beginning").unwrap(), [1, 2, 5]);
        assert_eq!(vocabulary.decode(&[1, 2, 5, 4]), "in the beginning");
        assert_eq!(vocabulary.id("<end>"), Some(4));
        assert_eq!(vocabulary.encode("in the end"), Err(Unknown::Somewhere));
        assert!(Vocabulary::read(Tokens::Tokenizer, b"{}").is_err());
    }
}
