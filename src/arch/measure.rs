//! A package whose speed is measured in this process, without a server around it: what `maas bench` times.

use std::sync::{Arc, Mutex, PoisonError};

use crate::arch::{OpenError, golden};
use crate::domain::{Item, Params, Payload, Problem};
use crate::engine::{
    self, Codec, Decoding, EncoderDecoder, Generator, Language, Network, Row, RunError, TokenId,
};
use crate::package::Package;

/// Tokens that a generating model adds to its prompt, the likeliest each time.
const GENERATED: usize = 100;

/// The part of a generating network that reads a prompt, and the prompt's tokens.
const PROMPT: (&str, usize) = ("prompt", 128);

/// A network with an input of its own.
pub trait Timed: Sync {
    /// Decodes `rows` copies of the input, runs them in one batch, and encodes the answers.
    ///
    /// # Errors
    /// The reason, as text for people.
    fn whole(&self, rows: usize) -> Result<(), String>;

    /// Runs the network alone on `rows` ready samples; a generating one makes one step of as many texts. Where
    /// `part` is not empty, it runs that part alone.
    ///
    /// # Errors
    /// The reason, as text for people.
    fn network(&self, part: &str, rows: usize) -> Result<(), String>;
}

/// Of samples: each goes in and its output comes out, in one forward or in many.
struct Sampled<C: Codec, R> {
    run: R,
    codec: C,
    payload: Payload,
    sample: C::Sample,
}

/// Of texts that go on.
struct Generated<N: Generator, L> {
    network: N,
    language: L,
    payload: Payload,
    /// One a text that was begun, used again.
    states: Mutex<Vec<N::State>>,
}

/// A network of one forward a request on `input`, or on the package's first golden sample.
///
/// # Errors
/// [`OpenError`] when the input cannot be read.
pub fn one_shot<N, C>(
    package: &Package,
    (network, codec): (N, C),
    input: Option<Item>,
) -> Result<Box<dyn Timed>, OpenError>
where
    N: Network,
    C: Codec<Sample = N::Sample, Output = N::Output>,
{
    sampled(package, codec, input, move |batch: &[&N::Sample]| network.run(batch))
}

/// An encoder and a decoder on `input`, or on the package's first golden sample; at most `at_once` windows run
/// together.
///
/// # Errors
/// [`OpenError`] when the input cannot be read.
pub fn encoder_decoder<E, C>(
    package: &Package,
    (network, codec): (Arc<E>, C),
    input: Option<Item>,
    at_once: usize,
) -> Result<Box<dyn Timed>, OpenError>
where
    E: EncoderDecoder<Sample: Clone>,
    C: Codec<Sample = E::Sample, Output = <E::Decoding as Decoding>::Output>,
{
    sampled(package, codec, input, move |batch: &[&E::Sample]| {
        let samples = batch.iter().map(|&sample| sample.clone()).collect();
        engine::drive(&network, samples, at_once)
    })
}

fn sampled<C, R>(
    package: &Package,
    codec: C,
    input: Option<Item>,
    run: R,
) -> Result<Box<dyn Timed>, OpenError>
where
    C: Codec,
    R: Fn(&[&C::Sample]) -> Result<Vec<C::Output>, RunError> + Sync + 'static,
{
    let payload = payload(package, input)?;
    let (samples, _) = codec.decode(payload.clone(), &Params::default()).map_err(unreadable)?;
    let sample = samples.into_iter().next().ok_or_else(|| {
        let reason = "there is nothing in it that the network would run on".to_owned();
        OpenError::Golden { input: "the input".to_owned(), reason }
    })?;
    Ok(Box::new(Sampled { run, codec, payload, sample }))
}

/// A network that goes on from a text on `input`, or on the package's first golden sample.
///
/// # Errors
/// [`OpenError`] when the input cannot be read.
pub fn stepwise<N: Generator, L: Language>(
    package: &Package,
    (network, language): (N, L),
    input: Option<Item>,
) -> Result<Box<dyn Timed>, OpenError> {
    let payload = payload(package, input)?;
    language.prompts(payload.clone()).map_err(unreadable)?;
    Ok(Box::new(Generated { network, language, payload, states: Mutex::default() }))
}

fn payload(package: &Package, input: Option<Item>) -> Result<Payload, OpenError> {
    match (input, golden::samples(package)?.first()) {
        (Some(item), _) => Ok(Payload::single(item, "/body")),
        (None, Some(sample)) => golden::payload(package, sample),
        (None, None) => Ok(Payload::default()),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "what map_err gives")]
