//! Threads inside an operation. candle and rayon read these variables once, at first use.

/// Sets how many threads one operation may use, unless the environment already says.
///
/// Must be called at the very start of `main`, before any other thread exists.
#[expect(unsafe_code, reason = "candle and rayon can only be told through the environment")]
pub fn set_operation_threads(threads: usize) {
    for variable in ["RAYON_NUM_THREADS", "CANDLE_NUM_THREADS"] {
        if std::env::var_os(variable).is_none() {
            // SAFETY: the caller is `main` before it has started any thread, so nobody reads the
            // environment at the same time.
            unsafe { std::env::set_var(variable, threads.to_string()) };
        }
    }
}
