//! The traits that an architecture implements and the engine drives. They follow the shape of execution, not
//! the architecture and not the task: one forward a request, a loop of steps that go on from a text, or one
//! forward a window with a loop of steps behind it.

use std::sync::Arc;
use std::time::Instant;

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;

use crate::domain::{Answer, Item, Outcome, Params, Payload, Piece, Priority, Problem};
use crate::engine::cpu::is_light;
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

    /// Whether an item is decoded in a few tens of microseconds: sooner than a thread is woken for it.
    fn is_light(&self, item: &Item) -> bool {
        is_light(item)
    }

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

/// Rows of logits, each with one score per entry of the vocabulary, before any softmax. Whoever gets them may
/// write in them.
pub type Scores<'a> = std::slice::ChunksExactMut<'a, f32>;

/// One row of a step.
pub struct Row<'a, S> {
    pub state: &'a mut S,
    /// One token, or a chunk of the prompt; never empty.
    pub tokens: &'a [TokenId],
    /// Whether the logits after the last of `tokens` are wanted.
    pub want_logits: bool,
}

/// Steps. What a row has read is a value, so sequences join, leave and fork between steps.
pub trait Stepwise: Send + Sync + 'static {
    type State: Send + 'static;

    /// Reads each row's tokens into its state, and leaves in `logits` those of the rows that want them, in their
    /// order and one after the other. What `logits` held is gone.
    ///
    /// # Errors
    /// When the arithmetic fails; the sequences in `rows` are then lost, and nothing else.
    fn step(
        &self,
        rows: &mut [Row<'_, Self::State>],
        logits: &mut Vec<f32>,
    ) -> Result<(), RunError>;

    /// Tokens of a prompt that a row should read in one step beside `others`. A network that reads them all at
    /// once may have what there is; one that reads them one after the other should read few, for each costs it
    /// least beside the tokens of others.
    fn chunk(&self, _others: usize) -> usize {
        usize::MAX
    }
}

/// Steps that go on from a text.
pub trait Generator: Stepwise {
    /// The state before any token.
    fn begin(&self) -> Self::State;
}

/// What a step loop asks of each of its sequences.
pub trait Sequence: Send + 'static {
    type State;

    /// Tokens of a prompt that it could read in one go. The loop says how many it may, so that prompts do not
    /// hold up those who are past theirs.
    fn unread(&self) -> usize;

    /// Adds its rows to the next step: one a beam, say. While there are unread tokens: one row with at most `most`
    /// of them, and none where `most` is 0.
    fn rows<'a>(&'a mut self, most: usize, rows: &mut Vec<Row<'a, Self::State>>);

    /// Takes the logits of those rows that wanted them, in order; `false` when it leaves the loop.
    ///
    /// # Errors
    /// When they are of no use. The sequence is then lost, and no other.
    fn take(&mut self, scores: Scores<'_>) -> Result<bool, RunError>;
}

/// An encoder and a decoder. A sample is read window by window: the encoder makes one forward of each, and the
/// decoder's steps are those of a loop that windows of other samples join too.
pub trait EncoderDecoder: Stepwise {
    /// One decoded row, in host memory.
    type Sample: Send + 'static;
    type Decoding: Decoding<State = Self::State>;

    /// The work on a sample, nothing of it done yet.
    fn open(self: &Arc<Self>, sample: Self::Sample) -> Self::Decoding;
}

/// A sample on its way through an [`EncoderDecoder`]. In the step loop it is a window's [`Sequence`], with rows,
/// rules and random numbers of its own.
pub trait Decoding: Sequence {
    type Output: Send + 'static;

    /// Whether no window is left.
    fn is_over(&self) -> bool;

    /// Encodes the next window; then it may be stepped, until it leaves the loop.
    ///
    /// # Errors
    /// When the arithmetic fails; the sample is then lost, and nothing else.
    fn encode(&mut self) -> Result<(), RunError>;

    /// What the last window says, for a reader who does not wait for the end. With those of all other windows it is
    /// the whole text, but for space at its ends.
    fn said(&self) -> String;

    /// What was made of all windows.
    fn finish(self) -> Self::Output;
}

/// Text to tokens and back, for a [`Generator`].
pub trait Language: Send + Sync + 'static {
    /// The prompt tokens of each item of the payload, never empty.
    ///
    /// # Errors
    /// [`Problem`] when an item is not text, is empty, too long, or holds what the vocabulary lacks.
    fn prompts(&self, payload: Payload) -> Result<Vec<Vec<TokenId>>, Problem>;

    /// The text of a run of tokens. A token that is only a part of a character decodes to U+FFFD until
    /// the rest has come.
    fn text(&self, tokens: &[TokenId]) -> String;

    /// The character that a token adds to every run of tokens, whatever stands before it; `None` where it adds more,
    /// less, or what depends on its neighbours.
    fn character(&self, _: TokenId) -> Option<char> {
        None
    }

    /// Ids that there are: each is below this.
    fn size(&self) -> usize;

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

    /// Whether it honours the parameter `stream`.
    fn streams(&self) -> bool;

    /// Why it takes no requests for now, where it does not.
    fn rest(&self) -> Option<Rest>;

    /// Its batches, where it has any whose size is to be chosen.
    fn batches(&self) -> Option<&dyn Batches>;
}

/// Batches whose size and delay come from a measurement.
pub trait Batches {
    /// Takes what was measured of this package before, on a processor of this kind.
    fn adopt(&self, curve: &Curve);

    /// Measures in idle time, and hands out the curve.
    fn calibrate(&self, measured: Measured);
}
