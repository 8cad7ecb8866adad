//! Samples that are read again and again, in any order: in memory, and on disk where they are too many for it.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use bytemuck::Pod;

use crate::dataset::DataError;

/// Bytes of a store that lie in memory.
const MEMORY_MAX: usize = 1 << 30;

/// Values one after the other. What comes first lies in memory; from a gibibyte on, the rest lies in a temporary file that
/// has no name, so that nothing is left behind however the run ends.
#[derive(Debug)]
pub struct Store<T> {
    first: Vec<T>,
    rest: Option<File>,
    length: usize,
    /// Values that memory may hold.
    memory_max: usize,
}

impl<T> Default for Store<T> {
    fn default() -> Self {
        Self::bounded(MEMORY_MAX / size_of::<T>().max(1))
    }
}

/// What is in memory already stays there.
impl<T> From<Vec<T>> for Store<T> {
    fn from(first: Vec<T>) -> Self {
        Self { length: first.len(), first, ..Self::default() }
    }
}

impl<T> Store<T> {
    fn bounded(memory_max: usize) -> Self {
        Self { first: Vec::new(), rest: None, length: 0, memory_max }
    }

    pub fn len(&self) -> usize {
        self.length
    }

    pub fn is_empty(&self) -> bool {
        self.length == 0
    }
}

impl<T: Pod> Store<T> {
    /// Puts values behind those that are there; where they lie.
    ///
    /// # Errors
    /// [`DataError::Store`] when they do not fit on the disk.
    pub fn push(&mut self, values: &[T]) -> Result<Range<usize>, DataError> {
        let start = self.length;
        let end = start + values.len();
        if self.rest.is_none() && end <= self.memory_max {
            self.first.extend_from_slice(values);
        } else {
            self.write(values).map_err(|source| DataError::Store { source })?;
        }
        self.length = end;
        Ok(start..end)
    }

    /// The values of a range that lies within [`Self::len`].
    ///
    /// # Errors
    /// [`DataError::Store`] when the disk does not give them back.
    pub fn get(&self, range: Range<usize>) -> Result<Cow<'_, [T]>, DataError> {
        if range.end <= self.first.len() {
            return Ok(Cow::Borrowed(&self.first[range]));
        }
        self.read(range).map(Cow::Owned).map_err(|source| DataError::Store { source })
    }

    fn write(&mut self, values: &[T]) -> io::Result<()> {
        let at = self.place(self.length);
        let file = match self.rest.take() {
            Some(file) => file,
            None => tempfile::tempfile()?,
        };
        self.rest.insert(file).write_all_at(bytemuck::cast_slice(values), at)
    }

    /// Some of them, or all, lie on disk.
    fn read(&self, range: Range<usize>) -> io::Result<Vec<T>> {
        let mut values = vec![T::zeroed(); range.len()];
        let here = self.first.get(range.start..).unwrap_or_default();
        let (first, rest) = values.split_at_mut(here.len());
        first.copy_from_slice(here);
        let file = self.rest.as_ref().ok_or(io::ErrorKind::UnexpectedEof)?;
        let at = self.place(range.start + here.len());
        file.read_exact_at(bytemuck::cast_slice_mut(rest), at)?;
        Ok(values)
    }

    /// Where a value that is not in memory lies in the file.
    fn place(&self, index: usize) -> u64 {
        ((index - self.first.len()) * size_of::<T>()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_from_memory_from_disk_and_from_both() {
        let mut store = Store::bounded(5);
        let places: Vec<_> = [[1.0_f32, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]
            .map(|v| store.push(&v).unwrap())
            .into();
        assert_eq!(places, [0..3, 3..6, 6..9]);
        assert_eq!((store.len(), store.first.len(), store.rest.is_some()), (9, 3, true));
        for start in 0..9_u8 {
            for end in start..=9 {
                let expected: Vec<f32> = (start..end).map(|i| f32::from(i) + 1.0).collect();
                assert_eq!(*store.get(start.into()..end.into()).unwrap(), expected);
            }
        }
    }

    #[test]
    fn what_fits_is_read_where_it_lies() {
        let mut store = Store::from(vec![1_u8, 2]);
        store.push(&[3]).unwrap();
        assert!(store.rest.is_none());
        assert!(matches!(store.get(1..3), Ok(Cow::Borrowed([2, 3]))));
    }
}
