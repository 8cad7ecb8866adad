//! What every handler shares.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::available_parallelism;
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use crate::access::{Access, Caller, Rates};
use crate::config::{Compat, HttpSettings};
use crate::domain::{Kind, MediaLimits, ModelName, Problem, Version};
use crate::http::stage::{Stage, reached};
use crate::registry::{Registry, Repository};
use crate::state::Database;
use crate::telemetry::{Logging, Metrics};

/// The smallest part of the bodies' budget.
pub const BUDGET_UNIT_BYTES: usize = 64 << 10;
/// The budget, in bodies of the largest size.
const BUDGET_BODIES: usize = 16;

/// What an [`App`] is made of.
pub struct Parts {
    pub registry: Arc<Registry>,
    pub repository: Arc<Repository>,
    pub access: Access,
    pub state: Arc<Database>,
    pub logging: Logging,
    pub metrics: Metrics,
    pub limits: HttpSettings,
    pub compat: Compat,
    pub media: MediaLimits,
    /// Whose threads do what would hold up those that serve connections.
    pub runtime: Handle,
    pub stage: watch::Receiver<Stage>,
    /// Whether the process makes progress. Never asks about models.
    pub live: Box<dyn Fn() -> bool + Send + Sync>,
}

/// The shared state of both listeners.
pub struct App {
    pub registry: Arc<Registry>,
    pub repository: Arc<Repository>,
    pub access: Access,
    pub state: Arc<Database>,
    pub logging: Logging,
    pub metrics: Metrics,
    pub limits: HttpSettings,
    pub compat: Compat,
    pub media: MediaLimits,
    pub live: Box<dyn Fn() -> bool + Send + Sync>,
    /// What each caller has asked for.
    pub rates: Rates,
    stage: watch::Receiver<Stage>,
    /// Not ready because an admin said so.
    held: AtomicBool,
    /// What all bodies together may hold, in units of [`BUDGET_UNIT_BYTES`].
    bodies: Arc<Semaphore>,
    /// How much may be done beside the threads that serve connections.
    aside: Arc<Semaphore>,
    runtime: Handle,
}

impl App {
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let budget = parts.limits.body_bytes_max.div_ceil(BUDGET_UNIT_BYTES) * BUDGET_BODIES;
        // Every request takes a unit, however small: a small limit is no limit on requests.
        let budget = budget.max(parts.limits.connections_max);
        let cores = available_parallelism().map_or(1, usize::from);
        Self {
            registry: parts.registry,
            repository: parts.repository,
            access: parts.access,
            state: parts.state,
            logging: parts.logging,
            metrics: parts.metrics,
            limits: parts.limits,
            compat: parts.compat,
            media: parts.media,
            live: parts.live,
            rates: Rates::new(parts.limits.caller_requests_per_s_max),
            stage: parts.stage,
            held: AtomicBool::new(false),
            bodies: Arc::new(Semaphore::new(budget.min(Semaphore::MAX_PERMITS))),
            aside: Arc::new(Semaphore::new(cores)),
            runtime: parts.runtime,
        }
    }

    /// Why this server wants no traffic; empty when it is ready.
    #[must_use]
    pub fn unready(&self) -> Vec<String> {
        let mut reasons = self.registry.unready();
        for (yes, reason) in [
            (self.registry.is_empty(), "there is no model"),
            (self.leaving(), "the server is stopping"),
            (self.held.load(Ordering::Relaxed), "an admin asked for it"),
        ] {
            if yes {
                reasons.push(reason.to_owned());
            }
        }
        reasons
    }

    /// Whether the server is on its way out, so that connections should not be kept.
    pub(super) fn leaving(&self) -> bool {
        *self.stage.borrow() >= Stage::Draining
    }

    /// Ends when requests in flight must.
    pub async fn cut(&self) {
        reached(self.stage.clone(), Stage::Cut).await;
    }

    /// Makes the server unready, or lets it be ready again.
    pub(super) fn hold(&self, held: bool) {
        self.held.store(held, Ordering::Relaxed);
    }

    /// Counts a prediction for whoever asks; nobody known is nobody limited.
    ///
    /// # Errors
    /// [`Kind::RateLimited`] when that is one too many.
    pub fn take(&self, caller: Option<Caller>) -> Result<(), Problem> {
        let Some(caller) = caller else { return Ok(()) };
        self.rates.take(caller, Instant::now()).map_err(|wait| {
            let most = self.limits.caller_requests_per_s_max;
            let detail = format!("this caller is over its limit of {most} predictions a second");
            Problem::new(Kind::RateLimited, detail).retry_after(wait)
        })
    }

    /// As [`Repository::load`], beside the threads that serve connections.
    ///
    /// # Errors
    /// Those of it.
    pub async fn load(&self, name: ModelName, version: Option<Version>) -> Result<(), Problem> {
        let repository = Arc::clone(&self.repository);
        self.blocking(move || repository.load(&name, version)).await
    }

    /// As [`Repository::unload`]; no request takes longer than its deadline.
    ///
    /// # Errors
    /// Those of it.
    pub async fn unload(&self, name: ModelName) -> Result<(), Problem> {
        let (repository, longest) = (Arc::clone(&self.repository), self.limits.deadline_max);
        self.blocking(move || repository.unload(&name, longest)).await
    }

    /// What all bodies together may hold.
    pub(crate) fn bodies(&self) -> &Arc<Semaphore> {
        &self.bodies
    }

    /// Runs what would hold up its neighbours on a thread of its own: large bodies are read, packed and
    /// unpacked there, as many at once as there are cores.
    ///
    /// # Errors
    /// [`Kind::Internal`] when the work panics.
    pub(crate) async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        // Never closed, so that a permit always comes.
        let permit = Arc::clone(&self.aside).acquire_owned().await;
        let working = self.spawn_blocking(move || {
            // Held until the work is done, also when the caller has gone: a core is busy till then.
            let _permit = permit;
            work()
        });
        working.await.map_err(|_| Problem::new(Kind::Internal, "reading the body failed"))
    }

    /// As tokio's, with threads that all connections share, whichever runtime theirs is.
    pub(crate) fn spawn_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        self.runtime.spawn_blocking(work)
    }

    /// Work on a model, which may take seconds.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let failed =
            |_| Problem::new(Kind::Internal, "the work on the model failed; it was logged");
        self.spawn_blocking(work).await.map_err(failed)?
    }
}
