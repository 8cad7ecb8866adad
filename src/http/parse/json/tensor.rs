//! Nested lists of numbers, straight into one vector: no tree of JSON values is ever built.

use serde::de::{self, SeqAccess, Visitor};

use crate::domain::{Kind, Problem, Tensor};
use crate::http::parse::json::cx::{Cx, numbers, refuse, seed};

const DIMS_MAX: usize = 8;

/// A tensor as its numbers come in. Sizes are learned from the first list of each depth; every
/// later one must agree.
pub struct Builder<'a, 'c> {
    cx: &'a Cx<'c>,
    /// Where the tensor is in the document.
    pointer: String,
    data: Vec<f32>,
    sizes: [Option<usize>; DIMS_MAX],
    /// How many lists each number lies in, once one was seen.
    depth: Option<usize>,
    /// The position within each list that is open now.
    at: Vec<usize>,
}

impl<'a, 'c> Builder<'a, 'c> {
    pub fn new(cx: &'a Cx<'c>, pointer: impl Into<String>) -> Self {
        let pointer = pointer.into();
        Self { cx, pointer, data: Vec::new(), sizes: [None; DIMS_MAX], depth: None, at: Vec::new() }
    }

    /// A list begins.
    pub fn open<E: de::Error>(&mut self) -> Result<(), E> {
        if self.at.len() == DIMS_MAX {
            let expected = format!("at most {DIMS_MAX} dimensions");
            return Err(self.wrong_as(&expected, "a deeper list", "flatten the lists"));
        }
        if self.depth == Some(self.at.len()) {
            return Err(self.ragged("a list where other rows hold a number"));
        }
        self.at.push(0);
        Ok(())
    }

    /// The innermost open list ends.
    pub fn close<E: de::Error>(&mut self) -> Result<(), E> {
        let Some(count) = self.at.pop() else { return Ok(()) };
        let known = &mut self.sizes[self.at.len()];
        match *known {
            _ if count == 0 => return Err(self.ragged("an empty list")),
            Some(size) if size != count => {
                let got = format!("a list of {count} where others hold {size}");
                return Err(self.ragged(&got));
            }
            _ => *known = Some(count),
        }
        self.advance();
        Ok(())
    }

    /// One number.
    pub fn number<E: de::Error>(&mut self, value: f64) -> Result<(), E> {
        if *self.depth.get_or_insert(self.at.len()) != self.at.len() {
            return Err(self.ragged("a number where other rows hold a list"));
        }
        if self.data.len() >= self.cx.limits.tensor_values_max {
            return Err(self.cx.stop(too_many(&self.pointer, self.cx.limits.tensor_values_max)));
        }
        #[expect(clippy::cast_possible_truncation, reason = "what becomes infinite is refused")]
        let narrow = value as f32;
        if !narrow.is_finite() {
            let got = format!("{value:e}");
            return Err(self.wrong_as("a number that a 32-bit float holds", &got, "scale it"));
        }
        self.data.push(narrow);
        self.advance();
        Ok(())
    }

    /// Whether no number and no list has come yet.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// Reads the rest of a list whose start was just seen.
    pub fn list<'de, A: SeqAccess<'de>>(&mut self, mut list: A) -> Result<(), A::Error> {
        self.open()?;
        while list.next_element_seed(Nested(self))?.is_some() {}
        self.close()
    }

    /// All numbers have come.
    pub fn finish<E: de::Error>(self) -> Result<Tensor, E> {
        let shape = self.sizes[..self.depth.unwrap_or(0)].iter().flatten().copied().collect();
        let Self { cx, pointer, data, .. } = self;
        Tensor::new(shape, data)
            .ok_or_else(|| cx.fault(&pointer, "one number or more", "none", "send the values"))
    }

    fn advance(&mut self) {
        if let Some(position) = self.at.last_mut() {
            *position += 1;
        }
    }

    fn ragged<E: de::Error>(&self, got: &str) -> E {
        self.wrong_as("lists of equal lengths, of numbers alone", got, "pad the rows, or cut them")
    }

    fn wrong_as<E: de::Error>(&self, expected: &str, got: &str, hint: &str) -> E {
        let mut pointer = self.pointer.clone();
        for position in &self.at {
            pointer.push('/');
            pointer.push_str(&position.to_string());
        }
        self.cx.fault(&pointer, expected, got, hint)
    }
}

/// One element of a list within a tensor.
struct Nested<'a, 'b, 'c>(&'b mut Builder<'a, 'c>);

