//! Pictures or tensors to samples, outputs to classes or values.

use crate::arch::cnn::net::Head;
use crate::domain::{
    Class, Item, Kind, MediaLimits, Outcome, Params, Payload, Problem, Reader, Tensor,
};
use crate::engine::Codec;
use crate::media::picture::Picture;
use crate::media::preprocessing::Preprocessing;

/// Classes in an answer when the caller does not say how many.
const TOP_K: u64 = 5;
const TOP_K_MAX: u64 = 1000;

/// What a network of pictures reads and says.
#[derive(Debug)]
pub struct CnnCodec {
    pub(super) preprocessing: Preprocessing,
    pub(super) media: MediaLimits,
    pub(super) head: Head,
    /// One per output of a classification; none for regression.
    pub(super) labels: Vec<String>,
}

impl Codec for CnnCodec {
    type Sample = Vec<f32>;
    type Output = Vec<f32>;
    /// How many classes are wanted.
    type Ask = usize;

    fn decode(&self, payload: Payload, params: &Params) -> Result<(Vec<Vec<f32>>, usize), Problem> {
        let mut reader = params.reader();
        let top = self.top(&mut reader);
        reader.finish()?;
        let samples = payload
            .into_pairs()
            .map(|(item, pointer)| self.sample(item, &pointer))
            .collect::<Result<_, _>>()?;
        Ok((samples, top))
    }

    fn encode(&self, outputs: Vec<Vec<f32>>, &top: &usize) -> Result<Vec<Outcome>, Problem> {
        outputs.into_iter().map(|output| self.outcome(output, top)).collect()
    }
}

impl CnnCodec {
    fn top(&self, reader: &mut Reader<'_>) -> usize {
        match self.head {
            Head::Softmax => {
                let top = reader.integer("top_k", 1..=TOP_K_MAX).unwrap_or(TOP_K);
                usize::try_from(top).unwrap_or(usize::MAX).min(self.labels.len())
            }
            Head::Values => 0,
        }
    }

    fn sample(&self, item: Item, pointer: &str) -> Result<Vec<f32>, Problem> {
        match item {
            Item::Image(bytes) | Item::Opaque(bytes) => {
                let picture = Picture::decode(&bytes, &self.media, pointer)?;
                Ok(self.preprocessing.apply(&picture))
            }
            Item::Tensor(tensor) => self.tensor(tensor, pointer),
            Item::Audio(_) | Item::Text(_) => {
                let kind = match item {
                    Item::Audio(_) => Kind::UnsupportedMedia,
                    _ => Kind::InvalidInput,
                };
                Err(Problem::fault(
                    kind,
                    pointer,
                    format!("a picture, or a tensor of shape {:?}", self.preprocessing.shape()),
                    item.kind(),
                    "send the bytes of a PNG, JPEG or WebP file",
                ))
            }
        }
    }

    /// A tensor is taken as preprocessed already. One channel needs no dimension of its own.
    fn tensor(&self, tensor: Tensor, pointer: &str) -> Result<Vec<f32>, Problem> {
        let shape = self.preprocessing.shape();
        let fits = match shape {
            [1, height, width] if tensor.shape().len() == 2 => tensor.shape() == [height, width],
            _ => tensor.shape() == shape,
        };
        if !fits {
            return Err(Problem::fault(
                Kind::InvalidInput,
                pointer,
                format!("a tensor of shape {shape:?}: channels, height, width"),
                format!("shape {:?}", clipped(tensor.shape())),
                "send one tensor per picture, or the picture's own bytes",
            ));
        }
        if let Some(index) = tensor.data().iter().position(|value| !value.is_finite()) {
            return Err(Problem::fault(
                Kind::InvalidInput,
                pointer,
                "finite values",
                format!("{} at index {index}", tensor.data()[index]),
                "check for a division by 0 in the preprocessing",
            ));
        }
        Ok(tensor.into_data())
    }

    fn outcome(&self, output: Vec<f32>, top: usize) -> Result<Outcome, Problem> {
        if !output.iter().all(|value| value.is_finite()) {
            let detail = "the network gave values that are not finite for this input";
            return Err(Problem::new(Kind::Internal, detail));
        }
        Ok(match self.head {
            Head::Values => Outcome::Values { values: output },
            Head::Softmax => Outcome::Classes { predictions: self.best(&output, top) },
        })
    }

    /// The `top` classes, best first; the lower index where two are alike.
    fn best(&self, scores: &[f32], top: usize) -> Vec<Class> {
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        let class = |index: usize| Class {
            label: self.labels.get(index).cloned().unwrap_or_default(),
            index,
            score: scores[index],
        };
        order.into_iter().take(top).map(class).collect()
    }
}

/// The first dimensions of a shape: a caller's may be long.
fn clipped(shape: &[usize]) -> &[usize] {
    &shape[..shape.len().min(8)]
}
