//! The fields of a protobuf message, one after the other, without making anything of them.
//! <https://protobuf.dev/programming-guides/encoding/>

/// What a field holds.
#[derive(Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// A text, bytes, a message, or a list of numbers in one piece.
    Bytes(&'a [u8]),
    /// A number of any kind.
    Number,
}

impl Content<'_> {
    /// Bytes that it takes.
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Number => 0,
        }
    }
}

/// Yields each field's number and content; `None` where the bytes are no message, which ends it.
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub fn of(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    fn field(&mut self) -> Option<(u64, Content<'a>)> {
        let key = self.varint()?;
        let content = match key & 7 {
            0 => {
                self.varint()?;
                Content::Number
            }
            1 => self.skip(8)?,
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                let (bytes, rest) = self.rest.split_at_checked(length)?;
                self.rest = rest;
                Content::Bytes(bytes)
            }
            5 => self.skip(4)?,
            // Groups, which proto3 does not have.
            _ => return None,
        };
        Some((key >> 3, content)).filter(|(number, _)| *number > 0)
    }

    fn skip(&mut self, bytes: usize) -> Option<Content<'a>> {
        self.rest = self.rest.get(bytes..)?;
        Some(Content::Number)
    }

    /// Seven bits a byte, the lowest first; at most ten bytes.
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..70).step_by(7) {
            let (&byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f).unbounded_shl(shift);
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Option<(u64, Content<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.rest = &[];
        }
        Some(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_every_kind_are_passed_over() {
        let message = [
            &[0x08, 0x96, 0x01][..],
            &[0x11, 1, 2, 3, 4, 5, 6, 7, 8],
            &[0x1a, 2, b'h', b'i'],
            &[0x25, 1, 2, 3, 4],
            // A field of number 1000.
            &[0xc0, 0x3e, 5],
        ]
        .concat();
        let fields: Vec<_> = Fields::of(&message).map(Option::unwrap).collect();
        let expected = [
            (1, Content::Number),
            (2, Content::Number),
            (3, Content::Bytes(b"hi")),
            (4, Content::Number),
            (1000, Content::Number),
        ];
        assert_eq!(fields, expected);
        for end in 1..message.len() {
            let all: Option<Vec<_>> = Fields::of(&message[..end]).collect();
            let whole = [3, 12, 16, 21].contains(&end);
            assert_eq!(all.is_some(), whole, "{end}");
        }
    }
}
