use std::process::ExitCode;

fn main() -> ExitCode {
    maas::compute::memory::use_small_pages();
    // Throughput comes from many batches side by side, each on one thread.
    maas::config::set_operation_threads(1);
    maas::cli::run()
}
