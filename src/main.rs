use std::process::ExitCode;

/// Chosen by measurement: docs/performance.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Throughput comes from many batches side by side, each on one thread.
    maas::config::set_operation_threads(1);
    maas::cli::run()
}
