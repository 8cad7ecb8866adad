//! The endpoint of a network that goes on from texts.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};

use crate::domain::{Outcome, Problem};
use crate::engine::admission::Place;
use crate::engine::batch::Urgency;
use crate::engine::control::{Control, Rest};
use crate::engine::cpu::{Where, is_light};
use crate::engine::generate::collector::Collector;
use crate::engine::generate::options::Options;
use crate::engine::generate::steps::Steps;
use crate::engine::generate::writing::{Prompt, Writing};
use crate::engine::lanes::{Again, Flow, Job};
use crate::engine::{
    Batches, Endpoint, Generator, Language, ModelStats, Places, Reply, Request, TokenId,
};

/// A generating network and its step loops.
pub struct Generation<N: Generator, L> {
    network: Arc<N>,
    language: Arc<L>,
    places: Places,
    steps: Arc<Steps<N, Writing<N::State, L>>>,
    /// One a loop.
    flows: Vec<Flow>,
}

/// A turn is one step of one loop's texts.
struct Step<N: Generator, L> {
    steps: Arc<Steps<N, Writing<N::State, L>>>,
    control: Arc<Control>,
    index: usize,
}

/// A request whose payload is decoded.
struct Asked<'a> {
    prompts: Vec<Prompt>,
    options: &'a Options,
    urgency: Urgency,
    began: Instant,
}

impl<N: Generator, L: Language> Generation<N, L> {
    pub fn new(network: N, language: L, places: Places) -> Self {
        let network = Arc::new(network);
        let control = &places.control;
        let loops = control.limits.instances(places.traffic.threads());
        let steps = Arc::new(Steps::new(Arc::clone(&network), Arc::clone(control), loops));
        let flow = |index| {
            let (steps, control) = (Arc::clone(&steps), Arc::clone(control));
            places.flow(Arc::new(Step { steps, control, index }))
        };
        let flows = (0..loops).map(flow).collect();
        Self { network, language: Arc::new(language), steps, flows, places }
    }

    async fn answer(&self, request: Request) -> Result<Reply, Problem> {
        let began = Instant::now();
        let control = &self.places.control;
        let Request { payload, params, deadline, priority } = request;
        let tokens_max = control.limits.generated_tokens_max;
        let options = Options::read(&params, tokens_max, self.language.size())?;
        let mut place = control.enter(priority, deadline)?;
        let (language, at) = (Arc::clone(&self.language), Where::decode(&payload, is_light));
        let echo = options.echo;
        let prompts = move || Ok(prompts(&*language, language.prompts(payload)?, echo));
        let prompts = self.places.cpu.run(at, prompts).await?;
        let lengths: Vec<usize> = prompts.iter().map(|prompt| prompt.tokens.len()).collect();
        options.check(&lengths, &params)?;
        place.counts(prompts.len() * options.n);
        let urgency = Urgency { priority, deadline };
        let asked = Asked { prompts, options: &options, urgency, began };
        let collector = self.begin(asked, place)?;
        if options.stream {
            let pieces = futures_util::stream::unfold(Some(collector), Collector::piece);
            return Ok(Reply::Stream(pieces.boxed()));
        }
        collector.all().await.map(|all| Reply::Whole(all.into()))
    }

    /// All texts of a request join the loops, or none.
    fn begin(&self, asked: Asked<'_>, place: Place) -> Result<Collector<Outcome>, Problem> {
        let Asked { prompts, options, urgency, began } = asked;
        let tokens: usize = prompts.iter().map(|prompt| prompt.tokens.len()).sum();
        let (n, count) = (options.n, prompts.len() * options.n);
        let (collector, caller) = Collector::new(count, urgency, began.elapsed(), place);
        let writing = |index: usize| {
            let (item, choice) = (index / n, index % n);
            let (language, state) = (Arc::clone(&self.language), self.network.begin());
            let (prompt, seed) = (prompts[item].clone(), options.seed(item, choice));
            Writing::new(caller.of(index), language, state, prompt, options, seed)
        };
        let texts = (0..count).map(writing).collect();
        let control = &self.places.control;
        let woken = self
            .steps
            .join(texts, control.limits.queue_rows_max)
            .map_err(|waiting| control.admission.full(waiting, &control.stats))?;
        for index in woken {
            self.flows[index].ask(None);
        }
        control.stats.prompt_tokens.fetch_add(tokens as u64, Ordering::Relaxed);
        Ok(collector)
    }
}

/// The prompts, each with its text where the answer is to begin with it.
fn prompts<L: Language>(language: &L, prompts: Vec<Vec<TokenId>>, echo: bool) -> Vec<Prompt> {
    let prompt = |tokens: Vec<TokenId>| Prompt {
        echo: if echo { language.text(&tokens) } else { String::new() },
        tokens: tokens.into(),
    };
    prompts.into_iter().map(prompt).collect()
}

impl<N: Generator, L: Language> Endpoint for Generation<N, L> {
    fn predict(&self, request: Request) -> BoxFuture<'_, Result<Reply, Problem>> {
        self.answer(request).boxed()
    }

    fn stats(&self) -> &ModelStats {
        &self.places.control.stats
    }

    fn streams(&self) -> bool {
        true
    }

    fn rest(&self) -> Option<Rest> {
        self.places.control.rest()
    }

    /// A step is as wide as there are texts: there is no size to choose.
    fn batches(&self) -> Option<&dyn Batches> {
        None
    }
}

impl<N: Generator, L: Language> Job for Step<N, L> {
    fn predicted(&self) -> Option<Duration> {
        self.steps.predicted(self.index)
    }

    fn turn(&self) -> Again {
        let turn = self.steps.turn(self.index);
        for seat in turn.over {
            self.control.admission.served(seat.work, seat.joined.elapsed());
            seat.sequence.finish(seat.joined, seat.widest);
        }
        if turn.again { Again::Now } else { Again::No }
    }
}
