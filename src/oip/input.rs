//! Input tensors to what a model reads: each row of the batch is an item.

use bytes::Bytes;

use crate::domain::{
    Card, Datatype, Item, Kind, MediaLimits, Payload, Problem, Tensor, TensorSpec,
};
use crate::oip::numbers::floats;

/// The elements of an input tensor, row after row.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Little-endian numbers; `BYTES` have their lengths before them, as 32-bit numbers.
    Raw(Bytes),
    /// Numbers that were written as text, or came as numbers.
    Numbers(Vec<f32>),
    /// Elements of `BYTES`.
    Elements(Vec<Bytes>),
}

/// An input tensor whose form was checked: `values` are as many as `shape` says.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    pub name: String,
    pub datatype: Datatype,
    pub shape: Vec<usize>,
    pub values: Values,
}

impl Input {
    /// From the bytes of its elements.
    ///
    /// # Errors
    /// [`Kind::InvalidInput`] when they are not those of so many elements.
    pub fn raw(
        (name, datatype, shape): (String, Datatype, Vec<usize>),
        bytes: Bytes,
        pointer: &str,
    ) -> Result<Self, Problem> {
        let count = shape.iter().product::<usize>();
        let values = match datatype.width() {
            None => Values::Elements(elements(&bytes, count, pointer)?),
            // The product was checked to be far below what would overflow here.
            Some(width) if bytes.len() == count * width => Values::Raw(bytes),
            Some(width) => {
                return Err(Problem::fault(
                    Kind::InvalidInput,
                    pointer,
                    format!("{} bytes: {count} of {}", count * width, datatype.name()),
                    format!("{} bytes", bytes.len()),
                    "make shape, datatype and data agree",
                ));
            }
        };
        Ok(Self { name, datatype, shape, values })
    }

    /// From elements of their own.
    ///
    /// # Errors
    /// [`Kind::InvalidInput`] when they are not as many as `shape` says.
    pub fn of(
        (name, datatype, shape): (String, Datatype, Vec<usize>),
        values: Values,
        pointer: &str,
    ) -> Result<Self, Problem> {
        let count = shape.iter().product::<usize>();
        let got = match &values {
            Values::Raw(bytes) => bytes.len() / datatype.width().unwrap_or(1),
            Values::Numbers(numbers) => numbers.len(),
            Values::Elements(elements) => elements.len(),
        };
        if got == count {
            return Ok(Self { name, datatype, shape, values });
        }
        Err(Problem::fault(
            Kind::InvalidInput,
            pointer,
            format!("{count} elements, the product of shape"),
            format!("{got}"),
            "make shape and data agree",
        ))
    }
}

/// Splits the bytes of `BYTES` elements, each with its length before it.
fn elements(bytes: &Bytes, count: usize, pointer: &str) -> Result<Vec<Bytes>, Problem> {
    let wrong = |got: String| {
        Problem::fault(
            Kind::InvalidInput,
            pointer,
            format!("{count} elements, each a 32-bit little-endian length and so many bytes"),
            got,
            "make shape and data agree",
        )
    };
    let mut rest = bytes.clone();
    // No element is smaller than its length.
    let mut found = Vec::with_capacity(count.min(bytes.len() / 4));
    while !rest.is_empty() {
        let Some((&length, _)) = rest.split_first_chunk::<4>() else {
            return Err(wrong(format!("{} bytes after element {}", rest.len(), found.len())));
        };
        let length = u32::from_le_bytes(length) as usize;
        if length > rest.len() - 4 || found.len() == count {
            return Err(wrong(format!("more bytes than that, at element {}", found.len())));
        }
        found.push(rest.slice(4..4 + length));
        rest = rest.slice(4 + length..);
    }
    if found.len() == count { Ok(found) } else { Err(wrong(format!("{} elements", found.len()))) }
}

/// Checks a shape before anything is made of its size.
///
/// # Errors
/// [`Kind::InvalidInput`] for a negative or empty dimension, [`Kind::TooLarge`] for too many elements.
pub fn check_shape(
    shape: &[i64],
    datatype: Datatype,
    limits: &MediaLimits,
    pointer: &str,
) -> Result<Vec<usize>, Problem> {
    let wrong = |got: String| {
        Problem::fault(
            Kind::InvalidInput,
            pointer,
            format!("1 to {} sizes, each 1 or more", super::DIMS_MAX),
            got,
            "the first size is that of the batch",
        )
    };
    if shape.is_empty() || shape.len() > super::DIMS_MAX {
        return Err(wrong(format!("{} sizes", shape.len())));
    }
    let size = |&size: &i64| {
        let usable = usize::try_from(size).ok().filter(|&size| size > 0);
        usable.ok_or_else(|| wrong(format!("a size of {size}")))
    };
    let sizes = shape.iter().map(size).collect::<Result<Vec<usize>, _>>()?;
    // Each element of BYTES is an item of its own.
    let bytes = datatype == Datatype::Bytes;
    let most = if bytes { limits.items_max } else { limits.tensor_values_max };
    let count = sizes.iter().try_fold(1_usize, |count, &size| count.checked_mul(size));
    if count.is_none_or(|count| count > most) {
        return Err(Problem::fault(
            Kind::TooLarge,
            pointer,
            format!("at most {most} elements in a tensor"),
            "more",
            if bytes {
                "send several requests"
            } else {
                "send fewer; a picture may be sent as a file, in an element of BYTES"
            },
        ));
    }
    Ok(sizes)
}

