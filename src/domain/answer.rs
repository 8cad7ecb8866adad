//! What comes back.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

/// One label of a classification.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Class {
    pub label: String,
    pub index: usize,
    /// Probability, 0 to 1.
    pub score: f32,
}

/// What a classification said of every label, by index.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Scores {
    /// Probabilities, 0 to 1.
    pub values: Vec<f32>,
    pub labels: Arc<[String]>,
}

/// One word of a transcript. Times are seconds from the start of the item.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Word {
    pub word: String,
    pub start: f32,
    pub end: f32,
    /// Geometric mean of the probabilities of the word's characters or tokens, 0 to 1.
    pub confidence: f32,
}

/// A stretch of a transcript. Times are seconds from the start of the item.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Segment {
    pub start: f32,
    pub end: f32,
    pub text: String,
    /// Told only by protocols that have a place for it.
    #[serde(skip)]
    pub evidence: Evidence,
}

/// What a segment's text rests on.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Evidence {
    /// Where the window begins that it was heard in, in hundredths of a second.
    pub seek: u64,
    /// The network's own names for what was said: tokens, or characters.
    pub tokens: Vec<u32>,
    /// At which it was drawn; 0 is the likeliest text.
    pub temperature: f32,
    /// Mean over the tokens, as a natural logarithm.
    pub log_probability: f32,
    /// How many times smaller zlib makes the text: much, where it repeats itself.
    pub compression: f32,
    /// The probability that nobody speaks.
    pub no_speech: f32,
}

/// Why a generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// A stop text, or the model's own end token.
    Stop,
    /// `max_tokens` was reached.
    Length,
}

/// An entry of the vocabulary, and how likely the network held it to be.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Token {
    pub id: u32,
    /// Its text by itself: U+FFFD where it is only a part of a character.
    pub text: String,
    /// The natural logarithm of its probability; none for what nothing came before.
    pub logprob: Option<f64>,
}

/// A token of a text, and the tokens that were likeliest in its place.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScoredToken {
    #[serde(flatten)]
    pub token: Token,
    /// Where it begins: characters of the text before it.
    pub offset: usize,
    /// Best first; as many as were asked for.
    pub top: Vec<Token>,
}

/// The result for one item of the payload.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Outcome {
    /// Classification, best first.
    Classes {
        predictions: Vec<Class>,
        /// All of them, for protocols that answer with tensors.
        #[serde(skip)]
        all: Scores,
    },
    /// Regression, in the order of the signature.
    Values { values: Vec<f32> },
    /// Generation: the new text, behind the prompt where an echo of it was asked for.
    Generated {
        text: String,
        /// The tokens of the text, where their probabilities were asked for.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        tokens: Vec<ScoredToken>,
        finish_reason: Finish,
        prompt_tokens: usize,
        completion_tokens: usize,
        /// The seed that gives this text again.
        seed: u64,
    },
    /// Speech recognition.
    Transcript {
        text: String,
        words: Vec<Word>,
        /// Where they were asked for.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        segments: Vec<Segment>,
        /// As an ISO 639 code, where the network knows several.
        #[serde(skip_serializing_if = "Option::is_none")]
        language: Option<String>,
        /// Seconds of sound that were read.
        duration: f32,
    },
    /// The place of a text among others: the nearer two are, the more alike are their meanings.
    Embedding {
        embedding: Vec<f32>,
        /// Tokens that were read.
        tokens: usize,
    },
}

/// Where the time of one request went. Recorded in one layer, from the answer.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Timings {
    /// Decoding and feature extraction.
    pub pre: Duration,
    /// Waiting for a worker.
    pub queue: Duration,
    /// The network.
    pub infer: Duration,
    /// Turning outputs into an answer.
    pub post: Duration,
    /// Generation only.
    pub tokens: Option<TokenTimings>,
}

/// The pace of one generation, as its reader feels it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TokenTimings {
    /// From the request's arrival to its first token.
    pub first: Duration,
    /// From token to token after that, on average; `None` where there was one only.
    pub between: Option<Duration>,
}

/// One outcome per item, in order; of a generation as many as were asked for, side by side.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub outcomes: Vec<Outcome>,
    pub timings: Timings,
    /// Rows in the largest batch that this request was part of.
    pub batch_rows: usize,
}

/// What one text of a streamed answer has more of.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fragment {
    /// Which of the answer's outcomes goes on.
    pub index: usize,
    pub text: String,
    /// The tokens that begin in it, where their probabilities were asked for.
    pub tokens: Vec<ScoredToken>,
}

/// A part of a streamed answer: the last piece is the whole answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    Text(Fragment),
    End(Answer),
}
