//! Nested lists of numbers, straight into one vector.

use crate::domain::{Kind, MediaLimits, Problem, Tensor};
use crate::http::parse::clip;
use crate::http::parse::json::fault;
use crate::http::parse::json::reader::{Next, Reader};

pub const DIMS_MAX: usize = 8;

/// Nested lists as they are read. Sizes are learned from the first list of each depth; every later one must
/// agree.
pub struct Nest<'a> {
    values_max: usize,
    /// What is wrong when there are more.
    surplus: fn(&str, usize) -> Problem,
    /// Where the outermost list is in the document.
    pointer: &'a str,
    /// Elements that have come.
    count: usize,
    sizes: [Option<usize>; DIMS_MAX],
    /// How many lists each element lies in, once one was seen.
    depth: Option<usize>,
    /// The position within each list that is open now.
    at: Vec<usize>,
}

impl<'a> Nest<'a> {
    pub fn new(limits: &MediaLimits, pointer: &'a str) -> Self {
        Self::of(limits.tensor_values_max, pointer, too_many)
    }

    /// Of as many elements as a shape that was read before says.
    pub fn shaped(values: usize, pointer: &'a str) -> Self {
        Self::of(values, pointer, more_than_shape)
    }

    fn of(values_max: usize, pointer: &'a str, surplus: fn(&str, usize) -> Problem) -> Self {
        let sizes = [None; DIMS_MAX];
        Self { values_max, surplus, pointer, count: 0, sizes, depth: None, at: Vec::new() }
    }

    /// A list begins.
    fn open(&mut self) -> Result<(), Problem> {
        if self.at.len() == DIMS_MAX {
            let expected = format!("at most {DIMS_MAX} dimensions");
            return Err(self.wrong(&expected, "a deeper list", "flatten the lists"));
        }
        if self.depth == Some(self.at.len()) {
            return Err(self.ragged("a list where other rows hold a value"));
        }
        self.at.push(0);
        Ok(())
    }

    /// The innermost open list ends.
    fn close(&mut self) -> Result<(), Problem> {
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
        self.advance(1);
        Ok(())
    }

    /// Whether the innermost open list is one of elements.
    fn holds_values(&self) -> bool {
        self.depth == Some(self.at.len())
    }

    /// Elements came that are not the first, nor more than there may be.
    fn skip(&mut self, count: usize) {
        self.count += count;
        self.advance(count);
    }

    fn advance(&mut self, by: usize) {
        if let Some(position) = self.at.last_mut() {
            *position += by;
        }
    }

    /// An element came; whether it is the first.
    fn element(&mut self) -> Result<bool, Problem> {
        let first = !self.holds_values();
        if first {
            if self.depth.is_some() {
                return Err(self.ragged("a value where other rows hold a list"));
            }
            self.depth = Some(self.at.len());
        }
        if self.count >= self.values_max {
            return Err((self.surplus)(self.pointer, self.values_max));
        }
        self.skip(1);
        Ok(first)
    }

    /// The sizes of the lists, the outermost first.
    pub fn shape(&self) -> Vec<usize> {
        self.sizes[..self.depth.unwrap_or(0)].iter().flatten().copied().collect()
    }

    /// Calls `each` before every element of a value, however deep it lies in lists. It reads the element.
    pub fn read(
        &mut self,
        reader: &mut Reader<'_>,
        each: &mut impl FnMut(&mut Reader<'_>, &Self) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        if reader.next()? == Next::List {
            self.open()?;
            // No deeper than `open` allows.
            reader.list(|reader| self.read(reader, each))?;
            return self.close();
        }
        each(reader, self)?;
        self.element().map(drop)
    }

    fn ragged(&self, got: &str) -> Problem {
        self.wrong("lists of equal lengths, of values alone", got, "pad the rows, or cut them")
    }

    /// A fault of the element that is read now.
    #[cold]
    pub fn wrong(&self, expected: &str, got: &str, hint: &str) -> Problem {
        let steps = self.at.iter().map(|position| format!("/{position}"));
        let pointer: String = std::iter::once(self.pointer.to_owned()).chain(steps).collect();
        fault(&pointer, expected, got, hint)
    }
}

/// A tensor as its numbers come in.
pub struct Builder<'a> {
    nest: Nest<'a>,
    data: Vec<f32>,
    /// How many values to make room for when the first one comes.
    expected: usize,
}

impl<'a> Builder<'a> {
    /// `expected` values will come, or so; if it is right, they are never moved.
    pub fn new(limits: &MediaLimits, pointer: &'a str, expected: usize) -> Self {
        let nest = Nest::new(limits, pointer);
        Self { expected: expected.min(nest.values_max), nest, data: Vec::new() }
    }

    /// A list begins.
    pub fn open(&mut self) -> Result<(), Problem> {
        self.nest.open()
    }

    /// The innermost open list ends.
    pub fn close(&mut self) -> Result<(), Problem> {
        self.nest.close()
    }

