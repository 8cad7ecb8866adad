//! The threads that serve connections. Each has a runtime of its own, and a connection stays with its thread:
//! where any thread may take any request, each request that comes wakes a second one to look for more, which
//! on cores that compute costs about as much as the request itself.

use std::io;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinSet;

/// Owns its runtimes, so it is dropped outside of all of them.
#[derive(Debug)]
pub struct Threads(Vec<Runtime>);

/// Who serves the next connection.
#[derive(Debug)]
pub struct Placing(Vec<Place>);

#[derive(Debug)]
struct Place {
    runtime: Handle,
    /// Each of its connections has a copy.
    token: Arc<()>,
}

impl Threads {
    /// Starts one a core.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start() -> io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let start = |_| {
            Builder::new_multi_thread().worker_threads(1).thread_name("http").enable_all().build()
        };
        (0..cores).map(start).collect::<io::Result<_>>().map(Self)
    }

    /// Connections go to the thread that has the fewest.
    #[must_use]
    pub fn placing(&self) -> Placing {
        Placing(self.0.iter().map(|runtime| Place::new(runtime.handle().clone())).collect())
    }

    /// Ends them without waiting for what still runs.
    pub fn end(self) {
        self.0.into_iter().for_each(Runtime::shutdown_background);
    }
}

impl Placing {
    /// All connections go to the runtime that this is called in.
    #[must_use]
    pub fn here() -> Self {
        Self(vec![Place::new(Handle::current())])
    }

    /// Serves a connection, as one of `tasks`.
    pub fn serve<F: Future<Output = ()> + Send + 'static>(
        &self,
        tasks: &mut JoinSet<()>,
        socket: TcpStream,
        serve: impl FnOnce(TcpStream) -> F + Send + 'static,
    ) {
        let Some(place) = self.0.iter().min_by_key(|place| Arc::strong_count(&place.token)) else {
            unreachable!("there is at least one core")
        };
        let token = Arc::clone(&place.token);
        let connection = async move {
            let _token = token;
            // A socket belongs to the runtime that it was made in.
            match socket.into_std().and_then(TcpStream::from_std) {
                Ok(socket) => serve(socket).await,
                Err(error) => tracing::warn!(%error, "cannot serve a connection"),
            }
        };
        tasks.spawn_on(connection, &place.runtime);
    }
}

impl Place {
    fn new(runtime: Handle) -> Self {
        Self { runtime, token: Arc::default() }
    }
}