impl Nested<'_, '_, '_> {
    fn wrong<E: de::Error>(&self, got: &str) -> E {
        self.0.wrong_as("a number, or a list of numbers", got, "a tensor holds numbers alone")
    }
}

impl<'de> de::DeserializeSeed<'de> for Nested<'_, '_, '_> {
    type Value = ();
    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Nested<'_, '_, '_> {
    type Value = ();
    refuse!(null, boolean, string, object);
    numbers!(self, value => self.0.number(value));

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<(), A::Error> {
        self.0.list(list)
    }
}

/// The `shape` of a tensor object.
pub struct Shape<'a, 'c> {
    pub cx: &'a Cx<'c>,
    pub pointer: &'a str,
}

impl Shape<'_, '_> {
    fn wrong<E: de::Error>(&self, got: &str) -> E {
        let expected = format!("a list of at most {DIMS_MAX} sizes, each 1 or more");
        self.cx.fault(self.pointer, &expected, got, "shape's product is the number of values")
    }
}
seed!(Shape => Vec<usize>);

impl<'de> Visitor<'de> for Shape<'_, '_> {
    type Value = Vec<usize>;
    refuse!(null, boolean, number, string, object);

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<usize>, A::Error> {
        let mut shape = Vec::with_capacity(DIMS_MAX);
        while let Some(size) = list.next_element_seed(Size(&self))? {
            if shape.len() == DIMS_MAX {
                return Err(self.wrong("more"));
            }
            shape.push(size);
        }
        Ok(shape)
    }
}

/// One size of a shape.
struct Size<'s, 'a, 'c>(&'s Shape<'a, 'c>);

impl Size<'_, '_, '_> {
    fn wrong<E: de::Error>(&self, got: &str) -> E {
        self.0.wrong(got)
    }
}

impl<'de> de::DeserializeSeed<'de> for Size<'_, '_, '_> {
    type Value = usize;
    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<usize, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Size<'_, '_, '_> {
    type Value = usize;
    refuse!(null, boolean, string, list, object);

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<usize, E> {
        let size = usize::try_from(value).ok().filter(|&size| size > 0);
        size.ok_or_else(|| self.wrong(&value.to_string()))
    }
    fn visit_i64<E: de::Error>(self, value: i64) -> Result<usize, E> {
        Err(self.wrong(&value.to_string()))
    }
    fn visit_f64<E: de::Error>(self, value: f64) -> Result<usize, E> {
        Err(self.wrong(&value.to_string()))
    }
}

/// The flat `data` of a tensor object.
pub struct Data<'a, 'c> {
    pub cx: &'a Cx<'c>,
    pub pointer: &'a str,
}

impl Data<'_, '_> {
    fn wrong<E: de::Error>(&self, got: &str) -> E {
        self.cx.fault(self.pointer, "one flat list of numbers", got, "shape says how they lie")
    }
}
seed!(Data => Vec<f32>);

impl<'de> Visitor<'de> for Data<'_, '_> {
    type Value = Vec<f32>;
    refuse!(null, boolean, number, string, object);

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Vec<f32>, A::Error> {
        let mut builder = Builder::new(self.cx, self.pointer);
        builder.list(list)?;
        let tensor: Tensor = builder.finish()?;
        if tensor.shape().len() != 1 {
            return Err(self.wrong("a list of lists"));
        }
        Ok(tensor.into_data())
    }
}

/// A tensor from its `shape` and `data`.
pub fn assemble<E: de::Error>(
    cx: &Cx<'_>,
    pointer: &str,
    shape: Vec<usize>,
    data: Vec<f32>,
) -> Result<Tensor, E> {
    let count = shape.iter().try_fold(1_usize, |count, &size| count.checked_mul(size));
    let most = cx.limits.tensor_values_max;
    match count {
        Some(count) if count <= most => {}
        _ => return Err(cx.stop(too_many(&format!("{pointer}/shape"), most))),
    }
    let got = format!("{} values for shape {shape:?}", data.len());
    Tensor::new(shape, data).ok_or_else(|| {
        let expected = format!("{} values, the product of shape", count.unwrap_or_default());
        cx.fault(&format!("{pointer}/data"), &expected, got, "make shape and data agree")
    })
}

fn too_many(pointer: &str, most: usize) -> Problem {
    Problem::fault(
        Kind::TooLarge,
        pointer,
        format!("at most {most} values in a tensor"),
        "more",
        "send fewer values; a picture may be sent as a file",
    )
}