    /// Whether no number has come yet.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// A number, or a whole list.
    pub fn value(&mut self, reader: &mut Reader<'_>) -> Result<(), Problem> {
        match reader.next()? {
            Next::Number => {
                let value = reader.single()?;
                self.push(reader, value)
            }
            Next::List => {
                self.open()?;
                // No deeper than `open` allows.
                reader.list(|reader| self.values(reader))?;
                self.close()
            }
            _ => {
                let got = reader.shown()?;
                let hint = "a tensor holds numbers alone";
                Err(self.nest.wrong("a number, or a list of numbers", &got, hint))
            }
        }
    }

    /// A list, or as many numbers as follow one another, up to the end of theirs.
    pub fn values(&mut self, reader: &mut Reader<'_>) -> Result<(), Problem> {
        self.value(reader)?;
        // Behind a list come lists.
        if self.nest.holds_values() {
            let (known, most) = (self.data.len(), self.nest.values_max - self.nest.count);
            reader.singles(&mut self.data, most)?;
            let finite = self.data.last().is_none_or(|last| last.is_finite());
            self.nest.skip(self.data.len() - known - usize::from(!finite));
            if !finite {
                return Err(self.too_great(reader)?);
            }
        }
        Ok(())
    }

    fn push(&mut self, reader: &Reader<'_>, value: f32) -> Result<(), Problem> {
        if !value.is_finite() {
            return Err(self.too_great(reader)?);
        }
        if self.nest.element()? {
            self.data.reserve_exact(self.expected);
        }
        self.data.push(value);
        Ok(())
    }

    /// All numbers have come.
    pub fn finish(self) -> Result<Tensor, Problem> {
        let (shape, pointer) = (self.nest.shape(), self.nest.pointer);
        Tensor::new(shape, self.data)
            .ok_or_else(|| fault(pointer, "one number or more", "none", "send the values"))
    }

    #[cold]
    fn too_great(&self, reader: &Reader<'_>) -> Result<Problem, Problem> {
        let double = reader.last_number()?.double();
        if !double.is_finite() {
            return Err(reader.syntax());
        }
        let expected = "a number that a 32-bit float holds";
        Ok(self.nest.wrong(expected, &format!("{double:e}"), "scale it"))
    }
}

/// The `shape` of a tensor object.
pub fn shape(reader: &mut Reader<'_>, pointer: &str) -> Result<Vec<usize>, Problem> {
    let wrong = |got: String| {
        let expected = format!("a list of at most {DIMS_MAX} sizes, each 1 or more");
        fault(pointer, &expected, got, "shape's product is the number of values")
    };
    if reader.next()? != Next::List {
        return Err(wrong(reader.shown()?));
    }
    let mut shape = Vec::with_capacity(DIMS_MAX);
    reader.list(|reader| {
        if shape.len() == DIMS_MAX {
            return Err(wrong("more".to_owned()));
        }
        if reader.next()? != Next::Number {
            return Err(wrong(reader.shown()?));
        }
        let text = String::from_utf8_lossy(reader.number()?.text());
        let size = text.parse().ok().filter(|&size| size > 0);
        shape.push(size.ok_or_else(|| wrong(clip(&text)))?);
        Ok(())
    })?;
    Ok(shape)
}

/// The flat `data` of a tensor object.
pub fn data(
    reader: &mut Reader<'_>,
    pointer: &str,
    limits: &MediaLimits,
) -> Result<Vec<f32>, Problem> {
    let wrong =
        |got: String| fault(pointer, "one flat list of numbers", got, "shape says how they lie");
    if reader.next()? != Next::List {
        return Err(wrong(reader.shown()?));
    }
    let rest = reader.rest();
    let flat = memchr::memchr(b']', rest).map_or(rest, |end| &rest[..end]);
    let mut builder = Builder::new(limits, pointer, commas(flat) + 1);
    builder.value(reader)?;
    let tensor = builder.finish()?;
    if tensor.shape().len() != 1 {
        return Err(wrong("a list of lists".to_owned()));
    }
    Ok(tensor.into_data())
}

/// How many commas a text holds: one fewer than the values of a list in it.
pub fn commas(text: &[u8]) -> usize {
    memchr::memchr_iter(b',', text).count()
}

/// A tensor from its `shape` and `data`.
pub fn assemble(
    pointer: &str,
    shape: Vec<usize>,
    data: Vec<f32>,
    limits: &MediaLimits,
) -> Result<Tensor, Problem> {
    let count = shape.iter().try_fold(1_usize, |count, &size| count.checked_mul(size));
    let most = limits.tensor_values_max;
    match count {
        Some(count) if count <= most => {}
        _ => return Err(too_many(&format!("{pointer}/shape"), most)),
    }
    let got = format!("{} values for shape {shape:?}", data.len());
    Tensor::new(shape, data).ok_or_else(|| {
        let expected = format!("{} values, the product of shape", count.unwrap_or_default());
        fault(&format!("{pointer}/data"), &expected, got, "make shape and data agree")
    })
}

fn more_than_shape(pointer: &str, count: usize) -> Problem {
    let expected = format!("{count} elements, the product of shape");
    fault(pointer, &expected, "more", "make shape and data agree")
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
