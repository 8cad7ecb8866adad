//! The endpoint of a network that goes on from texts.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};

use crate::domain::{Kind, Outcome, Problem};
use crate::engine::generate::collector::Collector;
use crate::engine::generate::options::Options;
use crate::engine::generate::steps::Steps;
use crate::engine::generate::writing::Writing;
use crate::engine::workers::{Job, Turns};
use crate::engine::{
    CpuPool, Endpoint, Generator, Language, Limits, ModelStats, Reply, Request, TokenId,
};

/// A generating network and its step loop.
pub struct Generation<N: Generator, L> {
    network: Arc<N>,
    language: Arc<L>,
    limits: Limits,
    texts: Arc<Texts<N, L>>,
    stats: Arc<ModelStats>,
    cpu: CpuPool,
    turns: Turns,
}

struct Texts<N: Generator, L>(Steps<N, Writing<N::State, L>>);

impl<N: Generator, L: Language> Generation<N, L> {
    pub fn new(
        name: &str,
        network: N,
        language: L,
        limits: Limits,
        (cpu, turns): (CpuPool, Turns),
    ) -> Self {
        let (network, stats) = (Arc::new(network), Arc::<ModelStats>::default());
        let steps =
            Steps::new(name, Arc::clone(&network), limits.batch_rows_max, Arc::clone(&stats));
        let (language, texts) = (Arc::new(language), Arc::new(Texts(steps)));
        Self { network, language, limits, texts, stats, cpu, turns }
    }

    async fn answer(&self, request: Request) -> Result<Reply, Problem> {
        let began = Instant::now();
        let options = Options::read(&request.params, self.limits.generated_tokens_max)?;
        let (language, payload) = (Arc::clone(&self.language), request.payload);
        let prompts = self.cpu.run(move || language.prompts(payload)).await?;
        if options.stream && prompts.len() != 1 {
            return Err(one_item_when_streaming(prompts.len()));
        }
        let collector = self.begin(prompts, &options, request.deadline, began)?;
        if options.stream {
            let pieces = futures_util::stream::unfold(Some(collector), Collector::piece);
            return Ok(Reply::Stream(pieces.boxed()));
        }
        collector.all().await.map(|all| Reply::Whole(all.into()))
    }

    /// All texts of a request join the loop, or none.
    fn begin(
        &self,
        prompts: Vec<Vec<TokenId>>,
        options: &Options,
        deadline: Instant,
        began: Instant,
    ) -> Result<Collector<Outcome>, Problem> {
        let tokens: usize = prompts.iter().map(Vec::len).sum();
        let (collector, events) = Collector::new(prompts.len(), deadline, began.elapsed());
        let writing = |(index, prompt)| {
            let (language, state) = (Arc::clone(&self.language), self.network.begin());
            Writing::new(collector.caller(index, &events), language, state, prompt, options)
        };
        let texts = prompts.into_iter().enumerate().map(writing).collect();
        let joined = self.texts.0.join(texts, self.limits.queue_rows_max);
        if joined.map_err(|waiting| self.stats.overloaded(waiting))? {
            self.turns.ask(Arc::clone(&self.texts) as Arc<dyn Job>);
        }
        self.stats.prompt_tokens.fetch_add(tokens as u64, Ordering::Relaxed);
        Ok(collector)
    }
}

fn one_item_when_streaming(got: usize) -> Problem {
    Problem::fault(
        Kind::Unsupported,
        "/parameters/stream",
        "one item when streaming",
        format!("{got} items"),
        "send one request per item, or leave `stream` out",
    )
}

impl<N: Generator, L: Language> Endpoint for Generation<N, L> {
    fn predict(&self, request: Request) -> BoxFuture<'_, Result<Reply, Problem>> {
        self.answer(request).boxed()
    }

    fn stats(&self) -> &ModelStats {
        &self.stats
    }
}

impl<N: Generator, L: Language> Job for Texts<N, L> {
    fn turn(&self) -> bool {
        let turn = self.0.turn();
        self.0.stats.finished.fetch_add(turn.over.len() as u64, Ordering::Relaxed);
        turn.over.into_iter().for_each(|seat| seat.sequence.finish(seat.widest));
        turn.again
    }
}
