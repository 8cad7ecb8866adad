//! Pictures or tensors to samples, outputs to classes or values.

use std::sync::Arc;

use crate::arch::cnn::net::Head;
use crate::domain::{
    Class, Item, Kind, MediaLimits, Outcome, Params, Payload, Problem, Reader, Scores, Tensor,
};
use crate::engine::{Codec, LIGHT_VALUES_MAX};
use crate::media::picture::Picture;
use crate::media::preprocessing::Preprocessing;

/// Classes in an answer when the caller does not say how many.
pub(super) const TOP_K: usize = 5;
const TOP_K_MAX: u64 = 1000;

/// What a network of pictures reads and says.
#[derive(Debug)]
pub struct CnnCodec {
    pub(super) preprocessing: Preprocessing,
    pub(super) media: MediaLimits,
    pub(super) head: Head,
    /// One per output of a classification; none for regression.
    pub(super) labels: Arc<[String]>,
}

impl Codec for CnnCodec {
    type Sample = Vec<f32>;
    type Output = Vec<f32>;
    /// How many classes are wanted.
    type Ask = usize;

    /// A thumbnail for a network that sees no more, or what is copied as it is.
    fn is_light(&self, item: &Item) -> bool {
        let values: usize = self.preprocessing.shape().iter().product();
        values <= LIGHT_VALUES_MAX
            && match item {
                Item::Image(bytes) => Picture::is_thumbnail(bytes),
                Item::Opaque(bytes) => {
                    Picture::is_thumbnail(bytes)
                        || (bytes.len() == 4 * values && !Picture::begins(bytes))
                }
                Item::Tensor(tensor) => tensor.data().len() <= LIGHT_VALUES_MAX,
                Item::Text(_) | Item::Tokens(_) | Item::Audio(_) => true,
            }
    }

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
                let asked = reader.integer("top_k", 1..=TOP_K_MAX);
                let top = asked.and_then(|top| usize::try_from(top).ok()).unwrap_or(TOP_K);
                top.min(self.labels.len())
            }
            Head::Values => 0,
        }
    }

    fn sample(&self, item: Item, pointer: &str) -> Result<Vec<f32>, Problem> {
        let item = self.unwrapped(item);
        match item {
            Item::Image(bytes) | Item::Opaque(bytes) => {
                let picture = Picture::decode(&bytes, &self.media, pointer)?;
                Ok(self.preprocessing.apply(&picture))
            }
            Item::Tensor(tensor) => self.tensor(tensor, pointer),
            Item::Audio(_) | Item::Text(_) | Item::Tokens(_) => {
                let kind = match item {
                    Item::Audio(_) => Kind::UnsupportedMedia,
                    _ => Kind::InvalidInput,
                };
                Err(Problem::fault(
                    kind,
                    pointer,
                    format!("a picture, or a tensor of shape {:?}", self.preprocessing.shape()),
                    item.kind(),
                    "send the bytes of a PNG, JPEG or WebP file, or the tensor's as 32-bit floats",
                ))
            }
        }
    }

    /// Bytes of no stated type are a tensor's values, 32-bit floats with the lowest byte first, if they
    /// are as many as there must be and do not begin as a picture does.
    fn unwrapped(&self, item: Item) -> Item {
        match &item {
            Item::Opaque(bytes) if !Picture::begins(bytes) => {
                let tensor = Tensor::from_le_bytes(self.preprocessing.shape().to_vec(), bytes);
                tensor.map_or(item, Item::Tensor)
            }
            _ => item,
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
            Head::Softmax => {
                let predictions = self.best(&output, top);
                let all = Scores { values: output, labels: Arc::clone(&self.labels) };
                Outcome::Classes { predictions, all }
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ParamValue;

    fn codec(head: Head) -> CnnCodec {
        let preprocessing = toml::from_str(
            "channels = 1\nwidth = 3\nheight = 2\nfit = \"stretch\"\nfilter = \"nearest\"\n\
             mean = [0]\nstd = [1]",
        );
        CnnCodec {
            preprocessing: preprocessing.unwrap(),
            media: MediaLimits::default(),
            head,
            labels: ["a", "b", "c"].map(str::to_owned).into(),
        }
    }

    fn tensor(shape: &[usize], value: f32) -> Item {
        let count = shape.iter().product();
        Item::Tensor(Tensor::new(shape.to_vec(), vec![value; count]).unwrap())
    }

    fn decode(item: Item) -> Result<Vec<Vec<f32>>, Problem> {
        let payload = Payload::single(item, "/inputs/0");
        codec(Head::Softmax).decode(payload, &Params::default()).map(|(samples, _)| samples)
    }

    fn top_k(head: Head, name: &str, value: f64) -> Result<usize, Problem> {
        let mut params = Params::default();
        params.insert(name, ParamValue::Number(value), format!("/parameters/{name}"));
        codec(head).decode(Payload::default(), &params).map(|(_, top)| top)
    }

    #[test]
    fn tensors_must_have_the_shape_of_the_signature() {
        assert_eq!(decode(tensor(&[1, 2, 3], 0.5)).unwrap(), [[0.5; 6]]);
        assert_eq!(decode(tensor(&[2, 3], 0.5)).unwrap(), [[0.5; 6]]);
        for (shape, value) in
            [(&[3, 2][..], 0.0), (&[6], 0.0), (&[1, 1, 2, 3], 0.0), (&[2, 3], f32::NAN)]
        {
            let problem = decode(tensor(shape, value)).unwrap_err();
            assert_eq!((problem.kind, problem.faults.len()), (Kind::InvalidInput, 1), "{problem}");
            assert_eq!(problem.faults[0].pointer, "/inputs/0");
        }
    }

    #[test]
    fn bytes_that_are_no_picture_are_a_tensors_if_their_number_is_right() {
        let values = [0.5, -1.0, 0.0, 3.5, 1e-3, 7.0_f32];
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        assert_eq!(decode(Item::Opaque(bytes.clone().into())).unwrap(), [values]);
        let mut picture = bytes.clone();
        picture[..8].copy_from_slice(b"\x89PNG\r\n\x1a\n");
        let nan = [bytes[..20].to_vec(), f32::NAN.to_le_bytes().to_vec()].concat();
        for (item, kind) in [
            (Item::Opaque(bytes[..23].to_vec().into()), Kind::UnsupportedMedia),
            (Item::Image(bytes.into()), Kind::UnsupportedMedia),
            (Item::Opaque(picture.into()), Kind::Undecodable),
            (Item::Opaque(nan.into()), Kind::InvalidInput),
        ] {
            assert_eq!(decode(item).unwrap_err().kind, kind);
        }
    }

    #[test]
    fn values_and_thumbnails_are_light_and_what_may_be_large_is_not() {
        let light = |item| codec(Head::Softmax).is_light(&item);
        let png = Picture::grey(64, 64, vec![7; 64 * 64]).unwrap().to_png().unwrap();
        let wide = Picture::grey(65, 1, vec![7; 65]).unwrap().to_png().unwrap();
        assert!(light(Item::Opaque(vec![0; 24].into())), "as many bytes as the tensor has");
        assert!(light(Item::Opaque(png.clone().into())));
        assert!(light(Item::Image(png.into())));
        assert!(light(tensor(&[2, 3], 0.5)));
        assert!(!light(Item::Opaque(vec![0; 25].into())));
        assert!(!light(Item::Image(wide.into())));
        assert!(!light(Item::Image(vec![0; 24].into())));
    }

    #[test]
    fn other_media_are_refused_by_kind() {
        let kind = |item| decode(item).unwrap_err().kind;
        assert_eq!(kind(Item::Text("a cat".into())), Kind::InvalidInput);
        assert_eq!(kind(Item::Audio(b"RIFF"[..].into())), Kind::UnsupportedMedia);
        assert_eq!(kind(Item::Opaque(b"RIFF"[..].into())), Kind::UnsupportedMedia);
    }

    #[test]
    fn top_k_is_clipped_to_the_classes_and_nothing_else_is_read() {
        assert_eq!(top_k(Head::Softmax, "top_k", 2.0).unwrap(), 2);
        assert_eq!(top_k(Head::Softmax, "top_k", 1000.0).unwrap(), 3);
        for (head, name, value) in [
            (Head::Softmax, "top_k", 0.0),
            (Head::Softmax, "top_k", 1001.0),
            (Head::Softmax, "temperature", 1.0),
            (Head::Values, "top_k", 2.0),
        ] {
            assert_eq!(top_k(head, name, value).unwrap_err().kind, Kind::InvalidInput, "{name}");
        }
    }

    #[test]
    fn classes_come_best_first_and_values_as_they_are() {
        let outcomes = codec(Head::Softmax).encode(vec![vec![0.2, 0.5, 0.2]], &2).unwrap();
        let Outcome::Classes { predictions, all } = &outcomes[0] else { panic!("{outcomes:?}") };
        assert_eq!((all.values.as_slice(), all.labels.len()), (&[0.2, 0.5, 0.2][..], 3));
        let seen: Vec<_> = predictions.iter().map(|c| (c.label.as_str(), c.index)).collect();
        assert_eq!(seen, [("b", 1), ("a", 0)]);
        let outcomes = codec(Head::Values).encode(vec![vec![-3.0]], &0).unwrap();
        assert_eq!(outcomes, [Outcome::Values { values: vec![-3.0] }]);
    }

    #[test]
    fn outputs_that_are_not_finite_are_a_fault_of_ours() {
        for bad in [f32::NAN, f32::INFINITY] {
            let problem = codec(Head::Values).encode(vec![vec![0.0, bad]], &0).unwrap_err();
            assert_eq!(problem.kind, Kind::Internal);
        }
    }
}
