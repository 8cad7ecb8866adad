//! The threads that serve connections. Each has a runtime of its own, and a connection stays with its thread:
//! where any thread may take any request, each request that comes wakes a second one to look for more, and it
//! mostly finds nothing.

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
        Self::of(std::thread::available_parallelism().map_or(1, std::num::NonZero::get))
    }

    fn of(count: usize) -> io::Result<Self> {
        let start = |_| {
            Builder::new_multi_thread().worker_threads(1).thread_name("http").enable_all().build()
        };
        (0..count).map(start).collect::<io::Result<_>>().map(Self)
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
            // A socket belongs to the runtime that it was made in.
            match socket.into_std().and_then(TcpStream::from_std) {
                Ok(socket) => serve(socket).await,
                Err(error) => tracing::warn!(%error, "cannot serve a connection"),
            }
            drop(token);
        };
        tasks.spawn_on(connection, &place.runtime);
    }
}

impl Place {
    fn new(runtime: Handle) -> Self {
        Self { runtime, token: Arc::default() }
    }
}

#[cfg(test)]
mod tests {
    use std::thread::{ThreadId, current};

    use tokio::net::TcpListener;
    use tokio::sync::oneshot;

    use super::*;

    /// A connection that lasts until it is told to end, and its thread.
    async fn connection(
        placing: &Placing,
        tasks: &mut JoinSet<()>,
    ) -> (ThreadId, oneshot::Sender<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (socket, _) = listener.accept().await.unwrap();
        let (tell, told) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        placing.serve(tasks, socket, |_| async {
            tell.send(current().id()).unwrap();
            let _ = ended.await;
        });
        (told.await.unwrap(), end)
    }

    #[test]
    fn a_connection_goes_to_the_thread_that_has_the_fewest() {
        let threads = Threads::of(2).unwrap();
        let placing = threads.placing();
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async {
            let mut tasks = JoinSet::new();
            let (first, _stays) = connection(&placing, &mut tasks).await;
            let (second, end) = connection(&placing, &mut tasks).await;
            assert_ne!(first, second);
            end.send(()).unwrap();
            tasks.join_next().await.unwrap().unwrap();
            let (third, _stays_too) = connection(&placing, &mut tasks).await;
            assert_eq!(third, second, "its connection has ended");
            tasks.shutdown().await;
        });
        threads.end();
    }
}
