//! Reading forwards through bytes that may end too soon.

use bytes::Bytes;

/// A place in some bytes. Each read is `None` when too few are left, and then moves nothing.
#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    bytes: &'a Bytes,
    at: usize,
}

impl<'a> Cursor<'a> {
    #[must_use]
    pub fn new(bytes: &'a Bytes) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bytes were read.
    #[must_use]
    pub fn at(&self) -> usize {
        self.at
    }

    #[must_use]
    pub fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count).filter(|&end| end <= self.bytes.len())?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Some(taken)
    }

    /// As [`Cursor::take`], sharing the bytes and not copying them.
    pub fn share(&mut self, count: usize) -> Option<Bytes> {
        self.take(count).map(|taken| self.bytes.slice_ref(taken))
    }

    /// The next bytes, as many as the array has.
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    /// The next line of at most `limit` bytes, without its end.
    pub fn line(&mut self, limit: usize) -> Option<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().take(limit).position(|&byte| byte == b'\n')?;
        let line = self.take(length)?;
        self.take(1)?;
        Some(line)
    }

    pub fn u8(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }
}