fn unreadable(problem: Problem) -> OpenError {
    OpenError::Golden { input: "the input".to_owned(), reason: problem.to_string() }
}

impl<C, R> Timed for Sampled<C, R>
where
    C: Codec,
    R: Fn(&[&C::Sample]) -> Result<Vec<C::Output>, RunError> + Sync,
{
    fn whole(&self, rows: usize) -> Result<(), String> {
        let decode = |_| self.codec.decode(self.payload.clone(), &Params::default());
        let decoded: Vec<_> =
            (0..rows).map(decode).collect::<Result<_, _>>().map_err(|e| e.to_string())?;
        let batch: Vec<&C::Sample> = decoded.iter().flat_map(|(samples, _)| samples).collect();
        let mut outputs = (self.run)(&batch).map_err(|e| e.to_string())?.into_iter();
        for (samples, ask) in &decoded {
            let own = outputs.by_ref().take(samples.len()).collect();
            self.codec.encode(own, ask).map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    fn network(&self, part: &str, rows: usize) -> Result<(), String> {
        only(&[], part)?;
        (self.run)(&vec![&self.sample; rows]).map(drop).map_err(|e| e.to_string())
    }
}

impl<N: Generator, L: Language> Generated<N, L> {
    /// One step of every text; the likeliest token of each.
    fn step(
        &self,
        states: &mut [N::State],
        tokens: &[Vec<TokenId>],
    ) -> Result<Vec<TokenId>, String> {
        let row = |(state, tokens)| Row { state, tokens, want_logits: true };
        let slices = tokens.iter().map(Vec::as_slice);
        let mut rows: Vec<Row<'_, N::State>> = states.iter_mut().zip(slices).map(row).collect();
        let mut logits = Vec::new();
        self.network.step(&mut rows, &mut logits).map_err(|e| e.to_string())?;
        let width = (logits.len() / tokens.len().max(1)).max(1);
        let best = |logits: &[f32]| {
            engine::likeliest(logits).ok_or("the network gave no usable probabilities")
        };
        Ok(logits.chunks_exact(width).map(best).collect::<Result<_, _>>()?)
    }
}

impl<N: Generator, L: Language> Generated<N, L> {
    /// Reads the input, over and over until it is as long as a prompt.
    fn prompt(&self, rows: usize) -> Result<(), String> {
        let prompts = self.language.prompts(self.payload.clone()).map_err(|e| e.to_string())?;
        let tokens: Vec<TokenId> =
            prompts.iter().flatten().copied().cycle().take(PROMPT.1).collect();
        let mut states: Vec<N::State> = (0..rows).map(|_| self.network.begin()).collect();
        self.step(&mut states, &vec![tokens; rows]).map(drop)
    }
}

/// Refuses a part that is none of those that there are.
///
/// # Errors
/// The names that there are.
pub fn only(parts: &[&str], part: &str) -> Result<(), String> {
    if part.is_empty() || parts.contains(&part) {
        return Ok(());
    }
    let known = if parts.is_empty() { "none".to_owned() } else { parts.join(", ") };
    Err(format!("the network has no part {part:?} that is timed alone: expected {known}"))
}

impl<N: Generator, L: Language> Timed for Generated<N, L> {
    fn whole(&self, rows: usize) -> Result<(), String> {
        let prompts = |_| self.language.prompts(self.payload.clone());
        let prompts: Vec<_> =
            (0..rows).map(prompts).collect::<Result<_, _>>().map_err(|e| e.to_string())?;
        let mut tokens = prompts.concat();
        let mut states: Vec<N::State> = tokens.iter().map(|_| self.network.begin()).collect();
        let mut texts = vec![Vec::new(); tokens.len()];
        for _ in 0..GENERATED {
            let next = self.step(&mut states, &tokens)?;
            texts.iter_mut().zip(&next).for_each(|(text, &token)| text.push(token));
            tokens = next.into_iter().map(|token| vec![token]).collect();
        }
        for text in &texts {
            drop(self.language.text(text));
        }
        Ok(())
    }

    fn network(&self, part: &str, rows: usize) -> Result<(), String> {
        only(&["step", PROMPT.0], part)?;
        if part == PROMPT.0 {
            return self.prompt(rows);
        }
        let idle = || self.states.lock().unwrap_or_else(PoisonError::into_inner);
        let mut states: Vec<N::State> = {
            let mut idle = idle();
            let left = idle.len().saturating_sub(rows);
            idle.drain(left..).collect()
        };
        states.resize_with(rows, || self.network.begin());
        let stepped = self.step(&mut states, &vec![vec![0]; rows]);
        idle().append(&mut states);
        stepped.map(drop)
    }
}
