//! One part of a set of pictures, whatever holds it.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::dataset::{Ahead, BadSamples, DataError};
use crate::media::picture::Picture;

/// Pictures that one thread looks at before it tells.
const EXAMINED_TOGETHER: usize = 64;

/// What holds pictures: files in memory, or a folder of them.
pub(super) trait Source: Send + Sync {
    fn count(&self) -> usize;

    /// The number of the picture's class, not yet checked.
    fn label(&self, index: usize) -> usize;

    /// Decodes one.
    fn picture(&self, index: usize) -> Result<Picture, DataError>;

    /// The file, and the number in it where it holds several.
    fn place(&self, index: usize) -> String;

    /// Fails for a picture that will not decode; what the digest adds for it, where that is not known
    /// already.
    fn examine(&self, index: usize) -> Result<Vec<u8>, DataError>;
}

/// Labelled pictures to learn from or to measure on. A copy shares them.
#[derive(Clone)]
pub struct Part {
    source: Arc<dyn Source>,
    chosen: Arc<[usize]>,
}

impl Part {
    pub(super) fn new(source: Arc<dyn Source>, chosen: Vec<usize>) -> Self {
        Self { source, chosen: chosen.into() }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.chosen.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chosen.is_empty()
    }

    /// The class of picture `index`, which is below [`Self::len`].
    #[must_use]
    pub fn label(&self, index: usize) -> usize {
        self.source.label(self.chosen[index])
    }

    /// Decodes picture `index`, which is below [`Self::len`].
    ///
    /// # Errors
    /// [`DataError::Sample`] when its file is not what it was when the part was opened.
    pub fn picture(&self, index: usize) -> Result<Picture, DataError> {
        self.source.picture(self.chosen[index])
    }

    /// Where picture `index` lies: its file, and its number where the file has several.
    #[must_use]
    pub fn place(&self, index: usize) -> String {
        self.source.place(self.chosen[index])
    }

    /// Looks at every picture once, so that what is of no use is known before the first step and the
    /// counts in a receipt are true.
    pub(super) fn examined(
        self,
        classes: usize,
        hash: &mut Sha256,
        bad: &mut BadSamples,
    ) -> Result<Self, DataError> {
        let Self { source, chosen } = self;
        let groups = chosen.len().div_ceil(EXAMINED_TOGETHER);
        let examined = Ahead::new(groups, {
            let (source, chosen) = (Arc::clone(&source), Arc::clone(&chosen));
            move |group| {
                let from = group * EXAMINED_TOGETHER;
                let group = chosen[from..].iter().take(EXAMINED_TOGETHER);
                Ok(group.map(|&index| examine(&*source, index, classes)).collect::<Vec<_>>())
            }
        })?;
        let mut good = Vec::with_capacity(chosen.len());
        let mut indices = chosen.iter();
        for group in examined {
            for (outcome, &index) in group?.into_iter().zip(&mut indices) {
                if let Some(digested) = bad.admit(outcome)? {
                    hash.update(&digested);
                    good.push(index);
                }
            }
        }
        Ok(Self::new(source, good))
    }
}

fn examine(source: &dyn Source, index: usize, classes: usize) -> Result<Vec<u8>, DataError> {
    let label = source.label(index);
    if label >= classes {
        let reason = format!("label {label}: expected 0 to {}", classes.saturating_sub(1));
        return Err(DataError::Sample { place: source.place(index), reason });
    }
    source.examine(index)
}
