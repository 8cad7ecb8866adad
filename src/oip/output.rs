//! Answers to output tensors.

use std::sync::Arc;

use crate::domain::{Answer, Card, Datatype, Finish, Kind, Outcome, Problem, Timings};
use crate::oip::metadata::outputs_of;

/// An output that a caller names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub name: String,
    /// As the best so many, with their labels.
    pub classification: Option<usize>,
    /// Whether it is to be written as bytes; `None` leaves it to the request.
    pub binary: Option<bool>,
}

/// The elements of an output tensor, row after row.
#[derive(Debug, Clone, PartialEq)]
pub enum Written {
    Floats(Vec<f32>),
    Whole(Vec<u64>),
    Texts(Vec<String>),
}

/// An output tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    pub name: String,
    pub shape: Vec<usize>,
    pub values: Written,
    /// Whether it is to be written as bytes.
    pub binary: bool,
    /// What its columns are called, where they are classes.
    labels: Arc<[String]>,
}

/// What an answer says of itself, as parameters of the response.
#[derive(Debug, Clone, PartialEq)]
pub struct Receipt {
    /// SHA-256 of the package that answered.
    pub digest: String,
    pub timings: Timings,
    pub batch_rows: usize,
}

impl Receipt {
    #[must_use]
    pub fn of(answer: &Answer, card: &Card) -> Self {
        let Answer { timings, batch_rows, .. } = *answer;
        Self { digest: card.digest.to_string(), timings, batch_rows }
    }

    /// Whole numbers by the names of their parameters; times are microseconds.
    #[must_use]
    pub fn numbers(&self) -> [(&'static str, u64); 5] {
        let micros =
            |time: std::time::Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        [
            ("maas_batch_rows", self.batch_rows as u64),
            ("maas_queue_us", micros(self.timings.queue)),
            ("maas_pre_us", micros(self.timings.pre)),
            ("maas_infer_us", micros(self.timings.infer)),
            ("maas_post_us", micros(self.timings.post)),
        ]
    }
}

impl Output {
    /// One text of one row.
    #[must_use]
    pub fn text(name: &str, text: String, binary: bool) -> Self {
        Self {
            name: name.to_owned(),
            shape: vec![1, 1],
            values: Written::Texts(vec![text]),
            binary,
            labels: Arc::default(),
        }
    }

    #[must_use]
    pub fn datatype(&self) -> Datatype {
        match self.values {
            Written::Floats(_) => Datatype::Fp32,
            Written::Whole(_) => Datatype::Uint64,
            Written::Texts(_) => Datatype::Bytes,
        }
    }

    /// Its elements' bytes: little-endian; texts have their lengths before them.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        match &self.values {
            Written::Floats(values) => {
                values.iter().flat_map(|value| value.to_le_bytes()).collect()
            }
            Written::Whole(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Written::Texts(texts) => {
                let mut bytes = Vec::with_capacity(texts.iter().map(|text| 4 + text.len()).sum());
                for text in texts {
                    // A text of 4 GiB would have been over every limit.
                    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
                    bytes.extend_from_slice(&length.to_le_bytes());
                    bytes.extend_from_slice(text.as_bytes());
                }
                bytes
            }
        }
    }

    /// The best `most` of each row, as Triton's classification extension writes them: `value:index:label`.
    fn classified(self, most: usize, pointer: &str) -> Result<Self, Problem> {
        let (Written::Floats(values), &[_, width]) = (&self.values, self.shape.as_slice()) else {
            return Err(Problem::fault(
                Kind::InvalidInput,
                format!("{pointer}/parameters/classification"),
                "an output of FP32 with one value a class",
                format!("{} of {}", self.name, self.datatype().name()),
                "leave it out for this output",
            ));
        };
        let most = most.min(width);
        let best = values.chunks(width.max(1)).flat_map(|row| {
            let mut order: Vec<usize> = (0..row.len()).collect();
            order.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
            order.truncate(most);
            order.into_iter().map(|index| match self.labels.get(index) {
                Some(label) => format!("{}:{index}:{label}", row[index]),
                None => format!("{}:{index}", row[index]),
            })
        });
        let values = Written::Texts(best.collect());
        let shape = vec![self.shape[0], most];
        Ok(Self { shape, values, ..self })
    }
}

/// The tensors of an answer, those that are wanted, in the order in which they are.
///
/// # Errors
/// [`Kind::InvalidInput`] when the model has no such output, [`Kind::Internal`] when its answer is not usable.
pub fn tensors(answer: Answer, card: &Card, asked: &super::Asked) -> Result<Vec<Output>, Problem> {
    let mut all: Vec<Output> = of_outcomes(answer.outcomes, card)?;
    for output in &mut all {
        output.binary = asked.binary;
    }
    if asked.outputs.is_empty() {
        return Ok(all);
    }
    let mut wanted = Vec::with_capacity(asked.outputs.len());
    for (index, want) in asked.outputs.iter().enumerate() {
        let pointer = format!("/outputs/{index}");
        let place = all.iter().position(|output| output.name == want.name);
        let Some(place) = place else { return Err(unknown(&pointer, &want.name, card)) };
        let mut output = all.swap_remove(place);
        output.binary = want.binary.unwrap_or(asked.binary);
        wanted.push(match want.classification {
            Some(most) => output.classified(most, &pointer)?,
            None => output,
        });
    }
    Ok(wanted)
}

