//! A bounded pool for what takes the CPU and is not a network: decoding pictures and sound, encoding
//! answers. Only what is done sooner than a thread is woken runs where the connection is served.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::domain::{Item, Kind, Payload, Problem};

/// Numbers that are copied in some microseconds.
pub const LIGHT_VALUES_MAX: usize = 16 << 10;
/// Text that is cut into tokens in some tens of microseconds.
const LIGHT_BYTES_MAX: usize = 128;
const LIGHT_ITEMS_MAX: usize = 4;

/// Whether an item is decoded sooner than a thread is woken, whatever reads it. Pictures, sound and bytes of no
/// stated type do not say how much work they are.
#[must_use]
pub fn is_light(item: &Item) -> bool {
    match item {
        Item::Tensor(tensor) => tensor.data().len() <= LIGHT_VALUES_MAX,
        Item::Text(text) => text.len() <= LIGHT_BYTES_MAX,
        Item::Tokens(ids) => ids.len() <= LIGHT_VALUES_MAX,
        Item::Image(_) | Item::Audio(_) | Item::Opaque(_) => false,
    }
}

/// Where work runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Where {
    /// On the pool.
    Pool,
    /// On the thread that asks: waking another would take longer.
    Here,
}

impl Where {
    /// Where a payload is decoded, by which of its items are light.
    pub fn decode(payload: &Payload, is_light: impl Fn(&Item) -> bool) -> Self {
        let few = payload.items.len() <= LIGHT_ITEMS_MAX;
        if few && payload.items.iter().all(is_light) { Self::Here } else { Self::Pool }
    }

    /// Where the outputs of so many rows are encoded: what was heavy to decode may be so on its way back.
    #[must_use]
    pub fn encode(self, rows: usize) -> Self {
        if rows <= LIGHT_ITEMS_MAX { self } else { Self::Pool }
    }
}

/// At most as many tasks at once as there are permits; the others wait their turn in order.
#[derive(Clone)]
pub struct CpuPool {
    permits: Arc<Semaphore>,
    /// Of one model: half of all, so that a flood of long recordings leaves room for pictures.
    own: Arc<Semaphore>,
    threads: usize,
    /// Whose threads it has: where nothing is said, those of the runtime of whoever asks.
    runtime: Option<Handle>,
}

impl CpuPool {
    #[must_use]
    pub fn new(threads: usize) -> Self {
        let threads = threads.max(1);
        let permits = Arc::new(Semaphore::new(2 * threads));
        Self { permits, own: Arc::new(Semaphore::new(threads)), threads, runtime: None }
    }

    /// The pool with the threads of this runtime. Each thread that decodes keeps memory of its own, so the fewer
    /// there are, the better.
    #[must_use]
    pub fn on(self, runtime: Handle) -> Self {
        Self { runtime: Some(runtime), ..self }
    }

    /// The pool as one model has it.
    #[must_use]
    pub fn of_model(&self) -> Self {
        Self { own: Arc::new(Semaphore::new(self.threads)), ..self.clone() }
    }

    /// Runs `work` on the pool, or here.
    ///
    /// # Errors
    /// What `work` answers, or [`Kind::Internal`] when it panicked.
    pub async fn run<T: Send + 'static>(
        &self,
        place: Where,
        work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let work = move || catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(panicked()));
        if place == Where::Here {
            return work();
        }
        let own = Arc::clone(&self.own).acquire_owned().await;
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let runtime = self.runtime.clone().unwrap_or_else(Handle::current);
        let task = runtime.spawn_blocking(move || {
            // Held until the work is done, also when the caller has gone: a thread is busy till then.
            let _permits = (own, permit);
            work()
        });
        // Without a panic a task is lost only where the runtime ends.
        task.await
            .unwrap_or_else(|_| Err(Problem::new(Kind::Unavailable, "the server is stopping")))
    }
}

/// The panic's own text went to the log with its place.
fn panicked() -> Problem {
    tracing::error!("a task of the CPU pool panicked");
    Problem::new(Kind::Internal, "this input made the server fail; it was logged")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Tensor;

    #[test]
    fn only_what_says_how_much_work_it_is_is_decoded_where_it_came() {
        let tensor =
            |values: usize| Item::Tensor(Tensor::new(vec![values], vec![0.0; values]).unwrap());
        let place = |item| Where::decode(&Payload::single(item, "/body"), is_light);
        assert_eq!(place(tensor(3072)), Where::Here);
        assert_eq!(place(tensor(150_528)), Where::Pool);
        assert_eq!(place(Item::Text("In the beginning".into())), Where::Here);
        assert_eq!(place(Item::Text("x".repeat(5000))), Where::Pool);
        assert_eq!(place(Item::Image(vec![0; 10].into())), Where::Pool);
    }

    #[tokio::test]
    async fn a_panic_is_a_problem_wherever_it_happens() {
        let pool = CpuPool::new(1);
        for place in [Where::Here, Where::Pool] {
            let problem = pool.run::<()>(place, || panic!("told to")).await.unwrap_err();
            assert_eq!(problem.kind, Kind::Internal);
            assert_eq!(pool.run(place, || Ok(1)).await, Ok(1));
        }
    }

    #[test]
    fn a_pool_on_a_runtime_has_its_threads_whoever_asks() {
        let named = |name: &str| {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(1).thread_name(name).build().unwrap()
        };
        let (shared, own) = (named("shared"), named("own"));
        let name = || Ok(std::thread::current().name().map(str::to_owned));
        let ran = |pool: CpuPool| own.block_on(pool.of_model().run(Where::Pool, name)).unwrap();
        assert_eq!(ran(CpuPool::new(1)).as_deref(), Some("own"));
        assert_eq!(ran(CpuPool::new(1).on(shared.handle().clone())).as_deref(), Some("shared"));
    }
}
