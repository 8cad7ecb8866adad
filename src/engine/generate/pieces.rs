//! The texts of a recognition as they come. Its items run side by side and are told one after the other, so that
//! the pieces together are the text of the whole.

use std::sync::Arc;
use std::time::Instant;

use futures_util::stream::{BoxStream, StreamExt, unfold};

use crate::domain::{Answer, Fragment, Kind, Piece, Problem};
use crate::engine::Codec;
use crate::engine::cpu::{CpuPool, Where};
use crate::engine::generate::collector::{Collected, Collector, Step};

/// What makes an answer of outputs.
pub struct Encoder<C: Codec> {
    pub codec: Arc<C>,
    pub ask: C::Ask,
    pub cpu: CpuPool,
}

impl<C: Codec> Encoder<C> {
    pub async fn answer(self, collected: Collected<C::Output>) -> Result<Answer, Problem> {
        let Collected { outputs, mut timings, batch_rows } = collected;
        let began = Instant::now();
        let Self { codec, ask, cpu } = self;
        let outcomes = cpu.run(Where::Pool, move || codec.encode(outputs, &ask)).await?;
        timings.post = began.elapsed();
        Ok(Answer { outcomes, timings, batch_rows })
    }
}

/// A stream on its way.
struct Running<C: Codec> {
    collector: Collector<C::Output>,
    texts: Texts,
    /// What all items gave, while the last text is told.
    end: Option<Collected<C::Output>>,
    encoder: Encoder<C>,
}

/// Each text as it comes, and the answer.
pub fn stream<C: Codec>(
    collector: Collector<C::Output>,
    items: usize,
    encoder: Encoder<C>,
) -> BoxStream<'static, Result<Piece, Problem>> {
    let running = Running { collector, texts: Texts::new(items), end: None, encoder };
    unfold(Some(running), |running| async { Some(running?.piece().await) }).boxed()
}

impl<C: Codec> Running<C> {
    /// The next piece; nothing comes after the end or a problem.
    async fn piece(mut self) -> (Result<Piece, Problem>, Option<Self>) {
        match self.text().await {
            Ok(Some(text)) => {
                let fragment = Fragment { text, ..Fragment::default() };
                (Ok(Piece::Text(fragment)), Some(self))
            }
            Ok(None) => (self.answer().await.map(Piece::End), None),
            Err(problem) => (Err(problem), None),
        }
    }

    async fn text(&mut self) -> Result<Option<String>, Problem> {
        while self.end.is_none() {
            match self.collector.next().await? {
                Step::Text(Fragment { index, text, .. }) => self.texts.put(index, &text),
                Step::End(collected) => self.end = Some(collected),
            }
            let open = if self.end.is_some() { None } else { self.collector.open() };
            if let Some(text) = self.texts.take(open) {
                return Ok(Some(text));
            }
        }
        Ok(None)
    }

    async fn answer(self) -> Result<Answer, Problem> {
        let missing = || Problem::new(Kind::Internal, "an answer before its end");
        self.encoder.answer(self.end.ok_or_else(missing)?).await
    }
}

/// Texts that are not told yet.
struct Texts {
    /// By item.
    held: Vec<String>,
    begun: bool,
    /// Space that is told with what comes after it, or never.
    space: String,
}

impl Texts {
    fn new(items: usize) -> Self {
        Self { held: vec![String::new(); items], begun: false, space: String::new() }
    }

    fn put(&mut self, index: usize, text: &str) {
        if let Some(held) = self.held.get_mut(index) {
            held.push_str(text);
        }
    }

    /// What can be told: all up to the first item that is not over, which is `open`.
    fn take(&mut self, open: Option<usize>) -> Option<String> {
        let count = open.map_or(self.held.len(), |open| (open + 1).min(self.held.len()));
        let mut text = std::mem::take(&mut self.space);
        self.held[..count].iter_mut().for_each(|held| text.push_str(&std::mem::take(held)));
        self.space = text.split_off(text.trim_end().len());
        if !self.begun {
            text.drain(..text.len() - text.trim_start().len());
            self.begun = !text.is_empty();
        }
        (!text.is_empty()).then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_told_in_order_and_without_space_at_the_ends() {
        let mut texts = Texts::new(3);
        texts.put(1, " two");
        assert_eq!(texts.take(Some(0)), None);
        texts.put(0, " one ");
        assert_eq!(texts.take(Some(0)).as_deref(), Some("one"));
        texts.put(2, " ");
        assert_eq!(texts.take(Some(1)).as_deref(), Some("  two"));
        texts.put(2, " three ");
        assert_eq!(texts.take(Some(1)), None);
        assert_eq!(texts.take(None).as_deref(), Some("  three"));
        assert_eq!(texts.take(None), None);
    }
}