/// Refuses a request for outputs that the model does not have, before it runs.
///
/// # Errors
/// [`Kind::InvalidInput`] when an output is unknown, or named twice.
pub fn check_wanted(asked: &super::Asked, card: &Card) -> Result<(), Problem> {
    let known = outputs_of(card);
    for (index, want) in asked.outputs.iter().enumerate() {
        let twice = asked.outputs[..index].iter().any(|before| before.name == want.name);
        if twice || known.iter().all(|output| output.name != want.name) {
            return Err(unknown(&format!("/outputs/{index}"), &want.name, card));
        }
    }
    Ok(())
}

fn unknown(pointer: &str, name: &str, card: &Card) -> Problem {
    let known: Vec<String> = outputs_of(card).into_iter().map(|output| output.name).collect();
    let expected = format!("each output of {} at most once: {}", card.name, known.join(", "));
    let got = format!("{:?}", name.chars().take(80).collect::<String>());
    let hint = "leave outputs out to get all of them";
    Problem::fault(Kind::InvalidInput, format!("{pointer}/name"), expected, got, hint)
}

/// What becomes of the rows' outcomes: one tensor of the model's own, and those that say more of it.
fn of_outcomes(outcomes: Vec<Outcome>, card: &Card) -> Result<Vec<Output>, Problem> {
    let broken = || Problem::new(Kind::Internal, "the model's answer is not usable");
    let rows = outcomes.len();
    let mut columns = Columns::default();
    let first = outcomes.first().map(std::mem::discriminant).ok_or_else(broken)?;
    for outcome in outcomes {
        if std::mem::discriminant(&outcome) != first {
            return Err(broken());
        }
        columns.push(outcome);
    }
    let names = outputs_of(card);
    let outputs = columns.into_outputs(rows);
    if names.len() != outputs.len() {
        return Err(broken());
    }
    Ok(names
        .into_iter()
        .zip(outputs)
        .map(|(named, output)| Output { name: named.name, ..output })
        .collect())
}

/// Rows' outcomes as columns. `outputs_of` names them, in this order.
#[derive(Default)]
struct Columns {
    floats: Vec<f32>,
    labels: Arc<[String]>,
    texts: Vec<String>,
    finish: Vec<String>,
    prompt_tokens: Vec<u64>,
    completion_tokens: Vec<u64>,
    seeds: Vec<u64>,
    durations: Vec<f32>,
    tokens: Vec<u64>,
}

impl Columns {
    fn push(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Classes { all, .. } => {
                self.floats.extend(all.values);
                self.labels = all.labels;
            }
            Outcome::Values { values } => self.floats.extend(values),
            Outcome::Embedding { embedding, tokens } => {
                self.floats.extend(embedding);
                self.tokens.push(tokens as u64);
            }
            Outcome::Generated {
                text,
                finish_reason,
                prompt_tokens,
                completion_tokens,
                seed,
                ..
            } => {
                self.texts.push(text);
                self.finish.push(finish_name(finish_reason).to_owned());
                self.prompt_tokens.push(prompt_tokens as u64);
                self.completion_tokens.push(completion_tokens as u64);
                self.seeds.push(seed);
            }
            Outcome::Transcript { text, duration, .. } => {
                self.texts.push(text);
                self.durations.push(duration);
            }
        }
    }

    fn into_outputs(self, rows: usize) -> Vec<Output> {
        let Self { floats, labels, texts, finish, .. } = self;
        let output = |values, width| Output {
            name: String::new(),
            shape: vec![rows, width],
            values,
            binary: false,
            labels: Arc::default(),
        };
        let mut outputs = Vec::new();
        if !floats.is_empty() {
            let width = floats.len() / rows;
            outputs.push(Output { labels, ..output(Written::Floats(floats), width) });
        }
        for texts in [texts, finish] {
            if !texts.is_empty() {
                outputs.push(output(Written::Texts(texts), 1));
            }
        }
        for whole in [self.prompt_tokens, self.completion_tokens, self.seeds, self.tokens] {
            if !whole.is_empty() {
                outputs.push(output(Written::Whole(whole), 1));
            }
        }
        if !self.durations.is_empty() {
            outputs.push(output(Written::Floats(self.durations), 1));
        }
        outputs
    }
}

/// Why a generation ended, as protocols call it.
fn finish_name(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop => "stop",
        Finish::Length => "length",
    }
}
