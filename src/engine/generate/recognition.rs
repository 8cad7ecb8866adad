//! The endpoint of an encoder and a decoder. The encoder's job makes one window after the other ready; the
//! decoder's job is a step loop that windows join when they are. So one thread encodes while another steps, and
//! a short recording waits for no long one.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::domain::{Answer, Problem};
use crate::engine::generate::caller::{Ended, What};
use crate::engine::generate::collector::{Collected, Collector};
use crate::engine::generate::steps::Steps;
use crate::engine::generate::windows::{Listening, Windows};
use crate::engine::workers::{Job, Turns};
use crate::engine::{
    Codec, CpuPool, Decoding, EncoderDecoder, Endpoint, Limits, ModelStats, Reply, Request,
};

type Output<E> = <<E as EncoderDecoder>::Decoding as Decoding>::Output;

/// An encoder and a decoder behind their queues.
pub struct Recognition<E: EncoderDecoder, C> {
    network: Arc<E>,
    codec: Arc<C>,
    queue_rows_max: usize,
    stages: Arc<Stages<E>>,
    stats: Arc<ModelStats>,
    cpu: CpuPool,
}

struct Stages<E: EncoderDecoder> {
    /// For the log.
    name: String,
    windows: Windows<E::Decoding>,
    steps: Steps<E, Listening<E::Decoding>>,
    turns: Turns,
    stats: Arc<ModelStats>,
}

/// A turn encodes one window.
struct Encode<E: EncoderDecoder>(Arc<Stages<E>>);

/// A turn is one step of every window that is encoded.
struct Step<E: EncoderDecoder>(Arc<Stages<E>>);

impl<E, C> Recognition<E, C>
where
    E: EncoderDecoder,
    C: Codec<Sample = E::Sample, Output = Output<E>>,
{
    pub fn new(
        name: &str,
        network: Arc<E>,
        codec: C,
        limits: Limits,
        (cpu, turns): (CpuPool, Turns),
    ) -> Self {
        let (stats, rows_max) = (Arc::<ModelStats>::default(), limits.batch_rows_max);
        let stages = Stages {
            name: name.to_owned(),
            windows: Windows::new(rows_max, turns.threads(), Arc::clone(&stats)),
            steps: Steps::new(name, Arc::clone(&network), rows_max, Arc::clone(&stats)),
            turns,
            stats: Arc::clone(&stats),
        };
        let (codec, stages) = (Arc::new(codec), Arc::new(stages));
        Self { network, codec, queue_rows_max: limits.queue_rows_max, stages, stats, cpu }
    }

    async fn answer(&self, request: Request) -> Result<Reply, Problem> {
        let Request { payload, params, deadline } = request;
        let began = Instant::now();
        let (codec, network) = (Arc::clone(&self.codec), Arc::clone(&self.network));
        let open = move || {
            let (samples, ask) = codec.decode(payload, &params)?;
            let opened = samples.into_iter().map(|sample| network.open(sample));
            Ok((opened.collect::<Vec<_>>(), ask))
        };
        let (decodings, ask) = self.cpu.run(open).await?;
        let collector = self.begin(decodings, deadline, began)?;
        let Collected { outputs, mut timings, batch_rows } = collector.all().await?;

        let began = Instant::now();
        let codec = Arc::clone(&self.codec);
        let outcomes = self.cpu.run(move || codec.encode(outputs, &ask)).await?;
        timings.post = began.elapsed();
        Ok(Reply::Whole(Answer { outcomes, timings, batch_rows }))
    }

    /// All samples of a request wait for the encoder, or none.
    fn begin(
        &self,
        decodings: Vec<E::Decoding>,
        deadline: Instant,
        began: Instant,
    ) -> Result<Collector<Output<E>>, Problem> {
        let (collector, events) = Collector::new(decodings.len(), deadline, began.elapsed());
        let request = Arc::<AtomicUsize>::default();
        let listening = |(index, decoding)| {
            Listening::new(decoding, collector.caller(index, &events), Arc::clone(&request))
        };
        // Silence, say, has no window.
        let (over, on): (Vec<_>, Vec<_>) = decodings
            .into_iter()
            .enumerate()
            .map(listening)
            .partition(|sample| sample.decoding.is_over());
        let admitted = self.stages.windows.admit(on, self.queue_rows_max);
        admitted.map_err(|waiting| self.stats.overloaded(waiting))?;
        over.into_iter().for_each(finish);
        Stages::encode(&self.stages);
        Ok(collector)
    }
}

impl<E: EncoderDecoder> Stages<E> {
    /// Asks for as many turns of the encoder as it has work for.
    fn encode(this: &Arc<Self>) {
        while this.windows.claim_turn() {
            this.turns.ask(Arc::new(Encode(Arc::clone(this))));
        }
    }

    /// Encodes a window; `None` where the sample is lost.
    fn encoded(&self, mut sample: Listening<E::Decoding>) -> Option<Listening<E::Decoding>> {
        let began = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| sample.decoding.encode()));
        self.stats.record_batch(1, began.elapsed());
        let reason = match outcome {
            Ok(Ok(())) => return Some(sample),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it panicked".to_owned(),
        };
        tracing::error!(model = self.name, reason, "a window was lost");
        sample.caller.fail();
        None
    }

    /// A window is done: the next one of the sample waits, or the sample is answered.
    fn over(&self, mut sample: Listening<E::Decoding>, widest: usize) {
        sample.leave_place();
        sample.batch_rows = sample.batch_rows.max(widest);
        if sample.decoding.is_over() {
            self.stats.finished.fetch_add(1, Ordering::Relaxed);
            finish(sample);
        } else {
            self.windows.put_back(sample);
        }
    }
}

fn finish<D: Decoding>(sample: Listening<D>) {
    let Listening { decoding, caller, batch_rows, .. } = sample;
    let output = decoding.finish();
    caller.tell(What::Ended(Ended { output, at: Instant::now(), batch_rows, pace: None }));
}

impl<E: EncoderDecoder> Job for Encode<E> {
    fn turn(&self) -> bool {
        let stages = &self.0;
        if let Some(sample) = stages.windows.next().and_then(|sample| stages.encoded(sample))
            // There is a place for it, so the loop is never too full.
            && stages.steps.join(vec![sample], usize::MAX) == Ok(true)
        {
            stages.turns.ask(Arc::new(Step(Arc::clone(stages))));
        }
        stages.windows.keep_turn()
    }
}

impl<E: EncoderDecoder> Job for Step<E> {
    fn turn(&self) -> bool {
        let stages = &self.0;
        let turn = stages.steps.turn();
        turn.over.into_iter().for_each(|seat| stages.over(seat.sequence, seat.widest));
        // Whoever has left has left a place.
        Stages::encode(stages);
        turn.again
    }
}

impl<E, C> Endpoint for Recognition<E, C>
where
    E: EncoderDecoder,
    C: Codec<Sample = E::Sample, Output = Output<E>>,
{
    fn predict(&self, request: Request) -> BoxFuture<'_, Result<Reply, Problem>> {
        self.answer(request).boxed()
    }

    fn stats(&self) -> &ModelStats {
        &self.stats
    }
}
