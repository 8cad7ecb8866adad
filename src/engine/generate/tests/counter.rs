//! A tiny encoder and decoder whose steps may wait for the test's word.

use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc::UnboundedSender;

use crate::domain::{Item, Kind, Outcome, Params, Payload, Problem};
use crate::engine::{Codec, Decoding, EncoderDecoder, Row, RunError, Scores, Sequence, Stepwise};

/// Counts for each of two rows what it has read, and adds its sample's letter. The letters `s`, `t`, `e` and `p`
/// fail: in a step, at taking logits, at encoding, and at encoding with a panic.
pub struct Counter {
    pub encoded: Mutex<Vec<char>>,
    /// Without one, steps wait for nobody.
    pub gate: Option<Mutex<Gate>>,
}

pub struct Gate {
    pub entered: UnboundedSender<String>,
    pub go: Receiver<()>,
}

/// A letter, and how many steps each of its windows takes: `a31` has two.
#[derive(Clone)]
pub struct Word {
    letter: char,
    steps: Vec<u32>,
}

pub struct Count {
    network: Arc<Counter>,
    word: Word,
    window: usize,
    rows: [(char, u32); 2],
    said: Vec<f32>,
}

impl Stepwise for Counter {
    type State = (char, u32);

    fn step(
        &self,
        rows: &mut [Row<'_, (char, u32)>],
        logits: &mut Vec<f32>,
    ) -> Result<(), RunError> {
        if let Some(gate) = &self.gate {
            let gate = gate.lock().unwrap_or_else(PoisonError::into_inner);
            gate.entered.send(rows.iter().map(|row| row.state.0).collect()).unwrap();
            gate.go.recv().unwrap();
        }
        logits.clear();
        for row in rows {
            assert_ne!(row.state.0, 's', "a letter that this network cannot bear");
            row.state.1 += row.tokens[0];
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            logits.extend([row.state.1 as f32, f32::from(row.state.0 as u8)]);
        }
        Ok(())
    }
}

impl EncoderDecoder for Counter {
    type Sample = Word;
    type Decoding = Count;

    fn open(self: &Arc<Self>, word: Word) -> Count {
        let network = Arc::clone(self);
        Count { network, word, window: 0, rows: [('?', 0); 2], said: Vec::new() }
    }
}

impl Decoding for Count {
    type Output = Vec<f32>;

    fn is_over(&self) -> bool {
        self.window == self.word.steps.len()
    }

    fn encode(&mut self) -> Result<(), RunError> {
        let letter = self.word.letter;
        self.network.encoded.lock().unwrap().push(letter);
        assert_ne!(letter, 'p', "a letter that this encoder cannot bear");
        self.rows = [(letter, 0), (letter, 10)];
        if letter == 'e' { Err(RunError("an e".to_owned())) } else { Ok(()) }
    }

    fn said(&self) -> String {
        format!(" {}{}", self.word.letter, self.window)
    }

    fn finish(self) -> Vec<f32> {
        self.said
    }
}

impl Sequence for Count {
    type State = (char, u32);

    fn unread(&self) -> usize {
        0
    }

    fn rows<'a>(&'a mut self, _: usize, rows: &mut Vec<Row<'a, (char, u32)>>) {
        let row = |state| Row { state, tokens: &[1], want_logits: true };
        rows.extend(self.rows.iter_mut().map(row));
    }

    fn take(&mut self, scores: Scores<'_>) -> Result<bool, RunError> {
        assert_eq!(scores.len(), 2);
        self.said.extend(scores.map(|row| row[0] * 1000.0 + row[1]));
        if self.word.letter == 't' {
            return Err(RunError("a t".to_owned()));
        }
        let goes_on = self.rows[0].1 < self.word.steps[self.window];
        self.window += usize::from(!goes_on);
        Ok(goes_on)
    }
}

pub struct Words;

fn word(text: &str) -> Word {
    let letter = text.chars().next().unwrap();
    Word { letter, steps: text.chars().skip(1).filter_map(|c| c.to_digit(10)).collect() }
}

impl Codec for Words {
    type Sample = Word;
    type Output = Vec<f32>;
    type Ask = ();

    fn decode(&self, payload: Payload, _: &Params) -> Result<(Vec<Word>, ()), Problem> {
        let read = |item| match item {
            Item::Text(text) => Ok(word(&text)),
            other => Err(Problem::new(Kind::UnsupportedMedia, other.kind())),
        };
        Ok((payload.items.into_iter().map(read).collect::<Result<_, _>>()?, ()))
    }

    fn encode(&self, outputs: Vec<Vec<f32>>, (): &()) -> Result<Vec<Outcome>, Problem> {
        Ok(outputs.into_iter().map(|values| Outcome::Values { values }).collect())
    }
}

/// What a word must say, whoever is beside it.
pub fn said(text: &str) -> Outcome {
    let Word { letter, steps } = word(text);
    let one = |count: u32| [count, count + 10].map(|n| n * 1000 + u32::from(letter));
    let counts = steps.iter().flat_map(|&steps| 1..=steps).flat_map(one);
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    Outcome::Values { values: counts.map(|n| n as f32).collect() }
}
