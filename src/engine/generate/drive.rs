//! An encoder and a decoder without an engine: on the calling thread, to its end. What a golden sample and a
//! benchmark need; it is the engine's own step.

use std::sync::Arc;

use crate::engine::generate::running::Running;
use crate::engine::{Decoding, EncoderDecoder, Row, RunError, Scores, Sequence};

/// What is made of each sample, in order; at most `at_once` windows run together.
///
/// # Errors
/// When the network fails on any of them.
pub fn drive<E: EncoderDecoder>(
    network: &Arc<E>,
    samples: Vec<E::Sample>,
    at_once: usize,
) -> Result<Vec<<E::Decoding as Decoding>::Output>, RunError> {
    let mut outputs: Vec<_> = samples.iter().map(|_| None).collect();
    let mut waiting: Vec<Placed<E::Decoding>> = samples
        .into_iter()
        .map(|sample| network.open(sample))
        .enumerate()
        .map(|(place, decoding)| Placed { place, decoding })
        .rev()
        .collect();
    let mut running = Running::default();
    loop {
        while running.seats.len() < at_once.max(1)
            && let Some(mut next) = waiting.pop()
        {
            if next.decoding.is_over() {
                outputs[next.place] = Some(next.decoding.finish());
            } else {
                next.decoding.encode()?;
                running.join(next);
            }
        }
        if running.seats.is_empty() {
            return Ok(outputs.into_iter().flatten().collect());
        }
        step(&**network, &mut running)?;
        waiting.extend(running.leave().into_iter().map(|seat| seat.sequence));
    }
}

fn step<E: EncoderDecoder>(
    network: &E,
    running: &mut Running<Placed<E::Decoding>>,
) -> Result<(), RunError> {
    let stepped = running.read(network)?;
    let mut failure = None;
    running.take(&stepped, |_, error| failure = Some(error));
    failure.map_or(Ok(()), Err)
}

/// A sample, and where its output belongs.
struct Placed<D> {
    place: usize,
    decoding: D,
}

impl<D: Decoding> Sequence for Placed<D> {
    type State = D::State;

    fn unread(&self) -> usize {
        self.decoding.unread()
    }

    fn rows<'a>(&'a mut self, most: usize, rows: &mut Vec<Row<'a, D::State>>) {
        self.decoding.rows(most, rows);
    }

    fn take(&mut self, scores: Scores<'_>) -> Result<bool, RunError> {
        self.decoding.take(scores)
    }
}
