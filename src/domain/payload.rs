//! What a request brings, after the wire and before any decoding.

use bytes::Bytes;

/// The kinds of input that a model can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Media {
    Image,
    Audio,
    Text,
    Tensor,
}

impl Media {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Media::Image => "image",
            Media::Audio => "audio",
            Media::Text => "text",
            Media::Tensor => "tensor",
        }
    }
}

/// Numbers in row-major order; `shape`'s product is `data.len()`, checked by [`Tensor::new`].
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    shape: Vec<usize>,
    data: Vec<f32>,
}

impl Tensor {
    /// `None` when the product of `shape` overflows or is not the number of values.
    #[must_use]
    pub fn new(shape: Vec<usize>, data: Vec<f32>) -> Option<Self> {
        let count = shape.iter().try_fold(1_usize, |n, &d| n.checked_mul(d))?;
        (count == data.len()).then_some(Self { shape, data })
    }

    /// From the values' bytes, 32-bit floats with the lowest byte first. `None` when there are not as
    /// many as `shape` says.
    #[must_use]
    pub fn from_le_bytes(shape: Vec<usize>, bytes: &[u8]) -> Option<Self> {
        let count = shape.iter().try_fold(1_usize, |n, &d| n.checked_mul(d))?;
        if count.checked_mul(size_of::<f32>()) != Some(bytes.len()) {
            return None;
        }
        let (values, _) = bytes.as_chunks();
        let data = values.iter().map(|&value| f32::from_le_bytes(value)).collect();
        Some(Self { shape, data })
    }

    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    #[must_use]
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    #[must_use]
    pub fn into_data(self) -> Vec<f32> {
        self.data
    }
}

/// One thing to predict on.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// An encoded picture: PNG, JPEG or WebP.
    Image(Bytes),
    /// Encoded sound: WAV, FLAC, MP3 or OGG Vorbis.
    Audio(Bytes),
    Text(String),
    Tensor(Tensor),
    /// A text as its tokens' ids, in the vocabulary of the model that is asked.
    Tokens(Vec<u32>),
    /// Bytes whose sender did not say what they are: each model takes them for the media it reads.
    Opaque(Bytes),
}

impl Item {
    /// How an error names what came.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Item::Image(_) => "an image",
            Item::Audio(_) => "audio",
            Item::Text(_) => "text",
            Item::Tensor(_) => "a tensor",
            Item::Tokens(_) => "token ids",
            Item::Opaque(_) => "bytes of no stated type",
        }
    }
}

/// The items of one request, each with the place it came from, for errors.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Payload {
    pub items: Vec<Item>,
    /// JSON pointers, one per item: `/body` for a raw body, `/inputs/3` for the fourth of a list.
    pub pointers: Vec<String>,
}

impl Payload {
    #[must_use]
    pub fn single(item: Item, pointer: impl Into<String>) -> Self {
        Self { items: vec![item], pointers: vec![pointer.into()] }
    }

    /// Each item with its pointer.
    pub fn into_pairs(self) -> impl Iterator<Item = (Item, String)> {
        self.items.into_iter().zip(self.pointers)
    }
}
