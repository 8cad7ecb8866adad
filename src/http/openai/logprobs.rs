//! Tokens and their probabilities, in the two shapes that clients know.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::domain::{ScoredToken, Token};

/// That of completions: four lists of one entry a token.
#[derive(Serialize)]
pub struct Listed {
    tokens: Vec<String>,
    /// Null for the first token of a prompt.
    token_logprobs: Vec<Option<f64>>,
    /// The likeliest tokens, and the one that is there.
    top_logprobs: Vec<Option<Map<String, Value>>>,
    /// In characters of the choice's text.
    text_offset: Vec<usize>,
}

impl Listed {
    pub fn new(scored: Vec<ScoredToken>) -> Self {
        let top_logprobs = scored.iter().map(by_text).collect();
        let text_offset = scored.iter().map(|scored| scored.offset).collect();
        let tokens = scored.into_iter().map(|scored| (scored.token.text, scored.token.logprob));
        let (tokens, token_logprobs) = tokens.unzip();
        Self { tokens, token_logprobs, top_logprobs, text_offset }
    }
}

fn by_text(scored: &ScoredToken) -> Option<Map<String, Value>> {
    scored.token.logprob?;
    let mut map = Map::new();
    // Where two tokens have one text, the likelier is shown.
    for token in scored.top.iter().chain([&scored.token]) {
        map.entry(token.text.as_str()).or_insert_with(|| token.logprob.into());
    }
    Some(map)
}

/// That of chats: a list of tokens, each with a list of others.
#[derive(Serialize)]
pub struct Nested {
    content: Vec<Detailed>,
    refusal: Option<()>,
}

#[derive(Serialize)]
struct Detailed {
    #[serde(flatten)]
    token: One,
    top_logprobs: Vec<One>,
}

#[derive(Serialize)]
struct One {
    token: String,
    logprob: Option<f64>,
    /// Of its text in UTF-8; null where it is only a part of a character.
    bytes: Option<Vec<u8>>,
}

impl From<Token> for One {
    fn from(token: Token) -> Self {
        let Token { text, logprob, .. } = token;
        let whole = !text.contains(char::REPLACEMENT_CHARACTER);
        Self { bytes: whole.then(|| text.clone().into_bytes()), token: text, logprob }
    }
}

impl Nested {
    pub fn new(scored: Vec<ScoredToken>) -> Self {
        let detailed = |ScoredToken { token, top, .. }| Detailed {
            token: One::from(token),
            top_logprobs: top.into_iter().map(One::from).collect(),
        };
        Self { content: scored.into_iter().map(detailed).collect(), refusal: None }
    }
}
