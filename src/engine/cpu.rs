//! A bounded pool for what takes the CPU and is not a network: decoding pictures and sound, encoding
//! answers. Never on the threads that serve connections.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::domain::{Kind, Problem};

/// At most as many tasks at once as there are permits; the others wait their turn in order.
#[derive(Clone)]
pub struct CpuPool {
    permits: Arc<Semaphore>,
}

impl CpuPool {
    #[must_use]
    pub fn new(threads: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(threads.max(1))) }
    }

    /// Runs `work` on the pool.
    ///
    /// # Errors
    /// What `work` answers, or [`Kind::Internal`] when it panicked.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let task = tokio::task::spawn_blocking(move || {
            // Held until the work is done, also when the caller has gone: a thread is busy till then.
            let _permit = permit;
            work()
        });
        task.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a task of the CPU pool panicked");
            Err(Problem::new(Kind::Internal, "this input made the server fail; it was logged"))
        })
    }
}