/// The rows of a request's tensors, as the model's items.
///
/// A model of numbers takes them in any numeric datatype, by their value, and files (pictures, sound) as
/// elements of `BYTES`; a model of texts takes `BYTES`.
///
/// # Errors
/// [`Problem`] when an input is missing, is not the model's, or has another datatype or shape.
pub fn payload(inputs: Vec<Input>, card: &Card, limits: &MediaLimits) -> Result<Payload, Problem> {
    let mut given: Vec<Option<Input>> = card.inputs.iter().map(|_| None).collect();
    for (index, input) in inputs.into_iter().enumerate() {
        let slot = card.inputs.iter().position(|spec| spec.name == input.name);
        match slot.and_then(|slot| given.get_mut(slot)) {
            Some(free @ None) => *free = Some(input),
            taken => return Err(unexpected(index, &input.name, taken.is_some(), card)),
        }
    }
    // What every architecture reads is one tensor; its rows are the items.
    let (Some(spec), Some(Some(input))) = (card.inputs.first(), given.into_iter().next()) else {
        let names: Vec<&str> = card.inputs.iter().map(|spec| spec.name.as_str()).collect();
        let expected = format!("the input {}", names.join(", "));
        let hint = "the model's metadata names its inputs";
        return Err(Problem::fault(Kind::InvalidInput, "/inputs", expected, "none", hint));
    };
    rows(input, spec, limits)
}

fn unexpected(index: usize, name: &str, twice: bool, card: &Card) -> Problem {
    let names: Vec<&str> = card.inputs.iter().map(|spec| spec.name.as_str()).collect();
    let clipped: String = name.chars().take(80).collect();
    let got = if twice { format!("{clipped:?} twice") } else { format!("{clipped:?}") };
    let expected = format!("each input of {} once: {}", card.name, names.join(", "));
    let hint = "the model's metadata names its inputs";
    Problem::fault(Kind::InvalidInput, format!("/inputs/{index}/name"), expected, got, hint)
}

fn rows(input: Input, spec: &TensorSpec, limits: &MediaLimits) -> Result<Payload, Problem> {
    let files = input.datatype == Datatype::Bytes;
    if !files && spec.datatype == Datatype::Bytes {
        return Err(Problem::fault(
            Kind::InvalidInput,
            "/inputs/0/datatype",
            "BYTES",
            input.datatype.name(),
            "send each text as an element",
        ));
    }
    let shape = if files { &[1][..] } else { spec.shape.as_slice() };
    let (count, row) = batch(&input.shape, shape, files)?;
    if count > limits.items_max {
        return Err(Problem::fault(
            Kind::TooLarge,
            "/inputs/0/shape",
            format!("a batch of at most {}", limits.items_max),
            count.to_string(),
            "send several requests",
        ));
    }
    let items = match input.values {
        Values::Elements(elements) => elements.into_iter().map(Item::Opaque).collect(),
        Values::Numbers(numbers) => of_numbers(numbers, count, &row)?,
        Values::Raw(bytes) => of_bytes(&bytes, input.datatype, count, &row)?,
    };
    let pointers = (0..count).map(|index| format!("/inputs/0/data/{index}")).collect();
    Ok(Payload { items, pointers })
}

/// The rows of a batch and the shape of one; −1 in the model's own shape is any size.
fn batch(shape: &[usize], wanted: &[i64], files: bool) -> Result<(usize, Vec<usize>), Problem> {
    let like = |row: &[usize]| {
        let fits = |(&size, &wanted): (&usize, &i64)| {
            wanted < 0 || usize::try_from(wanted).is_ok_and(|wanted| wanted == size)
        };
        row.len() == wanted.len() && row.iter().zip(wanted).all(fits)
    };
    match shape.split_first() {
        Some((&count, row)) if like(row) => Ok((count, row.to_vec())),
        // A list of files or texts needs no second dimension.
        Some((&count, [])) if files => Ok((count, vec![1])),
        _ => {
            let sizes: Vec<String> = wanted.iter().map(i64::to_string).collect();
            Err(Problem::fault(
                Kind::InvalidInput,
                "/inputs/0/shape",
                format!("[batch, {}]; -1 is any size", sizes.join(", ")),
                format!("{shape:?}"),
                "one row of the batch is one thing to predict on",
            ))
        }
    }
}

fn of_numbers(numbers: Vec<f32>, count: usize, row: &[usize]) -> Result<Vec<Item>, Problem> {
    if count == 1 {
        return Ok(vec![tensor(row, numbers)?]);
    }
    let size = row.iter().product::<usize>().max(1);
    numbers.chunks(size).map(|chunk| tensor(row, chunk.to_vec())).collect()
}

fn of_bytes(
    bytes: &[u8],
    datatype: Datatype,
    count: usize,
    row: &[usize],
) -> Result<Vec<Item>, Problem> {
    let each = (bytes.len() / count).max(1);
    let item = |(index, chunk)| {
        let numbers = floats(datatype, chunk).ok_or_else(|| {
            let expected = "numbers that a 32-bit float holds; 0 or 1 in BOOL";
            let pointer = format!("/inputs/0/data/{index}");
            Problem::fault(Kind::InvalidInput, pointer, expected, "another", "scale the values")
        })?;
        tensor(row, numbers)
    };
    bytes.chunks(each).enumerate().map(item).collect()
}

fn tensor(row: &[usize], numbers: Vec<f32>) -> Result<Item, Problem> {
    let broken = || Problem::new(Kind::Internal, "a row of the batch was cut wrongly");
    Tensor::new(row.to_vec(), numbers).map(Item::Tensor).ok_or_else(broken)
}
