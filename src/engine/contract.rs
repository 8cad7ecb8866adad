//! The traits that an architecture implements and the engine drives. They follow the shape of
//! execution (one forward a request, or a loop of steps), not the architecture and not the task.

use std::time::Instant;

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;

use crate::domain::{Answer, Outcome, Params, Payload, Piece, Priority, Problem};
use crate::engine::{Curve, Measured, ModelStats, Rest};

/// A network failed on a batch. The text is for the log; a caller is told only that it happened.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct RunError(pub String);

/// One forward a request.
pub trait Network: Send + Sync + 'static {
    /// One decoded row, in host memory.
    type Sample: Send + Sync + 'static;
    type Output: Send + 'static;

    /// What a sample counts against the batch's cost limit: 1 for a picture, 1 a padded frame for sound.
    fn cost(&self, sample: &Self::Sample) -> usize;

    /// Whether the rows of a batch are filled up to the longest of them: then rows of one length go
    /// together.
    fn pads(&self) -> bool;

    /// One output per sample, in order.
    ///
    /// # Errors
    /// When the arithmetic fails; the whole batch is then lost, and nothing else.
    fn run(&self, batch: &[&Self::Sample]) -> Result<Vec<Self::Output>, RunError>;
}

/// Payload to samples, outputs to outcomes. Pure and CPU-bound.
pub trait Codec: Send + Sync + 'static {
    type Sample: Send + Sync + 'static;
    type Output: Send + 'static;
    /// What the parameters want of the answer, and how samples belong to items.
    type Ask: Send + 'static;

    /// # Errors
    /// [`Problem`] with pointer, expected and got when an item or a parameter is not usable.
    fn decode(
        &self,
        payload: Payload,
        params: &Params,
    ) -> Result<(Vec<Self::Sample>, Self::Ask), Problem>;

    /// One outcome per item of the payload, in order.
    ///
    /// # Errors
    /// [`Problem`] when outputs are not usable (NaN, say).
    fn encode(&self, outputs: Vec<Self::Output>, ask: &Self::Ask) -> Result<Vec<Outcome>, Problem>;
}

/// Index into a vocabulary.
pub type TokenId = u32;

/// One score per entry of the vocabulary, before any softmax.
pub type Logits = Vec<f32>;

/// One sequence's part in a step.
pub struct Row<'a, S> {
    pub state: &'a mut S,
    /// One token, or a chunk of the prompt; never empty.
    pub tokens: &'a [TokenId],
    /// Whether the logits after the last of `tokens` are wanted.
    pub want_logits: bool,
}

/// Generation. A sequence's state is a value, so sequences join and leave between steps.
pub trait Stepwise: Send + Sync + 'static {
    type State: Send + 'static;

    /// The state before any token.
    fn begin(&self) -> Self::State;

    /// Reads each row's tokens into its state; logits where they are wanted, in the order of `rows`.
    ///
    /// # Errors
    /// When the arithmetic fails; the sequences in `rows` are then lost, and nothing else.
    fn step(&self, rows: &mut [Row<'_, Self::State>]) -> Result<Vec<Option<Logits>>, RunError>;
}

/// Text to tokens and back, for a [`Stepwise`] network.
pub trait Language: Send + Sync + 'static {
    /// The prompt tokens of each item of the payload, never empty.
    ///
    /// # Errors
    /// [`Problem`] when an item is not text, is empty, too long, or holds what the vocabulary lacks.
    fn prompts(&self, payload: Payload) -> Result<Vec<Vec<TokenId>>, Problem>;

    /// The text of a run of tokens. A token that is only a part of a character decodes to U+FFFD until
    /// the rest has come.
    fn text(&self, tokens: &[TokenId]) -> String;

    /// The token that ends a text, where the vocabulary has one.
    fn end(&self) -> Option<TokenId>;
}

/// One request, decoded from its wire form.
#[derive(Debug)]
pub struct Request {
    pub payload: Payload,
    pub params: Params,
    /// When the caller stops waiting.
    pub deadline: Instant,
    /// Among the requests for the same model.
    pub priority: Priority,
}

/// What a request gets.
pub enum Reply {
    Whole(Answer),
    /// Ends in [`Piece::End`] or in a problem.
    Stream(BoxStream<'static, Result<Piece, Problem>>),
}

/// The object-safe face: all that the registry and the servers know of a model that is ready.
pub trait Endpoint: Send + Sync {
    fn predict(&self, request: Request) -> BoxFuture<'_, Result<Reply, Problem>>;
    fn stats(&self) -> &ModelStats;

    /// Why it takes no requests for now, where it does not.
    fn rest(&self) -> Option<Rest>;

    /// Takes what was measured of this package before, on a processor of this kind.
    fn adopt(&self, curve: &Curve);

    /// Measures its batches in idle time, where it has any, and hands out the curve.
    fn calibrate(&self, measured: Measured);
}
