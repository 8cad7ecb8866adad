//! What wraps every route. `router` says in which order, and why.

mod authorise;
mod close;
mod explain;
mod panic;
mod record;

pub use authorise::authorise;
pub use close::close;
pub use explain::explain;
pub use panic::panicked;
pub use record::record;
