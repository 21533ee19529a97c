//! The OpenMP runtime that shares out the iterations of parallel loops.

use std::ffi::c_int;

unsafe extern "C" {
    fn omp_set_num_threads(threads: c_int);
    fn omp_get_max_threads() -> c_int;
}

/// Sets how many threads the parallel loops started from the calling thread use (at least one).
pub fn set_threads(threads: usize) {
    let threads = c_int::try_from(threads.max(1)).unwrap_or(c_int::MAX);
    // SAFETY: takes any positive number.
    unsafe { omp_set_num_threads(threads) }
}

/// How many threads a parallel loop started from the calling thread uses.
pub fn threads() -> usize {
    // SAFETY: has no precondition.
    unsafe { omp_get_max_threads() }.max(1) as usize
}
